"""Sampling of one token out of a vocabulary, given its logits.

Decoding takes a token at every position in every iteration, out of thousands, so each operation
here is a few plain passes over the logits.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Halvings of the range of logits until the bounds of a threshold are adjacent in float32.
_BISECTIONS = 26


def inverse_cdf_sample(logits: Float[Array, "*n K"], u: Float[Array, "*n"]) -> Int[Array, "*n"]:
    """Inverse-CDF sample: the smallest index whose cumulative softmax(logits) exceeds `u`.

    It needs one random number a sample, where `jax.random.categorical` needs one a token. The group
    of tokens that holds the sample is found first, then the token inside it: a cumulative sum over
    a whole vocabulary is slow.

    Args:
      logits: unnormalised log-probabilities; a token of -inf is never sampled.
      u: uniform numbers in [0, 1).
    """
    count = logits.shape[-1]
    size = 2 ** math.ceil(math.log2(count) / 2)
    weights = jnp.exp(logits - logits.max(-1, keepdims=True))
    if missing := -count % size:
        weights = jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, missing)])
    groups = weights.reshape(*weights.shape[:-1], -1, size)
    group_sums = groups.sum(-1)
    group, rest = _first_above(group_sums, u * group_sums.sum(-1))
    in_group = jnp.take_along_axis(groups, group[..., None, None], axis=-2)[..., 0, :]
    return group * size + _first_above(in_group, rest)[0]


def _first_above(
    weights: Float[Array, "*n m"], target: Float[Array, "*n"]
) -> tuple[Int[Array, "*n"], Float[Array, "*n"]]:
    """Finds the first positive weight at which the cumulative sum exceeds `target`.

    Returns:
      Its index, and `target` less the sum of the weights before it.
    """
    sums = jnp.cumsum(weights, axis=-1)
    # Sums in another order differ by rounding: `target` must stay below the largest sum here, and
    # a weight of 0 must not count although its sum may look larger than the one before.
    largest = jnp.where(weights > 0, sums, 0.0).max(-1)
    target = jnp.minimum(target, jnp.nextafter(largest, 0.0))
    index = jnp.argmax((sums > target[..., None]) & (weights > 0), axis=-1)
    before = jnp.take_along_axis(sums - weights, index[..., None], axis=-1)[..., 0]
    return index, target - before


def argmax(logits: Float[Array, "*n K"]) -> Int[Array, "*n"]:
    """Argmax: the index of the largest logit, the first of equals.

    Computed as two plain reductions: XLA's own argmax reduces pairs, which is slow on a CPU.
    """
    index, last = jnp.arange(logits.shape[-1], dtype=jnp.int32), logits.shape[-1] - 1
    largest = logits.max(-1, keepdims=True)
    return jnp.where(logits == largest, index, last).min(-1)


def top_k_top_p_filter(
    logits: Float[Array, "*n K"], top_k: int, top_p: float
) -> Float[Array, "*n K"]:
    """Top-k and nucleus filter: -inf for all but the k largest logits and the nucleus of mass p.

    The nucleus (Holtzman et al. 2020) is the smallest set of most probable tokens whose
    probabilities sum to `top_p`. The least logit to keep is found by bisection, since a sort of the
    vocabulary, or `lax.top_k`, is slow on a CPU. Logits closer to each other than 1e-7 of their
    range may be kept together.

    Args:
      logits: unnormalised log-probabilities of K tokens.
      top_k: number of tokens to keep; 0 keeps all.
      top_p: probability mass to keep, in (0, 1]; 1 keeps all.
    """
    kept = logits
    if 0 < top_k < logits.shape[-1]:
        # Counted as a product: XLA's sum of booleans takes longer on a CPU.
        ones = jnp.ones((logits.shape[-1], 1), jnp.float32)
        kept = _keep_largest(logits, lambda kept: kept.astype(jnp.float32) @ ones >= top_k)
    if top_p < 1.0:
        p = jax.nn.softmax(logits)
        nucleus = _keep_largest(logits, lambda kept: (p * kept).sum(-1, keepdims=True) >= top_p)
        kept = jnp.where(jnp.isinf(nucleus), -jnp.inf, kept)
    return kept


def _keep_largest(
    logits: Float[Array, "*n K"],
    is_enough: Callable[[Bool[Array, "*n K"]], Bool[Array, "*n 1"]],
) -> Float[Array, "*n K"]:
    """Keeps the logits at or above the highest threshold that keeps enough; -inf for the others.

    Args:
      logits: the logits.
      is_enough: tells for a set of kept tokens whether it suffices.
    """
    low, high = logits.min(-1, keepdims=True), logits.max(-1, keepdims=True)

    def halve(bounds, _):
        low, high = bounds
        middle = (low + high) / 2
        enough = is_enough(logits >= middle)
        return (jnp.where(enough, middle, low), jnp.where(enough, high, middle)), None

    (low, high), _ = jax.lax.scan(halve, (low, high), length=_BISECTIONS)
    threshold = jnp.where(is_enough(logits >= high), high, low)
    return jnp.where(logits >= threshold, logits, -jnp.inf)
