"""Several devices and several processes.

logical_axes  names of the dimensions of large parameters
sharding      one mesh, and rules from names to its axes
distributed   how the processes of one run find each other and end together
map_batches   a jitted function over whole arrays, a fixed-size batch at a time
"""
