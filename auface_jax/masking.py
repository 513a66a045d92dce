"""Which image tokens are hidden: the cosine schedule of MaskGIT (Chang et al. 2022, section
3.3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

LAYOUTS = ("flat", "depth")


def check_layout(layout: str) -> None:
    """Raises a ValueError unless `layout` is one of `LAYOUTS`."""
    if layout not in LAYOUTS:
        raise ValueError(f"token layout {layout!r} is not one of {', '.join(LAYOUTS)}")


def cosine_schedule(ratio: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Share of tokens still masked once `ratio` in [0, 1] of the iterations are done."""
    return jnp.cos(ratio * (jnp.pi / 2))


def mask_counts(ratios: Float[Array, " B"], total: int) -> Int[Array, " B"]:
    """How many of `total` tokens a mask of each ratio in [0, 1] hides: at least one."""
    return jnp.clip(jnp.ceil(ratios * total - 1e-4), 1, total).astype(jnp.int32)


def random_mask(
    rng: jax.Array, ratios: Float[Array, " B"], *, positions: int, levels: int, layout: str
) -> Bool[Array, "B N Q"]:
    """Hides exactly `mask_counts(ratios)` tokens a row, uniformly at random.

    In the `flat` layout each of the N * Q tokens is hidden for itself; in the `depth` layout a
    position is hidden with all its levels, since its levels share one place in the sequence.
    """
    check_layout(layout)
    total = positions * levels if layout == "flat" else positions
    noise = jax.random.uniform(rng, (ratios.shape[0], total))
    ranks = jnp.argsort(jnp.argsort(noise, axis=-1), axis=-1)
    masked = ranks < mask_counts(ratios, total)[:, None]
    if layout == "flat":
        return masked.reshape(-1, positions, levels)
    return jnp.broadcast_to(masked[..., None], (ratios.shape[0], positions, levels))


def training_mask(
    rng: jax.Array, batch: int, *, positions: int, levels: int, layout: str, full: float = 0.0
) -> Bool[Array, "B N Q"]:
    """A mask a row whose ratio follows the cosine schedule at a uniform time.

    Args:
      full: share of the rows that are masked throughout instead: with no token to go by, everything
        must come from text and reference.
    """
    ratio_key, full_key, place_key = jax.random.split(rng, 3)
    ratios = cosine_schedule(jax.random.uniform(ratio_key, (batch,)))
    ratios = jnp.where(jax.random.uniform(full_key, (batch,)) < full, 1.0, ratios)
    return random_mask(place_key, ratios, positions=positions, levels=levels, layout=layout)
