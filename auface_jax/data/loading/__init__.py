"""Loading records for training: from shards to batches.

pipeline           the entry points: training batches, whole splits, reference images
stream             the endless stream of training batches, addressed by number
stream_order       the order of the stream, and the random numbers of each position
collate            the arrays of a batch: decoded, mirrored, described, tokenised
worker_processes   batches made in processes of their own
texts              batches of descriptions without images
chosen_people      the people that a run trains on and is evaluated on
example_selection  examples of a split for figures and comparisons
"""
