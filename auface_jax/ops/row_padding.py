"""Padding of matrix rows whose length is a large power of two, which a CPU caches badly.

Rows of 2,048 floats, or a multiple, lie so far apart in memory that the entries of a column share a
few sets of a cache and evict each other. XLA's products that write or read such a matrix then run
at half of the machine's speed, and at less with two transposed factors (`benchmarks/products.py`).
A few more entries in each row, which nothing reads, avoid that.
"""

import jax

ALIGNED_LENGTH = 2_048  # entries
PADDING = 16  # entries: one cache line of float32


def row_padding(length: int) -> int:
    """Row padding: the number of entries to append to matrix rows of `length` entries.

    It is `PADDING` for multiples of `ALIGNED_LENGTH` in a process that runs on a CPU, else 0.
    """
    return PADDING if length % ALIGNED_LENGTH == 0 and jax.default_backend() == "cpu" else 0
