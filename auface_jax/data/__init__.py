"""From pictures and labels to batches.

Read in this order: `records` (the one record), `samples` (what a source of faces gives),
`open_faces` and `folder` (the two sources), `shards` (files of records), `build` (source ->
folder of shards), `pipeline` (folder -> batches), `tokenizer` (text -> integers).
"""
