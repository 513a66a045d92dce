"""From pictures and labels to batches.

record, shards       the one record that every data set consists of, and the files of records
sources              drawn faces, published data sets, people's own photographs
build                builds a data set from a source
loading              loads records: batches for training, whole splits, reference images
tokenizer            text to integers
statistics           counts of a data set, and a card that shows them
options              options that are declared once, as dataclass fields
disfa, tfds_dataset  a table of labels for DISFA; a data set for TensorFlow Datasets
"""
