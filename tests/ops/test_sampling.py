"""Sampling operations match their textbook definitions."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from auface_jax.ops.sampling import argmax, inverse_cdf_sample, top_k_top_p_filter

compiled_sample = jax.jit(inverse_cdf_sample)


@pytest.mark.parametrize(("size", "k", "p"), [(2, 1, 0.6), (7, 7, 0.01), (300, 12, 0.9)])
def test_top_k_top_p_filter_keeps_what_sorting_keeps(size, k, p):
    rng = np.random.default_rng(size)
    scale = np.repeat([0.1, 3.0, 100.0], 40)[:, None]
    logits = (scale * rng.normal(size=(120, size))).astype(np.float32)
    filtered = {
        limits: top_k_top_p_filter(logits, *limits) for limits in ((k, 1.0), (0, p), (k, p))
    }
    top, nucleus, both = (np.isfinite(kept) for kept in filtered.values())
    np.testing.assert_array_equal(top, logits >= np.sort(logits)[:, -k, None])
    np.testing.assert_array_equal(both, top & nucleus)
    for row, keep in zip(np.asarray(jax.nn.softmax(logits), np.float64), nucleus, strict=True):
        assert row[keep].sum() >= p - 1e-5
        assert row[keep].sum() - row[keep].min() < p + 1e-5  # without the least it is not enough
        assert row[keep].min() >= row[~keep].max(initial=0.0)
    for kept in filtered.values():
        np.testing.assert_array_equal(np.where(np.isfinite(kept), kept, logits), logits)


@hypothesis.given(
    count=st.integers(1, 300),
    legal=st.floats(0, 1),
    spread=st.sampled_from([0.0, 1.0, 20.0]),
    seed=st.integers(0, 10**6),
)
def test_inverse_cdf_sample_is_where_the_cumulative_softmax_exceeds_u(count, legal, spread, seed):
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(40, 300))
    logits[:, count:] = -np.inf
    logits[:, :count][rng.random((40, count)) > legal] = -np.inf
    logits[:, rng.integers(count)] = 0.0
    u = np.append(rng.random(38), [0.0, 1 - 2**-24])  # the ends of what `uniform` returns
    found = np.asarray(compiled_sample(logits.astype(np.float32), u.astype(np.float32)))
    examples = np.arange(40)
    assert np.isfinite(logits[examples, found]).all()
    p = np.exp(logits - logits.max(-1, keepdims=True))
    cdf = np.cumsum(p / p.sum(-1, keepdims=True), axis=-1)
    before = np.where(found > 0, cdf[examples, found - 1], 0.0)
    assert (before <= u + 1e-5).all() and (u <= cdf[examples, found] + 1e-5).all()


def test_argmax_is_numpy_argmax_and_the_first_on_a_tie():
    logits = np.random.default_rng(0).integers(0, 5, (60, 7)).astype(np.float32)
    np.testing.assert_array_equal(argmax(logits), logits.argmax(-1))


def test_tokens_of_nan_logits_are_legal_indices():
    found = compiled_sample(np.full((40, 300), np.nan, np.float32), np.full(40, 0.5, np.float32))
    assert ((found >= 0) & (found < 300)).all()
    assert argmax(jnp.full((3, 5), jnp.nan)).tolist() == [4, 4, 4]
