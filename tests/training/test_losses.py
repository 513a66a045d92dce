"""Losses against hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from auface_jax.models import quantizer
from auface_jax.training.losses import adversarial, masked_tokens, reconstruction, units


def pair(seed=0, shape=(2, 4, 5, 3)):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, shape).astype(np.float32), rng.uniform(-1, 1, shape).astype(
        np.float32
    )


def test_pixel_losses_equal_hand_computed_values():
    image = jnp.zeros((1, 2, 2, 3))
    other = image.at[0, 0, 0].set(0.5)  # one of four pixels differs by 0.5
    assert reconstruction.reconstruction_l1(image, other) == pytest.approx(0.5 / 4)
    assert reconstruction.reconstruction_l2(image, other) == pytest.approx(0.25 / 4)
    # There are two vertical and two horizontal differences; one of each involves the pixel.
    assert reconstruction.image_gradient(image, other) == pytest.approx(0.25 + 0.25)


def test_image_gradient_ignores_brightness_and_sees_edges():
    image, other = pair()
    assert reconstruction.image_gradient(image, image + 0.3) == pytest.approx(0, abs=1e-6)
    error = image - other
    vertical, horizontal = np.abs(np.diff(error, axis=1)), np.abs(np.diff(error, axis=2))
    want = vertical.mean() + horizontal.mean()
    assert reconstruction.image_gradient(image, other) == pytest.approx(want, rel=1e-5)


def test_commitment_loss_averages_levels_and_has_a_gradient_at_z_only():
    rng = np.random.default_rng(0)
    z, partial = rng.normal(size=(5, 4)), rng.normal(size=(3, 5, 4))
    by_hand = np.mean([np.square(z - level).mean() for level in partial])
    assert quantizer.commitment_loss(z, partial) == pytest.approx(by_hand, rel=1e-5)
    at_z, at_sums = jax.grad(quantizer.commitment_loss, argnums=(0, 1))(
        jnp.asarray(z), jnp.asarray(partial)
    )
    np.testing.assert_allclose(at_z, 2 * (z - partial.mean(0)) / z.size, rtol=1e-4, atol=1e-7)
    assert not np.asarray(at_sums).any()


def test_hinge_losses_equal_hand_computed_values():
    real, fake = jnp.array([2.0, 0.5, -1.0]), jnp.array([-2.0, 0.0, 3.0])
    assert adversarial.adversarial_discriminator(real, fake) == pytest.approx(2.5 / 3 + 5.0 / 3)
    assert adversarial.adversarial_generator(fake) == pytest.approx(-1 / 3)
    # Beyond the margin the discriminator's loss is zero.
    assert adversarial.adversarial_discriminator(jnp.array([1.0]), jnp.array([-1.0])) == 0


def tokens(seed=0, shape=(3, 4, 2), codes=7):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*shape, codes)).astype(np.float32)
    return logits, rng.integers(0, codes, shape), rng.random(shape) < 0.5


def masked_cross_entropy(logits, *arguments):
    """Calls the loss with logits [B, N, Q, K] as one array."""
    return masked_tokens.masked_cross_entropy(jnp.unstack(jnp.asarray(logits), axis=2), *arguments)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_masked_cross_entropy_equals_optax_over_masked_tokens(smoothing):
    logits, codes, masked = tokens()
    targets = optax.smooth_labels(jax.nn.one_hot(codes, 7), smoothing)
    by_token = np.asarray(optax.softmax_cross_entropy(logits, targets))
    loss, per_level = masked_cross_entropy(logits, codes, masked, smoothing)
    assert loss == pytest.approx(by_token[masked].mean(), rel=1e-5)
    for level in range(2):
        want = by_token[..., level][masked[..., level]].mean()
        assert per_level[level] == pytest.approx(want, rel=1e-5)


def test_masked_cross_entropy_ignores_unmasked_tokens():
    logits, codes, masked = tokens()
    loss, per_level = masked_cross_entropy(logits, codes, masked, 0.1)
    other, other_codes, _ = tokens(seed=5)
    changed = masked_cross_entropy(
        np.where(masked[..., None], logits, other),
        np.where(masked, codes, other_codes),
        masked,
        0.1,
    )
    np.testing.assert_array_equal(changed[0], loss)
    np.testing.assert_array_equal(changed[1], per_level)
    gradient = jax.grad(lambda x: masked_cross_entropy(x, codes, masked)[0])(logits)
    assert not np.asarray(gradient)[~masked].any() and np.asarray(gradient)[masked].any()


def test_masked_cross_entropy_of_uniform_and_of_confident_logits():
    _, codes, masked = tokens()
    uniform, _ = masked_cross_entropy(np.zeros((*codes.shape, 7)), codes, masked)
    assert uniform == pytest.approx(np.log(7), rel=1e-6)
    sure, _ = masked_cross_entropy(50.0 * jax.nn.one_hot(codes, 7), codes, masked)
    assert sure == pytest.approx(0, abs=1e-6)


def test_masked_cross_entropy_without_masked_tokens_is_zero():
    logits, codes, masked = tokens()
    loss, per_level = masked_cross_entropy(logits, codes, np.zeros_like(masked))
    assert loss == 0 and not np.asarray(per_level).any()


def test_bfloat16_logits_are_summed_in_float32():
    logits, codes, masked = tokens()
    low = jnp.asarray(logits, jnp.bfloat16)
    loss, _ = masked_cross_entropy(low, codes, masked)
    same, _ = masked_cross_entropy(low.astype(jnp.float32), codes, masked)
    assert loss.dtype == jnp.float32 and loss == same


def test_level_weights_scale_each_levels_share():
    logits, codes, masked = tokens()
    _, per_level = masked_cross_entropy(logits, codes, masked, 0.1)
    counts = masked.sum((0, 1))
    for weights in [(2.0, 0.5), (0.0, 1.0), (3.0, 3.0)]:
        loss, same = masked_cross_entropy(logits, codes, masked, 0.1, weights)
        share = counts * np.array(weights)
        by_hand = (per_level * share).sum() / share.sum()
        np.testing.assert_allclose(loss, by_hand, rtol=1e-6)
        np.testing.assert_array_equal(same, per_level)


def test_unit_cross_entropy_ignores_uncoded_units():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4, 12)).astype(np.float32)
    labels = rng.integers(-1, 2, (4, 12)).astype(np.int8)
    p = 1 / (1 + np.exp(-logits))
    by_hand = -np.where(labels == 1, np.log(p), np.log(1 - p))[labels >= 0].mean()
    np.testing.assert_allclose(units.unit_cross_entropy(logits, labels), by_hand, rtol=1e-5)
    gradient = np.asarray(jax.grad(lambda x: units.unit_cross_entropy(x, labels))(logits))
    assert not gradient[labels < 0].any() and (gradient[labels >= 0] != 0).all()
    assert units.unit_cross_entropy(logits, np.full_like(labels, -1)) == 0
