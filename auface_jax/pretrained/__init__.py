"""Networks with public weights, one file each, written so that those weights fit.

`convert` reads published weights through each network's table of keys; `weight_files` reads the
files that they come in.
"""
