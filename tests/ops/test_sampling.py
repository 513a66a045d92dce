"""Laws of taking a code by its logits."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from auface_jax.ops.sampling import code_at, likeliest, likeliest_code


@pytest.mark.parametrize(("size", "k", "p"), [(2, 1, 0.6), (7, 7, 0.01), (300, 12, 0.9)])
def test_the_likeliest_codes_are_those_that_sorting_finds(size, k, p):
    rng = np.random.default_rng(size)
    scale = np.repeat([0.1, 3.0, 100.0], 40)[:, None]
    logits = (scale * rng.normal(size=(120, size))).astype(np.float32)
    made = {which: likeliest(logits, *which) for which in ((k, 1.0), (0, p), (k, p))}
    top, nucleus, both = (np.isfinite(kept) for kept in made.values())
    np.testing.assert_array_equal(top, logits >= np.sort(logits)[:, -k, None])
    np.testing.assert_array_equal(both, top & nucleus)
    for row, keep in zip(np.asarray(jax.nn.softmax(logits), np.float64), nucleus, strict=True):
        assert row[keep].sum() >= p - 1e-5
        assert row[keep].sum() - row[keep].min() < p + 1e-5  # without the least it is not enough
        assert row[keep].min() >= row[~keep].max(initial=0.0)
    for kept in made.values():
        np.testing.assert_array_equal(np.where(np.isfinite(kept), kept, logits), logits)


@hypothesis.given(
    count=st.integers(1, 300),
    legal=st.floats(0, 1),
    spread=st.sampled_from([0.0, 1.0, 20.0]),
    seed=st.integers(0, 10**6),
)
def test_a_share_of_the_probability_finds_its_code(count, legal, spread, seed):
    rng = np.random.default_rng(seed)
    scores = spread * rng.normal(size=(40, 300))
    scores[:, count:] = -np.inf
    scores[:, :count][rng.random((40, count)) > legal] = -np.inf
    scores[:, rng.integers(count)] = 0.0
    share = np.append(rng.random(38), [0.0, 1 - 2**-24])  # the ends that a uniform draw can have
    found = np.asarray(compiled_code_at(scores.astype(np.float32), share.astype(np.float32)))
    rows = np.arange(40)
    assert np.isfinite(scores[rows, found]).all()
    p = np.exp(scores - scores.max(-1, keepdims=True))
    up_to = np.cumsum(p / p.sum(-1, keepdims=True), axis=-1)
    before = np.where(found > 0, up_to[rows, found - 1], 0.0)
    assert (before <= share + 1e-5).all() and (share <= up_to[rows, found] + 1e-5).all()


compiled_code_at = jax.jit(code_at)


def test_a_code_is_legal_where_no_probability_is():
    found = compiled_code_at(np.full((40, 300), np.nan, np.float32), np.full(40, 0.5, np.float32))
    assert ((found >= 0) & (found < 300)).all()
    assert likeliest_code(jnp.full((3, 5), jnp.nan)).tolist() == [4, 4, 4]
