"""Whole arrays in batches of one size: every example once, in order."""

import jax
import numpy as np
import pytest

from auface_jax.parallel.map_batches import fixed_batches, map_batches


@pytest.mark.parametrize("rows", [1, 3, 4, 8, 9])
def test_map_batches_counts_every_example_once_with_one_program(rows):
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


def test_fixed_batches_cuts_a_stream_anew_and_pads_the_last_batch():
    stream = [{"x": np.arange(start, stop)} for start, stop in ((0, 1), (1, 8), (8, 10))]
    found = [(kept, batch["x"].tolist()) for kept, batch in fixed_batches(stream, 4)]
    assert found == [(4, [0, 1, 2, 3]), (4, [4, 5, 6, 7]), (2, [8, 9, 9, 9])]


def test_fixed_batches_refuses_arrays_that_do_not_match():
    with pytest.raises(ValueError, match="arrays of one batch have"):
        list(fixed_batches([(np.zeros(2), np.zeros(3))], 4))
    with pytest.raises(ValueError, match="different shapes"):
        list(fixed_batches([np.zeros((1, 2)), np.zeros((1, 3))], 4))
