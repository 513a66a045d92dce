"""Losses of the action unit recognisers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int


def unit_cross_entropy(logits: Float[Array, "B A"], labels: Int[Array, "B A"]) -> Float[Array, ""]:
    """Binary cross-entropy of action units, averaged over coded units (label 0 or 1)."""
    coded = labels >= 0
    losses = optax.sigmoid_binary_cross_entropy(logits, (labels == 1).astype(jnp.float32))
    return (losses * coded).sum() / jnp.maximum(coded.sum(), 1)


def degree_cross_entropy(
    logits: Float[Array, "B A 6"], degrees: Int[Array, "B A"], labels: Int[Array, "B A"]
) -> Float[Array, ""]:
    """Cross-entropy of stated degrees in nats, averaged over present units.

    Args:
      logits: of no degree, and of A to E.
      degrees: 0 where a text states no degree, or 1 to 5.
      labels: 1 for a present unit.
    """
    present = labels == 1
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, degrees.astype(jnp.int32))
    return (losses * present).sum() / jnp.maximum(present.sum(), 1)


def intensity_error(
    read: Float[Array, "B A"], intensities: Float[Array, "B A"]
) -> Float[Array, ""]:
    """Squared error of intensities, averaged over the known ones.

    Args:
      read: intensities as read.
      intensities: the true ones in [0, 1]; 0 for an absent unit, -1 where it is not known.
    """
    known = intensities >= 0
    return (jnp.square(read - intensities) * known).sum() / jnp.maximum(known.sum(), 1)


def weighted_asymmetric(
    probabilities: Float[Array, "B A"], labels: Int[Array, "B A"], weights: Float[Array, " A"]
) -> Float[Array, ""]:
    """ME-GraphAU's loss (Luo et al. 2022): cross-entropy in which easy absent units count less.

    The loss -w [y log p + (1 - y) p log(1 - p)] is averaged over coded units; the factor p is a
    constant for the gradient.

    Args:
      probabilities: the probability p of each unit.
      labels: 0, 1, or -1 for a unit that is not coded.
      weights: the weight w of each unit: `unit_weights` of the training labels.
    """
    coded, present = labels >= 0, labels == 1
    # The original's bound: the gradient is zero for probabilities that are this wrong.
    log_p = jnp.log(jnp.maximum(probabilities, 1e-8))
    log_q = jnp.log(jnp.maximum(1.0 - probabilities, 1e-8))
    losses = -jnp.where(present, log_p, jax.lax.stop_gradient(probabilities) * log_q) * weights
    return (losses * coded).sum() / jnp.maximum(coded.sum(), 1)


def unit_weights(labels: Int[np.ndarray, "M A"]) -> Float[np.ndarray, " A"]:
    """Weights inversely proportional to the rates at which units occur, with mean 1.

    A unit that never occurs is counted once; a unit that is never coded has weight 0.
    """
    coded = (labels >= 0).sum(0)
    rates = np.maximum((labels == 1).sum(0), 1) / np.maximum(coded, 1)
    weights = np.where(coded > 0, 1.0 / rates, 0.0)
    return (weights / weights.sum() * (coded > 0).sum()).astype(np.float32)


def edge_cross_entropy(
    logits: Float[Array, "B A A 4"], labels: Int[Array, "B A"]
) -> Float[Array, ""]:
    """Edge loss of ME-GraphAU (Luo et al. 2022), in nats, averaged over coded pairs of units.

    The class of a pair is 2 yᵢ + yⱼ.
    """
    present, coded = (labels == 1).astype(jnp.int32), labels >= 0
    classes = 2 * present[:, :, None] + present[:, None, :]
    coded = coded[:, :, None] & coded[:, None, :]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    return (losses * coded).sum() / jnp.maximum(coded.sum(), 1)
