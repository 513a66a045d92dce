"""Losses of both stages, each a pure function citing its equation.

Paper: arXiv 2603.18588. Images are float32 in [-1, 1].
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int


def reconstruction_l1(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """L_recon = |I - Î| (paper, Stage I), the mean over pixels and channels."""
    return jnp.abs(image - reconstruction).mean()


def reconstruction_l2(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """Mean squared error; what PSNR measures. Not in the paper; weight 0 there."""
    return jnp.square(image - reconstruction).mean()


def image_gradient(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """L1 distance of horizontal and vertical differences: keeps edges such as lids and lips sharp.

    Not in the paper; weight 0 there.
    """
    error = image - reconstruction
    vertical = jnp.abs(error[:, 1:] - error[:, :-1]).mean()
    horizontal = jnp.abs(error[:, :, 1:] - error[:, :, :-1]).mean()
    return vertical + horizontal


def commitment(
    z: Float[Array, "*batch C"], partial_sums: Float[Array, "Q *batch C"]
) -> Float[Array, ""]:
    """L_commit: mean over levels of |z - sg[sum of codes up to the level]|² (RQ-VAE, eq. 9)."""
    return jnp.square(z[None] - jax.lax.stop_gradient(partial_sums)).mean()


def perceptual(
    features: Float[Array, "B *rest"], of_reconstruction: Float[Array, "B *rest"]
) -> Float[Array, ""]:
    """|VGG16(I) - VGG16(Î)|² (paper, Stage I), the mean over the features and not their sum.

    Features are the second 4096-wide ones, or those of a substitute: `loss_networks.py`.
    """
    return jnp.square(features - of_reconstruction).mean()


def anatomical(
    nodes: Float[Array, "B A D"], of_reconstruction: Float[Array, "B A D"]
) -> Float[Array, ""]:
    """|MEF(I) - MEF(Î)|² (paper, Stage I), the mean over units and their entries.

    MEF is ME-GraphAU without its classifier: `models.au_recognizer.Recognition.nodes`.
    """
    return jnp.square(nodes - of_reconstruction).mean()


def lpips(
    features: Float[Array, "B F"], of_reconstruction: Float[Array, "B F"]
) -> Float[Array, ""]:
    """LPIPS (Zhang et al. 2018), an alternative to `perceptual` that the paper does not have.

    Features are scaled by the square roots of LPIPS' weights: `loss_networks.load_lpips_loss`.
    """
    return jnp.square(features - of_reconstruction).sum(-1).mean()


def adversarial_generator(fake_logits: Float[Array, "*batch"]) -> Float[Array, ""]:
    """-E[D(Î)] (paper, Stage I)."""
    return -fake_logits.mean()


def adversarial_discriminator(
    real_logits: Float[Array, "*batch"], fake_logits: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """Hinge: E[max(0, 1 - D(I))] + E[max(0, 1 + D(Î))] (paper, Stage I)."""
    real = jnp.maximum(0.0, 1.0 - real_logits).mean()
    return real + jnp.maximum(0.0, 1.0 + fake_logits).mean()


def r1_penalty(
    discriminate: Callable[[Float[Array, "B H W 3"]], Float[Array, "B h w"]],
    image: Float[Array, "B H W 3"],
) -> Float[Array, ""]:
    """R1 (Mescheder et al. 2018): E |gradient of D at real images|²; D is the mean over patches."""
    at_image = jax.grad(lambda x: discriminate(x).mean((1, 2)).sum())(image)
    return jnp.square(at_image).sum((1, 2, 3)).mean()


def unit_cross_entropy(logits: Float[Array, "B A"], labels: Int[Array, "B A"]) -> Float[Array, ""]:
    """Binary cross-entropy of action units, the mean over those that are coded (label 0 or 1)."""
    coded = labels >= 0
    losses = optax.sigmoid_binary_cross_entropy(logits, (labels == 1).astype(jnp.float32))
    return (losses * coded).sum() / jnp.maximum(coded.sum(), 1)


def weighted_asymmetric(
    probabilities: Float[Array, "B A"], labels: Int[Array, "B A"], weights: Float[Array, " A"]
) -> Float[Array, ""]:
    """ME-GraphAU's loss (Luo et al. 2022): cross-entropy, with easy absent units counting less.

    -w [y log p + (1 - y) p log(1 - p)], the mean over coded units; no gradient passes the factor p.

    Args:
      weights: of each unit: `unit_weights` of the training labels.
    """
    coded, present = labels >= 0, labels == 1
    # Nothing is learnt from an answer that is this wrong: the original's bound.
    log_p = jnp.log(jnp.maximum(probabilities, 1e-8))
    log_q = jnp.log(jnp.maximum(1.0 - probabilities, 1e-8))
    losses = -jnp.where(present, log_p, jax.lax.stop_gradient(probabilities) * log_q) * weights
    return (losses * coded).sum() / jnp.maximum(coded.sum(), 1)


def unit_weights(labels: Int[np.ndarray, "M A"]) -> Float[np.ndarray, " A"]:
    """Weights of the units in inverse proportion to how often they occur, of mean 1.

    A unit that never occurs counts as one that occurs once; one that is never coded has weight 0.
    """
    coded = (labels >= 0).sum(0)
    rates = np.maximum((labels == 1).sum(0), 1) / np.maximum(coded, 1)
    weights = np.where(coded > 0, 1.0 / rates, 0.0)
    return (weights / weights.sum() * (coded > 0).sum()).astype(np.float32)


def edge_cross_entropy(
    logits: Float[Array, "B A A 4"], labels: Int[Array, "B A"]
) -> Float[Array, ""]:
    """Cross-entropy in nats of two units' presence, 2 yᵢ + yⱼ, the mean over coded pairs.

    Luo et al. 2022.
    """
    present, coded = (labels == 1).astype(jnp.int32), labels >= 0
    classes = 2 * present[:, :, None] + present[:, None, :]
    coded = coded[:, :, None] & coded[:, None, :]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    return (losses * coded).sum() / jnp.maximum(coded.sum(), 1)


def masked_cross_entropy(
    logits: Sequence[Float[Array, "B N K"]],
    codes: Int[Array, "B N Q"],
    masked: Bool[Array, "B N Q"],
    label_smoothing: float = 0.0,
    level_weights: tuple[float, ...] | None = None,
) -> tuple[Float[Array, ""], Float[Array, " Q"]]:
    """MaskGIT's loss (Chang et al. 2022, eq. 1): cross-entropy where the input was masked.

    Args:
      logits: of each level.
      level_weights: how much a token of each level counts; None is equally.

    Returns:
      the weighted mean over all masked tokens, and the mean at each level (in nats).
    """
    of_levels = zip(logits, jnp.unstack(codes, axis=-1), strict=True)
    losses = [cross_entropy(level, targets, label_smoothing) for level, targets in of_levels]
    losses = jnp.stack(losses, axis=-1)  # [B, N, Q]
    weights = masked.astype(jnp.float32)
    per_level = (losses * weights).sum((0, 1)) / jnp.maximum(weights.sum((0, 1)), 1.0)
    if level_weights is not None:
        weights = weights * jnp.asarray(level_weights)
    return (losses * weights).sum() / jnp.maximum(weights.sum(), 1e-6), per_level


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def cross_entropy(
    logits: Float[Array, "*n K"], codes: Int[Array, "*n"], label_smoothing: float = 0.0
) -> Float[Array, "*n"]:
    """Cross-entropy in nats, of targets (1 - e) one-hot + e / K.

    Nothing as large as the logits is kept for the gradient but these, and it is computed in one
    go: with a large vocabulary each pass over them takes as long as a layer's norm.
    """
    return _cross_entropy_forward(logits, codes, label_smoothing)[0]


def _cross_entropy_forward(logits, codes, label_smoothing):
    by_code = _codes_first(logits).astype(jnp.float32)  # [K, n]
    log_sum = jax.nn.logsumexp(by_code, axis=0)
    chosen = jnp.take_along_axis(by_code, codes.reshape(1, -1), axis=0)[0]
    losses = log_sum - (1 - label_smoothing) * chosen
    if label_smoothing:
        losses -= label_smoothing * by_code.mean(0)
    return losses.reshape(codes.shape), (logits, codes, log_sum)


def _cross_entropy_backward(label_smoothing, kept, at_losses):
    logits, codes, log_sum = kept
    by_code = _codes_first(logits).astype(jnp.float32)
    p = jnp.exp(by_code - log_sum)
    is_code = jnp.arange(len(p))[:, None] == codes.reshape(-1)
    target = jnp.where(is_code, 1 - label_smoothing, 0.0) + label_smoothing / len(p)
    at_logits = ((p - target) * at_losses.reshape(-1)).astype(logits.dtype)
    return at_logits.T.reshape(logits.shape), None


def _codes_first(logits: Float[Array, "*n K"]) -> Float[Array, "K n"]:
    """As `MaskGIT` computes them: what it turned is turned back, and nothing is moved."""
    return logits.reshape(-1, logits.shape[-1]).T


cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)
