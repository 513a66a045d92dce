"""Laws of the options of decoding: order, tokens to sample among, schedule of guidance."""

import argparse
import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.generation.decode import decode, fully_masked
from auface_jax.generation.decode_arguments import add_decode_arguments, decode_arguments
from auface_jax.generation.decode_options import GUIDANCE_SCHEDULES, ORDERS, DecodeOptions
from auface_jax.generation.unmasking import halton_ranks, level_mask_ratios
from auface_jax.models.token_layout import LAYOUTS
from tests.helpers.small_decoding import PLAIN, B, K, N, Q, inputs, keys, known, network, run

VARIANTS = [
    {"order": "halton"},
    {"guidance": 3.0, "guidance_schedule": "cosine", "top_k": 3},
    {"top_p": 0.7},
]


def history_of(layout, options, given, seed=0, records=None):
    model, params = network(layout)
    records = records or inputs()
    made, (codes, masked) = decode(model, params, records, given, keys(seed), options, history=True)
    return np.asarray(made), np.asarray(codes), np.asarray(masked)


@pytest.mark.parametrize("change", [*VARIANTS, {"steps": 5, "level_steps": (3, 2)}], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_position_is_unmasked_once_and_given_tokens_stay(layout, change):
    if "level_steps" in change and layout == "depth":
        pytest.skip("the depth layout decodes the levels of a position together")
    options = dataclasses.replace(PLAIN, **change)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, K, (B, N, Q)).astype(np.int32)
    hidden = np.broadcast_to(rng.random((B, N, 1)) < 0.7, codes.shape).copy()
    made, codes_after, masked_after = history_of(layout, options, (codes, hidden))
    assert made.min() >= 0 and made.max() < K
    np.testing.assert_array_equal(made[~hidden], codes[~hidden])
    masked_before = np.concatenate([hidden[None], masked_after[:-1]])
    assert not (masked_after & ~masked_before).any()  # unmasked tokens stay so
    assert not masked_after[-1].any()
    for step, masked in enumerate(masked_after):
        decided = ~masked
        np.testing.assert_array_equal(codes_after[step][decided], made[decided])
    np.testing.assert_array_equal(history_of(layout, options, (codes, hidden))[0], made)
    assert (history_of(layout, options, (codes, hidden), seed=1)[0] != made).any()


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_padding_and_history_do_not_change_the_result(layout):
    options = dataclasses.replace(PLAIN, top_k=3, guidance=2.0, guidance_schedule="linear")
    given_codes, longer = fully_masked(B, N, Q), inputs()
    for name, filler in (("text_tokens", 7), ("text_mask", False)):
        longer[name] = np.pad(longer[name], ((0, 0), (0, 3)), constant_values=filler)
    made = history_of(layout, options, given_codes)[0]
    padded = run(layout, options, records=longer)
    assert (padded == made).mean() > 0.95  # except for samples that rounding decides


def test_level_steps_decode_one_level_after_the_other():
    options = dataclasses.replace(PLAIN, steps=5, level_steps=(3, 2))
    _, _, masked = history_of("flat", options, fully_masked(B, N, Q))
    left = masked.sum(2)  # [steps, B, Q]
    shares = level_mask_ratios((3, 2))
    np.testing.assert_array_equal(left, np.floor(shares * N + 1e-4)[:, None] * np.ones((1, B, 1)))
    assert (left[:3, :, 1] == N).all() and (left[2:, :, 0] == 0).all()


