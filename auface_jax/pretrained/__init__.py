"""Published weights -> variables of Flax networks.

Each network has a table of keys (`tables`), in one file with the network where only published
weights are used; networks that are trained as well are in `models/`. `convert` converts weights
through the tables, `weight_files` reads their files, and `hub` finds them.
"""
