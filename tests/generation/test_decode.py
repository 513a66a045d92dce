"""Laws of iterative decoding, on the real network and on networks with known logits."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.generation.decode import decode, fully_masked
from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.models.token_layout import LAYOUTS
from tests.helpers.small_decoding import PLAIN, B, K, N, Q, inputs, keys, known, network, run


@pytest.mark.parametrize("layout", LAYOUTS)
def test_decode_fills_every_token_and_depends_on_its_key_alone(layout):
    codes, masked = fully_masked(B, N, Q)
    made = run(layout, PLAIN, given=(codes - 1, masked))  # -1: no token may stay as it was
    assert made.shape == (B, N, Q) and made.min() >= 0 and made.max() < K
    np.testing.assert_array_equal(run(layout, PLAIN), run(layout, PLAIN))
    assert (run(layout, PLAIN) != run(layout, PLAIN, seed=1)).any((1, 2)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_decode_keeps_given_tokens(layout):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, K, (B, N, Q)).astype(np.int32)
    masked = np.broadcast_to(rng.random((B, N, 1)) < 0.5, codes.shape).copy()
    masked[2] = False  # an example with nothing to decode
    start = np.where(masked, -1, codes)
    made = run(layout, PLAIN, given=(start, masked))
    np.testing.assert_array_equal(made[~masked], codes[~masked])
    assert made.min() >= 0
    # Masked tokens are invisible: their values do not matter.
    np.testing.assert_array_equal(run(layout, PLAIN, given=(codes, masked)), made)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_decode_treats_examples_independently(layout, guidance):
    options = dataclasses.replace(PLAIN, guidance=guidance)
    made = run(layout, options)
    other = {name: value.copy() for name, value in inputs(seed=9).items()}
    for name, value in inputs().items():
        other[name][1] = value[1]
    given = fully_masked(B, N, Q)
    crowd = keys(7).at[1].set(keys(0)[1])
    model, params = network(layout)
    among_others = np.asarray(decode(model, params, other, given, crowd, options))
    np.testing.assert_array_equal(among_others[1], made[1])
    assert (among_others[[0, 2]] != made[[0, 2]]).any((1, 2)).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_guidance_scale_of_one_equals_no_guidance(layout):
    # Just beside 1 the null half runs, and contributes next to nothing.
    both_halves = dataclasses.replace(PLAIN, guidance=1.0 + 1e-7)
    np.testing.assert_array_equal(run(layout, both_halves), run(layout, PLAIN))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_guidance_scale_of_zero_ignores_the_text(layout):
    options = dataclasses.replace(PLAIN, guidance=0.0)
    other = inputs() | {name: inputs(seed=5)[name] for name in ("text_tokens", "text_mask")}
    np.testing.assert_array_equal(run(layout, options), run(layout, options, records=other))
    assert (run(layout, PLAIN) != run(layout, PLAIN, records=other)).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_step_at_temperature_zero_takes_the_most_probable_tokens(layout):
    options = DecodeOptions(steps=1, guidance=1.0, temperature=0.0, choice_temperature=9.0)
    made = run(layout, options)
    np.testing.assert_array_equal(run(layout, options, seed=4), made)  # noise has no influence
    model, params = network(layout)
    _, masked = fully_masked(B, N, Q)
    no = jnp.zeros(B, bool)
    logits = model.apply(
        {"params": params}, made, masked, **inputs(), drop_text=no, drop_reference=no
    )
    # In `depth` the logits of each level follow from the sampled coarser levels.
    np.testing.assert_array_equal(made, logits.argmax(-1))


def test_decode_at_temperature_zero_does_not_depend_on_the_key():
    options = dataclasses.replace(PLAIN, temperature=0.0, choice_temperature=0.0)
    for layout in LAYOUTS:
        np.testing.assert_array_equal(run(layout, options), run(layout, options, seed=8))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "decode.steps=0; it needs at least 1"),
        ("temperature", -0.1, "must be 0 or more"),
        ("choice_temperature", -1.0, "must be 0 or more"),
    ],
)
def test_bad_options_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **{field: value})


# --- Networks with known logits -------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 5.0])
@pytest.mark.parametrize("steps", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_number_of_masked_tokens_follows_the_cosine_schedule(layout, steps, noise):
    # Each sample is the number of tokens still masked, which shows when it was unmasked.
    positions, levels = 6, 3
    total = positions if layout == "depth" else positions * levels

    def count_masked(masked, dropped, codes, level):
        tokens = masked[..., 0] if layout == "depth" else masked
        count = tokens.reshape(len(masked), -1).sum(-1)
        logits = 100.0 * jax.nn.one_hot(count, total + 1)
        return jnp.broadcast_to(logits[:, None], (len(masked), positions, total + 1))

    given = fully_masked(2, positions, levels)
    # The second example starts with a third of its positions known.
    given = given[0], given[1].at[1, :2].set(False)
    options = DecodeOptions(steps=steps, guidance=1.0, temperature=0.0, choice_temperature=noise)
    made = known(layout, count_masked, options, given=given)
    for row, (codes, masked) in enumerate(zip(made, np.asarray(given[1]), strict=True)):
        if layout == "depth":
            assert (codes == codes[:, :1]).all()  # levels are kept together
            codes, masked = codes[:, :1], masked[:, :1]
        start = int(masked.sum())
        assert start == (total if row == 0 else total * 2 // 3)
        left, kept_at = start, {}
        for step in range(1, steps + 1):
            target = math.floor(start * math.cos(math.pi / 2 * step / steps) + 1e-4)
            after = min(target, max(left - 1, 0)) if step < steps else 0
            if left > after:
                kept_at[left] = left - after
            left = after
        values, counts = np.unique(codes[masked], return_counts=True)
        assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == kept_at


@pytest.mark.parametrize("layout", LAYOUTS)
def test_most_confident_tokens_are_unmasked_first(layout):
    # Position n is more confident than position n - 1; its token is the number of masked tokens
    # when it was unmasked.
    positions, steps = 8, 8

    def confident_by_position(masked, dropped, codes, level):
        count = masked[..., 0].sum(-1)
        height = 1.0 + jnp.arange(positions)
        return height[:, None] * jax.nn.one_hot(count, positions + 1)[:, None]

    options = DecodeOptions(steps=steps, guidance=1.0, temperature=0.0, choice_temperature=0.0)
    given = fully_masked(1, positions, 1)
    (made,) = known(layout, confident_by_position, options, given=given)
    assert (np.diff(made[:, 0]) >= 0).all() and made[-1, 0] == positions
    noisy = dataclasses.replace(options, choice_temperature=50.0)
    (other,) = known(layout, confident_by_position, noisy, given=given)
    assert (np.diff(other[:, 0]) < 0).any()


@pytest.mark.parametrize(("guidance", "code"), [(0.0, 0), (0.4, 0), (1.0, 1), (1.5, 1), (4.0, 2)])
def test_guidance_extrapolates_from_the_null_half(guidance, code):
    null, full = jnp.array([1.0, 0.0, -2.0]), jnp.array([0.5, 1.0, 0.1])
    scaled = null + guidance * (full - null)
    assert int(scaled.argmax()) == code

    def by_half(masked, dropped, codes, level):
        logits = jnp.where(dropped[:, None], null, full)
        return jnp.broadcast_to(logits[:, None], (len(masked), 4, 3))

    options = DecodeOptions(steps=2, guidance=guidance, temperature=0.0, choice_temperature=0.0)
    made = known("flat", by_half, options, given=fully_masked(2, 4, 2))
    assert (made == code).all()


def test_samples_follow_the_probabilities():
    p = np.array([0.5, 0.3, 0.15, 0.05])

    def fixed(masked, dropped, codes, level):
        return jnp.broadcast_to(jnp.log(p), (len(masked), 50, 4))

    options = DecodeOptions(steps=1, guidance=1.0, temperature=1.0, choice_temperature=0.0)
    made = known("flat", fixed, options, given=fully_masked(40, 50, 2))
    np.testing.assert_allclose(np.bincount(made.ravel()) / made.size, p, atol=0.03)
    # Examples, positions and levels have different noise.
    assert len({row.tobytes() for row in made}) == 40
    assert (made[..., 0] != made[..., 1]).any() and (made[:, 0] != made[:, 1]).any()
