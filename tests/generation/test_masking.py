"""Size, positions and schedule of masks."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auface_jax.generation import masking
from auface_jax.models import token_layout

POSITIONS, LEVELS = 5, 3


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2), st.integers(0, 2**31 - 1))
@pytest.mark.parametrize("layout", token_layout.LAYOUTS)
def test_random_mask_hides_exactly_its_ratio(layout, ratios, seed):
    ratios = jnp.array(ratios, jnp.float32)
    mask = masking.random_mask(
        jax.random.key(seed), ratios, positions=POSITIONS, num_quantizers=LEVELS, layout=layout
    )
    assert mask.shape == (2, POSITIONS, LEVELS) and mask.dtype == bool
    total = POSITIONS * LEVELS if layout == "flat" else POSITIONS
    hidden = mask.sum((1, 2)) if layout == "flat" else mask.any(-1).sum(-1)
    np.testing.assert_array_equal(hidden, masking.mask_counts(ratios, total))
    if layout == "depth":
        np.testing.assert_array_equal(mask.all(-1), mask.any(-1))


@settings(max_examples=60)
@given(st.integers(1, 64), st.integers(0, 64))
def test_mask_counts_of_whole_shares_are_exact(total, part):
    part = min(part, total)
    (count,) = masking.mask_counts(jnp.array([part / total]), total)
    assert count == max(part, 1)


def test_mask_counts_round_up_to_at_least_one():
    counts = masking.mask_counts(jnp.array([0.0, 0.01, 0.26, 0.99, 1.0]), 4)
    assert counts.tolist() == [1, 1, 2, 4, 4]


def test_random_mask_hides_every_token_equally_often():
    masks = masking.random_mask(
        jax.random.key(0),
        jnp.full(4000, 0.4),
        positions=POSITIONS,
        num_quantizers=LEVELS,
        layout="flat",
    )
    np.testing.assert_allclose(masks.mean(0), 0.4, atol=0.04)


def test_random_mask_differs_between_examples():
    masks = masking.random_mask(
        jax.random.key(0), jnp.full(8, 0.5), positions=16, num_quantizers=1, layout="flat"
    )
    assert len({row.tobytes() for row in np.asarray(masks)}) == 8


def test_cosine_schedule_goes_from_all_to_none():
    ratios = jnp.linspace(0, 1, 33)
    share = np.asarray(masking.cosine_schedule(ratios))
    assert share[0] == 1 and abs(share[-1]) < 1e-6
    assert (np.diff(share) < 0).all()
    assert share[16] == pytest.approx(math.sqrt(0.5), rel=1e-5)


def test_training_mask_follows_the_cosine_of_a_uniform_time():
    masks = masking.training_mask(
        jax.random.key(0), 4000, positions=100, num_quantizers=1, layout="flat"
    ).mean((1, 2))
    # E cos(pi u / 2) = 2 / pi; P(cos <= c) = 1 - 2 acos(c) / pi.
    assert masks.mean() == pytest.approx(2 / math.pi + 0.005, abs=0.02)
    for c in (0.3, 0.6, 0.9):
        assert (masks <= c).mean() == pytest.approx(1 - 2 * math.acos(c) / math.pi, abs=0.03)


def test_unknown_layout_is_refused_with_the_legal_ones():
    with pytest.raises(ValueError, match="'deep' is not one of flat, depth"):
        masking.random_mask(
            jax.random.key(0), jnp.ones(1), positions=2, num_quantizers=2, layout="deep"
        )


def test_training_mask_hides_a_share_of_the_examples_fully():
    make = functools.partial(masking.training_mask, positions=16, num_quantizers=2, layout="flat")
    assert make(jax.random.key(0), 64, full=1.0).all()
    some = np.asarray(make(jax.random.key(0), 4096, full=0.3)).all((1, 2)).mean()
    none = np.asarray(make(jax.random.key(0), 4096)).all((1, 2)).mean()
    # The schedule alone masks an example fully when its ratio rounds up to all tokens.
    assert abs(some - (0.3 + 0.7 * none)) < 0.03


GROUP = {"positions": 7, "num_quantizers": 3}


@settings(max_examples=25)
@given(
    st.sampled_from(token_layout.LAYOUTS),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 2**31 - 1),
)
def test_grouped_mask_never_exceeds_its_bound(layout, group, full, seed):
    options = GROUP | {"layout": layout, "full": full}
    mask = masking.training_mask(jax.random.key(seed), 8, **options, group=group)
    assert mask.shape == (8, 7, 3) and mask.any((1, 2)).all()
    of_level = np.asarray(mask).sum(1)  # [examples, levels]
    assert (of_level.max(1) - of_level.min(1) <= (layout == "flat")).all()
    most = masking.max_masked_tokens(group, **options)
    assert of_level.reshape(-1, group, 3).sum(1).max() <= most <= 7 * group

    places, hidden = masking.masked_token_indices(mask, group=group, count=most, layout=layout)
    whole = np.asarray(mask)[..., : hidden.shape[-1]].reshape(8 // group, group * 7, -1)
    for row, level in np.ndindex(8 // group, hidden.shape[-1]):
        found = np.asarray(places)[row, np.asarray(hidden)[row, :, level], level]
        np.testing.assert_array_equal(np.sort(found), np.flatnonzero(whole[row, :, level]))
        assert len(np.unique(np.asarray(places)[row, :, level])) == most  # none twice


def test_grouped_mask_has_the_distribution_of_independent_masks():
    options = {"positions": 50, "num_quantizers": 2, "layout": "flat", "full": 0.3}
    make = jax.jit(functools.partial(masking.training_mask, batch=4000, **options, group=8))
    alone = masking.training_mask(jax.random.key(1), 4000, **options)
    shares = np.asarray(make(jax.random.key(0))).mean((1, 2))
    quantiles = np.linspace(0.05, 0.95, 10)
    wanted = np.quantile(np.asarray(alone).mean((1, 2)), quantiles)
    np.testing.assert_allclose(np.quantile(shares, quantiles), wanted, atol=0.04)
    # Ratios are stratified: groups differ much less from each other than examples do.
    assert shares.reshape(-1, 8).mean(1).std() < shares.std() / 8


def test_grouped_mask_hides_every_token_equally_often():
    options = {"positions": 5, "num_quantizers": 3, "layout": "flat"}
    masks = masking.training_mask(jax.random.key(0), 8000, **options, group=4)
    share = np.asarray(masks).mean(0)
    np.testing.assert_allclose(share, share.mean(), atol=0.03)


def test_mask_group_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match="mask_group=3 does not divide the batch of 8 examples"):
        masking.training_mask(jax.random.key(0), 8, **GROUP, layout="flat", group=3)


@settings(max_examples=25)
@given(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 4]), st.integers(0, 2**31 - 1))
def test_quantizers_per_step_predicts_that_many_levels_of_a_position(at_once, group, seed):
    mask_key, deal_key = jax.random.split(jax.random.key(seed))
    options = GROUP | {"layout": "depth", "full": 0.3}
    mask = masking.training_mask(mask_key, 8, **options, group=group)
    most = masking.max_masked_tokens(group, **options)
    places, hidden = (
        np.asarray(x)
        for x in masking.masked_token_indices(
            mask, group=group, count=most, layout="depth", quantizers_per_step=at_once, rng=deal_key
        )
    )
    assert places.shape[-1] == (3 if at_once < 3 else 1)
    times = np.zeros((8 // group, group * 7), int)
    for row, _, level in np.argwhere(hidden):
        of_all_levels = 3 if places.shape[-1] == 1 else 1
        times[row, places[row, _, level]] += of_all_levels
    wanted = at_once * np.asarray(mask)[..., 0].reshape(times.shape)
    np.testing.assert_array_equal(times, wanted)
    if places.shape[-1] > 1:  # each level has its share, and no index twice
        counts = hidden.sum(1)
        assert (counts.max(1) - counts.min(1) <= at_once).all()
        for row, level in np.ndindex(counts.shape):
            found = places[row, hidden[row, :, level], level]
            assert len(np.unique(found)) == len(found)


def test_quantizers_per_step_out_of_range_is_refused():
    places = functools.partial(
        masking.masked_token_indices, np.ones((2, 7, 3), bool), group=1, count=7
    )
    with pytest.raises(ValueError, match="quantizers_per_step=1 is for the depth layout"):
        places(layout="flat", quantizers_per_step=1)
    with pytest.raises(
        ValueError, match="quantizers_per_step=4: there are 3 levels, and 0 takes all"
    ):
        places(layout="depth", quantizers_per_step=4)
