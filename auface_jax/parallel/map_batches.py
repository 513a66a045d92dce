"""Runs a jitted function over whole arrays or streams of them, a fixed-size batch at a time."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

PyTree = Any


def map_batches(
    function: Callable[..., PyTree], fixed: PyTree, *arrays: PyTree, batch_size: int
) -> PyTree:
    """Applies `function(fixed, *batch)` to all examples of some arrays.

    The last batch is padded by repeating its last example, so that one compiled program serves all
    batches, and the padding is cut from the result: every example counts exactly once.

    Args:
      function: takes `fixed` and batches of `batch_size` examples of each of `arrays`; each leaf
        that it returns has one row an example.
      fixed: first argument of every call, such as a network's weights.
      *arrays: numpy arrays or trees of them, all with the same number of examples.
      batch_size: examples of a batch.

    Returns:
      The results as numpy arrays, in the order of the examples.
    """
    results = []
    for kept, batch in fixed_batches([arrays], batch_size):
        out = jax.device_get(function(fixed, *batch))
        results.append(jax.tree.map(lambda leaf: leaf[:kept], out))  # noqa: B023
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)


def fixed_batches(batches: Iterable[PyTree], size: int) -> Iterator[tuple[int, PyTree]]:
    """Cuts a stream of batches anew into batches of one size.

    Args:
      batches: arrays or trees of arrays with one row an example, any number of them at a time.
      size: examples of a batch.

    Yields:
      The number of examples and the batch, which is padded by repeating its last example.

    Raises:
      ValueError: the leaves of a batch have different numbers of examples, or the examples of two
        batches have different shapes.
    """
    pieces, count = [], 0
    for batch in batches:
        batch = jax.tree.map(np.asarray, batch)
        totals = {len(leaf) for leaf in jax.tree.leaves(batch)}
        if len(totals) != 1:
            raise ValueError(f"arrays of one batch have {sorted(totals)} examples; give as many")
        start, (total,) = 0, totals
        while start < total:
            stop = min(total, start + size - count)
            pieces.append(_rows(batch, slice(start, stop)))
            count, start = count + stop - start, stop
            if count == size:
                yield size, _joined(pieces)
                pieces, count = [], 0
    if pieces:
        last = _rows(pieces[-1], slice(-1, None))
        yield count, _joined([*pieces, *[last] * (size - count)])


def _rows(batch: PyTree, rows: slice) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[rows], batch)


def _joined(pieces: list[PyTree]) -> PyTree:
    shapes = {tuple(leaf.shape[1:] for leaf in jax.tree.leaves(piece)) for piece in pieces}
    if len(shapes) > 1:
        raise ValueError(f"images have different shapes: {sorted(shapes)}; resize them first")
    if len(pieces) == 1:
        return pieces[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
