"""Matrices whose rows are a large power of two long, which a CPU's caches cannot hold.

Rows of 2,048 floats, or a multiple, lie so far apart that a column of them falls into a few sets of
a cache and drives itself out. XLA's products that write or read such a matrix then run at half of
the machine's speed, with two transposed factors at less (`benchmarks/products.py`). A few entries
more in each row, which nobody reads, are the cure.
"""

import jax

ALIGNED = 2_048  # entries
PADDING = 16  # entries: a line of the cache


def row_padding(length: int) -> int:
    """How many entries to add to rows of `length`: none but in a process that runs on a CPU."""
    return PADDING if length % ALIGNED == 0 and jax.default_backend() == "cpu" else 0
