"""Whole arrays in batches of one size: every row once, in order."""

import jax
import numpy as np
import pytest

from auface_jax.parallel.map_batches import map_batches


@pytest.mark.parametrize("rows", [1, 3, 4, 8, 9])
def test_every_row_counts_once_and_one_program_serves_all(rows):
    seen = []

    @jax.jit
    def scaled(factor, x, tree):
        seen.append(x.shape)
        return {"x": factor * x, "sum": tree["a"] + x[:, 0]}

    x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    out = map_batches(scaled, 3.0, x, {"a": x[:, 1]}, batch_size=4)
    np.testing.assert_array_equal(out["x"], 3 * x)
    np.testing.assert_array_equal(out["sum"], x.sum(-1))
    assert isinstance(out["x"], np.ndarray) and seen == [(4, 2)]