def test_level_steps_that_do_not_fit_are_refused():
    for layout, level_steps, message in (
        ("depth", (2, 1), "levels of a position are decoded together"),
        ("flat", (1, 1, 1), "the model has 2 levels"),
    ):
        options = dataclasses.replace(PLAIN, level_steps=level_steps)
        with pytest.raises(ValueError, match=message):
            run(layout, options)


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        ((), {}),
        (("--level-steps", "3,2"), {"level_steps": (3, 2), "steps": 5}),
        (("--level-steps", "3,2", "--steps", "6"), {"level_steps": (3, 2), "steps": 6}),  # refused
        (("--top-k", "0", "--temperature", "0"), {"top_k": 0, "temperature": 0.0}),
    ],
)
def test_command_line_changes_the_named_options_alone(arguments, changes):
    parser = argparse.ArgumentParser()
    add_decode_arguments(parser)
    assert decode_arguments(parser.parse_args(arguments)) == changes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_halton_order_does_not_depend_on_the_samples(layout):
    options = dataclasses.replace(PLAIN, order="halton", steps=N)
    _, _, masked = history_of(layout, options, fully_masked(B, N, Q))
    decided_after = masked[..., 0].sum(0)  # [B, N] iterations
    for row in decided_after:
        assert (np.diff(row[np.argsort(halton_ranks(4))]) >= 0).all() and row.max() > row.min()


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3, 12, 100])
def test_halton_order_samples_only_unmasked_positions_with_the_same_result(steps):
    options = dataclasses.replace(PLAIN, order="halton", steps=steps, guidance=2.0)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, K, (B, N, Q)).astype(np.int32)
    for hidden in (np.ones((B, N, 1), bool), rng.random((B, N, 1)) < 0.6):
        given = codes, np.broadcast_to(hidden, codes.shape)
        everywhere = history_of("depth", options, given)[0]
        np.testing.assert_array_equal(run("depth", options, given=given), everywhere)


@pytest.mark.parametrize("grid", [1, 4, 8, 16])
def test_halton_ranks_visit_every_cell_once_and_spread(grid):
    ranks = halton_ranks(grid)
    assert sorted(ranks) == list(range(grid**2))
    if grid >= 8:
        first = np.argsort(ranks)[: grid**2 // 4]
        quarters = 2 * (first // grid * 2 // grid) + first % grid * 2 // grid
        assert np.bincount(quarters, minlength=4).min() >= 0.6 * len(first) / 4


def test_top_k_and_top_p_restrict_the_samples():
    p = np.array([0.4, 0.3, 0.2, 0.1])

    def fixed(masked, dropped, codes, level):
        return jnp.broadcast_to(jnp.log(p), (len(masked), 50, 4))

    for change, legal in (({"top_k": 2}, [0, 1]), ({"top_p": 0.85}, [0, 1, 2])):
        options = DecodeOptions(
            steps=1, guidance=1.0, temperature=1.0, choice_temperature=0.0, **change
        )
        made = known("flat", fixed, options, given=fully_masked(20, 50, 2))
        share = np.bincount(made.ravel(), minlength=4)[legal] / made.size
        np.testing.assert_allclose(share, p[legal] / p[legal].sum(), atol=0.04)


def test_guidance_extrapolates_from_null_to_full_logits():
    model, params = network("depth")
    cold = DecodeOptions(steps=1, guidance=3.0, temperature=0.0, choice_temperature=0.0)
    made = run("depth", cold)
    logits = {
        drop: model.apply(
            {"params": params},
            made,
            fully_masked(B, N, Q)[1],
            **inputs(),
            drop_text=jnp.full(B, drop),
            drop_reference=jnp.zeros(B, bool),
        )
        for drop in (False, True)
    }
    guided = logits[True] + 3.0 * (logits[False] - logits[True])
    np.testing.assert_array_equal(made, guided.argmax(-1))
    assert (made != logits[False].argmax(-1)).any()


@pytest.mark.parametrize("schedule", GUIDANCE_SCHEDULES)
def test_guidance_schedules_end_at_the_guidance_scale(schedule):
    options = dataclasses.replace(PLAIN, steps=5, guidance=4.0, guidance_schedule=schedule)
    scales = [float(options.guidance_at(jnp.array(step))) for step in range(5)]
    assert scales[-1] == pytest.approx(4.0) and np.diff(scales).min() >= 0
    assert scales[0] == (4.0 if schedule == "constant" else 1.0)
    if schedule != "constant":
        assert scales[2] == pytest.approx(2.5)
    assert dataclasses.replace(options, steps=1).guidance_at(jnp.array(0)) == 4.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "raster"}, f"'raster' is not one of {', '.join(ORDERS)}"),
        ({"guidance_schedule": "square"}, "'square' is not one of constant, linear, cosine"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"level_steps": (2, 2)}, "their sum must be decode.steps=3"),
        ({"steps": 0, "order": "raster"}, "at least 1 iteration; decode.order='raster'"),
    ],
)
def test_bad_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **change)
