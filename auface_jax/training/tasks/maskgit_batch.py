"""Augmentation of Stage II's batches, and dropout of its inputs."""

import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Bool

Batch = dict[str, Array]


def augment(rng: jax.Array, batch: Batch, config: ml_collections.ConfigDict) -> Batch:
    """Shifts and tints image and reference together; each pair has its own shift and tint.

    A shift changes every token of a face, which makes up for a small number of people. Shifted
    pictures repeat their edges.

    Args:
      rng: random key.
      batch: `image` and `reference`, uint8 [B, H, W, 3], and other fields, which are unchanged.
      config: `shift`, the largest shift in pixels in each direction; `tint`, the largest relative
        change of a colour channel.
    """
    if not config.shift and not config.tint:
        return batch
    shift_key, tint_key = jax.random.split(rng)
    rows, size = batch["image"].shape[:2]
    reach = config.shift
    shifts = jax.random.randint(shift_key, (rows, 2), 0, 2 * reach + 1)
    tints = 1.0 + config.tint * jax.random.uniform(tint_key, (rows, 3), minval=-1.0)

    def of_row(image, shift, tint):
        padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        moved = jax.lax.dynamic_slice(padded, (shift[0], shift[1], 0), (size, size, 3))
        return jnp.clip(jnp.round(moved * tint), 0, 255).astype(jnp.uint8)

    moved = {name: jax.vmap(of_row)(batch[name], shifts, tints) for name in ("image", "reference")}
    return batch | moved


def context_dropout(
    rng: jax.Array, rows: int, config: ml_collections.ConfigDict
) -> tuple[Bool[Array, " B"], Bool[Array, " B"]]:
    """Draws the examples that are trained without text, without reference, or without both.

    Args:
      rng: random key.
      rows: number of examples, B.
      config: the probabilities `text` and `reference` of dropping one alone, and `both`.

    Returns:
      masks of the examples without text and of those without reference.
    """
    u = jax.random.uniform(rng, (rows,))
    both = u < config.both
    text = u < config.both + config.text
    reference = u >= 1.0 - config.reference
    return text, both | reference
