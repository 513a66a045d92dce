"""One code out of a vocabulary by its logits: drawn, or the likeliest, of all codes or of some.

Plain passes over the logits, and as few as can be: in every iteration of decoding each place has
thousands of them.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def code_at(scores: Float[Array, "*n K"], share: Float[Array, "*n"]) -> Int[Array, "*n"]:
    """The first code up to which codes have more than `share`, in [0, 1), of the probability
    softmax(scores): a draw by these, for a `share` that is uniform. Never one of score -inf.

    One random number a draw, where `jax.random.categorical` takes one a code. First the group of
    codes is found, then the code in it: running sums over a whole vocabulary are slow.
    """
    count = scores.shape[-1]
    size = 2 ** math.ceil(math.log2(count) / 2)
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    if left_over := -count % size:
        weights = jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, left_over)])
    groups = weights.reshape(*weights.shape[:-1], -1, size)
    of_group = groups.sum(-1)
    group, left = _first_above(of_group, share * of_group.sum(-1))
    in_group = jnp.take_along_axis(groups, group[..., None, None], axis=-2)[..., 0, :]
    return group * size + _first_above(in_group, left)[0]


def _first_above(
    weights: Float[Array, "*n m"], target: Float[Array, "*n"]
) -> tuple[Int[Array, "*n"], Float[Array, "*n"]]:
    """Where the running sum of `weights` first exceeds `target`, among those that are not 0, and
    what of the target is left there."""
    sums = jnp.cumsum(weights, axis=-1)
    # Sums taken in another order differ by their rounding: one that exceeds it must be there, and
    # a 0 may look as if it added something.
    highest = jnp.where(weights > 0, sums, 0.0).max(-1)
    target = jnp.minimum(target, jnp.nextafter(highest, 0.0))
    index = jnp.argmax((sums > target[..., None]) & (weights > 0), axis=-1)
    before = jnp.take_along_axis(sums - weights, index[..., None], axis=-1)[..., 0]
    return index, target - before


def likeliest_code(scores: Float[Array, "*n K"]) -> Int[Array, "*n"]:
    """`argmax`, the first of equals, as two plain reductions: XLA's own reduces pairs, which is
    slow on a CPU."""
    codes, last = jnp.arange(scores.shape[-1], dtype=jnp.int32), scores.shape[-1] - 1
    highest = scores.max(-1, keepdims=True)
    return jnp.where(scores == highest, codes, last).min(-1)


def likeliest(logits: Float[Array, "*n K"], top_k: int, top_p: float) -> Float[Array, "*n K"]:
    """`logits` with -inf for every code that is not among the `top_k` likeliest, or not in the
    smallest set of likeliest codes whose probabilities sum to `top_p`.

    By bisection for the least logit to keep: to sort a vocabulary, or `lax.top_k`, is slow on a
    CPU. Codes closer than 1e-7 of the logits' range may be kept together.
    """

    def keep(logits, enough):
        """The codes at or above the highest threshold at which what is kept is `enough`."""
        low, high = logits.min(-1, keepdims=True), logits.max(-1, keepdims=True)

        def halve(bounds, _):
            low, high = bounds
            middle = (low + high) / 2
            fine = enough(logits >= middle)
            return (jnp.where(fine, middle, low), jnp.where(fine, high, middle)), None

        (low, high), _ = jax.lax.scan(halve, (low, high), length=26)
        threshold = jnp.where(enough(logits >= high), high, low)
        return jnp.where(logits >= threshold, logits, -jnp.inf)

    kept = logits
    if 0 < top_k < logits.shape[-1]:
        # Counted as a product: XLA's sum of truth values takes longer on a CPU.
        ones = jnp.ones((logits.shape[-1], 1), jnp.float32)
        kept = keep(logits, lambda kept: kept.astype(jnp.float32) @ ones >= top_k)
    if top_p < 1.0:
        p = jax.nn.softmax(logits)
        nucleus = keep(logits, lambda kept: (p * kept).sum(-1, keepdims=True) >= top_p)
        kept = jnp.where(jnp.isinf(nucleus), -jnp.inf, kept)
    return kept
