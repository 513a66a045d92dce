"""Building a data set: a source's people and images become shards of records, split and described.

options, splits, unseen   the options; who and which AU combinations go into which split
plan, work_units          the whole build as a list of small units of work
local, beam               the two ways to run a build: processes of this machine, or Apache Beam
build_folder, finalize    the hidden folder of an unfinished build, and its last step
builder, from_config      the entry points: from options, or from a run's config
"""
