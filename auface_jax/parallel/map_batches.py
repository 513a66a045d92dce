"""Runs a jitted function over whole arrays, a fixed-size batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

PyTree = Any


def map_batches(
    function: Callable[..., PyTree], fixed: PyTree, *arrays: PyTree, batch_size: int
) -> PyTree:
    """`function(fixed, *rows)` over all rows; results concatenated as numpy arrays.

    The last batch is padded by repeating its last row, so that one compiled program serves all, and
    the padding is cut from the result: every row counts exactly once.

    Args:
      function: takes `fixed` and batches of `batch_size` rows of each of `arrays`; each leaf that
        it returns has these rows first.
      arrays: numpy arrays or trees of them, all with the same number of rows.
    """
    total = len(jax.tree.leaves(arrays)[0])
    results = []
    for start in range(0, total, batch_size):
        rows = np.minimum(np.arange(start, start + batch_size), total - 1)
        batch = jax.tree.map(lambda array: np.asarray(array)[rows], arrays)  # noqa: B023
        kept = min(batch_size, total - start)
        out = jax.device_get(function(fixed, *batch))
        results.append(jax.tree.map(lambda leaf: leaf[:kept], out))  # noqa: B023
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)
