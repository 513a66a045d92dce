"""From pictures and labels to batches.

Read in this order: `records` (the one record), `samples` (what a source of faces gives), the
sources `open_faces` (drawn faces), `images`, `detector`, `align`, `landmark_files`, `photographs`
(pictures of people, framed alike), `folder` and `bp4d` (where they come from), all by name in
`sources`, and `disfa`, which writes a table for `folder`; what a build settles first: `people`,
`unseen`, `plan`; how it works: `pieces` (samples -> records), `partial` (shards under way),
`workers`, `finish`, `local_build` here and `beam_build` on many machines, `build` itself; `shards`
(files of records), `batches` (records -> the arrays of a batch), `pipeline` (folder -> batch after
batch), `tokenizer` (text -> integers), `statistics` and `card` (what a folder holds, counted),
`tfds_dataset` (the folder for TensorFlow Datasets).
"""
