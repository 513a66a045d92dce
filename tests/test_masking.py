"""The mask's size, its places and its schedule."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auface_jax import masking

POSITIONS, LEVELS = 5, 3


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2), st.integers(0, 2**31 - 1))
@pytest.mark.parametrize("layout", masking.LAYOUTS)
def test_a_mask_hides_exactly_its_share(layout, ratios, seed):
    ratios = jnp.array(ratios, jnp.float32)
    mask = masking.random_mask(
        jax.random.key(seed), ratios, positions=POSITIONS, levels=LEVELS, layout=layout
    )
    assert mask.shape == (2, POSITIONS, LEVELS) and mask.dtype == bool
    total = POSITIONS * LEVELS if layout == "flat" else POSITIONS
    hidden = mask.sum((1, 2)) if layout == "flat" else mask.any(-1).sum(-1)
    np.testing.assert_array_equal(hidden, masking.mask_counts(ratios, total))
    if layout == "depth":
        np.testing.assert_array_equal(mask.all(-1), mask.any(-1))


@settings(max_examples=60)
@given(st.integers(1, 64), st.integers(0, 64))
def test_counts_of_whole_shares_are_exact(total, part):
    part = min(part, total)
    (count,) = masking.mask_counts(jnp.array([part / total]), total)
    assert count == max(part, 1)


def test_counts_round_up_and_hide_at_least_one():
    counts = masking.mask_counts(jnp.array([0.0, 0.01, 0.26, 0.99, 1.0]), 4)
    assert counts.tolist() == [1, 1, 2, 4, 4]


def test_every_token_is_hidden_equally_often():
    masks = masking.random_mask(
        jax.random.key(0), jnp.full(4000, 0.4), positions=POSITIONS, levels=LEVELS, layout="flat"
    )
    np.testing.assert_allclose(masks.mean(0), 0.4, atol=0.04)


def test_rows_have_masks_of_their_own():
    masks = masking.random_mask(
        jax.random.key(0), jnp.full(8, 0.5), positions=16, levels=1, layout="flat"
    )
    assert len({row.tobytes() for row in np.asarray(masks)}) == 8


def test_cosine_schedule_goes_from_all_to_none():
    ratios = jnp.linspace(0, 1, 33)
    share = np.asarray(masking.cosine_schedule(ratios))
    assert share[0] == 1 and abs(share[-1]) < 1e-6
    assert (np.diff(share) < 0).all()
    assert share[16] == pytest.approx(math.sqrt(0.5), rel=1e-5)


def test_training_masks_follow_the_cosine_of_a_uniform_time():
    masks = masking.training_mask(
        jax.random.key(0), 4000, positions=100, levels=1, layout="flat"
    ).mean((1, 2))
    # E cos(pi u / 2) = 2 / pi; P(cos <= c) = 1 - 2 acos(c) / pi.
    assert masks.mean() == pytest.approx(2 / math.pi + 0.005, abs=0.02)
    for c in (0.3, 0.6, 0.9):
        assert (masks <= c).mean() == pytest.approx(1 - 2 * math.acos(c) / math.pi, abs=0.03)


def test_an_unknown_layout_is_refused_with_the_legal_ones():
    with pytest.raises(ValueError, match="'deep' is not one of flat, depth"):
        masking.random_mask(jax.random.key(0), jnp.ones(1), positions=2, levels=2, layout="deep")


def test_a_share_of_the_rows_is_masked_throughout():
    make = functools.partial(masking.training_mask, positions=16, levels=2, layout="flat")
    assert make(jax.random.key(0), 64, full=1.0).all()
    some = np.asarray(make(jax.random.key(0), 4096, full=0.3)).all((1, 2)).mean()
    none = np.asarray(make(jax.random.key(0), 4096)).all((1, 2)).mean()
    # The schedule masks a row throughout by itself when its ratio rounds up to all tokens.
    assert abs(some - (0.3 + 0.7 * none)) < 0.03
