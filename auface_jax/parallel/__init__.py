"""Training on several devices and in several processes.

logical_axes  logical names of the dimensions of large parameters
sharding      the mesh, and rules from logical names to its axes
distributed   start and common end of the processes of one run
map_batches   application of a jitted function to whole arrays, a fixed-size batch at a time
"""
