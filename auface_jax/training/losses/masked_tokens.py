"""Cross-entropy of masked image tokens (MaskGIT, Chang et al. 2022, equation 1)."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from auface_jax.ops.cross_entropy import cross_entropy


def masked_cross_entropy(
    logits: Sequence[Float[Array, "B N K"]],
    codes: Int[Array, "B N Q"],
    masked: Bool[Array, "B N Q"],
    label_smoothing: float = 0.0,
    level_weights: tuple[float, ...] | None = None,
) -> tuple[Float[Array, ""], Float[Array, " Q"]]:
    """MaskGIT's loss (Chang et al. 2022, eq. 1): cross-entropy of the masked tokens, in nats.

    Args:
      logits: logits of each quantizer level.
      codes: the true tokens.
      masked: True for the tokens that were masked in the input.
      label_smoothing: probability that is spread over the whole codebook.
      level_weights: weight of a token of each level; None weighs all levels equally.

    Returns:
      the weighted mean over all masked tokens, and the mean at each level.
    """
    of_levels = zip(logits, jnp.unstack(codes, axis=-1), strict=True)
    losses = [cross_entropy(level, targets, label_smoothing) for level, targets in of_levels]
    losses = jnp.stack(losses, axis=-1)  # [B, N, Q]
    weights = masked.astype(jnp.float32)
    per_level = (losses * weights).sum((0, 1)) / jnp.maximum(weights.sum((0, 1)), 1.0)
    if level_weights is not None:
        weights = weights * jnp.asarray(level_weights)
    return (losses * weights).sum() / jnp.maximum(weights.sum(), 1e-6), per_level
