"""Loading records for training: from shards to batches.

pipeline           the entry points: training batches, whole splits, reference images
stream             the endless order of training batches, and each batch by its number
collate            records -> arrays: decoded, mirrored, described, tokenised
worker_processes   batches made in processes of their own
texts              batches of descriptions without images
chosen_people      whom a run trains on and whom it is evaluated on
example_selection  which held-out examples a figure shows
"""
