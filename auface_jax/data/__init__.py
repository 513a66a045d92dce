"""From pictures and labels to batches.

Read in this order: `records` (the one record), `samples` (what a source of faces gives),
`open_faces` (drawn faces), `images`, `detector`, `align`, `landmark_files`, `photographs`
(pictures of people, framed alike), `folder` and `bp4d` (where they come from), `shards` (files of
records), `build` (source -> folder of shards), `batches` (records -> the arrays of a batch),
`pipeline` (folder -> batch after batch), `tokenizer` (text -> integers), `statistics` and `card`
(what a folder holds, counted), `tfds_dataset` (the folder for TensorFlow Datasets).
"""
