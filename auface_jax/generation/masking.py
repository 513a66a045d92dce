"""Which image tokens are hidden: the cosine schedule of MaskGIT (Chang et al. 2022, section
3.3)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.models.token_layout import check_layout


def cosine_schedule(ratio: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Share of tokens still masked once `ratio` in [0, 1] of the iterations are done."""
    return jnp.cos(ratio * (jnp.pi / 2))


def mask_counts(ratios: Float[Array, " B"], total: int) -> Int[Array, " B"]:
    """How many of `total` tokens a mask of each ratio in [0, 1] hides: at least one."""
    return jnp.clip(jnp.ceil(ratios * total - 1e-4), 1, total).astype(jnp.int32)


def random_mask(
    rng: jax.Array, ratios: Float[Array, " B"], *, positions: int, num_quantizers: int, layout: str
) -> Bool[Array, "B N Q"]:
    """Hides exactly `mask_counts(ratios)` tokens a row, uniformly at random.

    In the `flat` layout each of the N * Q tokens is hidden for itself; in the `depth` layout a
    position is hidden with all its levels, since its levels share one place in the sequence.
    """
    check_layout(layout)
    total = positions * num_quantizers if layout == "flat" else positions
    noise = jax.random.uniform(rng, (ratios.shape[0], total))
    ranks = jnp.argsort(jnp.argsort(noise, axis=-1), axis=-1)
    masked = ranks < mask_counts(ratios, total)[:, None]
    if layout == "flat":
        return masked.reshape(-1, positions, num_quantizers)
    return jnp.broadcast_to(masked[..., None], (ratios.shape[0], positions, num_quantizers))


def training_mask(
    rng: jax.Array,
    batch: int,
    *,
    positions: int,
    num_quantizers: int,
    layout: str,
    full: float = 0.0,
    group: int = 0,
) -> Bool[Array, "B N Q"]:
    """A mask a row whose ratio follows the cosine schedule at a uniform time.

    Args:
      full: share of the rows that are masked throughout instead: with no token to go by, everything
        must come from text and reference.
      group: 0 draws each row by itself. Else the times of each so many neighbouring rows are spread
        evenly, each of them as uniform as before, and the tokens of a row are hidden evenly over
        its levels, so that `most_masked` tokens of a level are hidden at most.

    Raises:
      ValueError: `group` does not divide `batch`.
    """
    if group:
        return _grouped_mask(rng, batch, positions, num_quantizers, layout, full, group)
    ratio_key, full_key, place_key = jax.random.split(rng, 3)
    ratios = cosine_schedule(jax.random.uniform(ratio_key, (batch,)))
    ratios = jnp.where(jax.random.uniform(full_key, (batch,)) < full, 1.0, ratios)
    return random_mask(
        place_key, ratios, positions=positions, num_quantizers=num_quantizers, layout=layout
    )


def _grouped_mask(
    rng, batch, positions, num_quantizers, layout, full, group
) -> Bool[Array, "B N Q"]:
    check_layout(layout)
    if batch % group:
        raise ValueError(f"mask_group={group} does not divide the batch of {batch} rows")
    time_key, level_key, place_key = jax.random.split(rng, 3)
    offsets = jax.random.uniform(time_key, (batch // group, 1))
    ratios = _ratio_at((jnp.arange(group) + offsets) / group, full).reshape(batch)
    if layout == "depth":
        return random_mask(
            place_key, ratios, positions=positions, num_quantizers=num_quantizers, layout=layout
        )
    counts = mask_counts(ratios, positions * num_quantizers)[:, None]
    turn = jnp.argsort(jax.random.uniform(level_key, (batch, num_quantizers)), axis=-1)
    counts = counts // num_quantizers + (turn < counts % num_quantizers)  # [B, Q]
    noise = jax.random.uniform(place_key, (batch, positions, num_quantizers))
    ranks = jnp.argsort(jnp.argsort(noise, axis=1), axis=1)
    return ranks < counts[:, None]


def _ratio_at(time: Float[Array, "*n"], full: float) -> Float[Array, "*n"]:
    """The ratio at a time in [0, 1): 1 in the first `full` of it, then the cosine schedule."""
    return cosine_schedule(jnp.maximum(time - full, 0.0) / max(1.0 - full, 1e-6))


def most_masked(
    group: int, *, positions: int, num_quantizers: int, layout: str, full: float = 0.0
) -> int:
    """How many tokens of a level `training_mask` hides at most in a group of rows."""
    total = positions * num_quantizers if layout == "flat" else positions
    times = np.arange(group) / group  # the ratio falls with time
    ratios = np.cos(np.maximum(times - full, 0.0) / max(1.0 - full, 1e-6) * (np.pi / 2))
    counts = np.clip(np.ceil(ratios * total + 1e-2), 1, total)
    shares = np.ceil(counts / num_quantizers) if layout == "flat" else counts
    return int(shares.sum())


def masked_places(
    masked: Bool[Array, "B N Q"],
    *,
    group: int,
    most: int,
    layout: str,
    at_once: int = 0,
    rng: jax.Array | None = None,
) -> tuple[Int[Array, "G M q"], Bool[Array, "G M q"]]:
    """Where the masked tokens of each level are, as `MaskGIT.logits_at` takes it.

    Args:
      most: from `most_masked`; places beyond the masked tokens are filled with others.
      at_once: `depth` layout alone: at each masked position so many of the Q levels, by turns, the
        positions being dealt to the levels at random; 0 is all of them.
      rng: for `at_once`.

    Returns:
      the places, row * N + position within a group of `group` rows, and which of them are masked;
      q is Q, or 1 where the levels of a position are masked together and are all wanted. M is
      `most`, or with `at_once` its part that falls to a level.

    Raises:
      ValueError: `at_once` in the flat layout, or above the number of levels.
    """
    num_quantizers = masked.shape[-1]
    check_levels_at_once(at_once, num_quantizers, layout)
    masked = masked[..., :1] if layout == "depth" else masked
    masked = masked.reshape(masked.shape[0] // group, -1, masked.shape[-1])
    if not 0 < at_once < num_quantizers:
        places = jnp.argsort(~masked, axis=1, stable=True)[:, :most]
        return places, jnp.take_along_axis(masked, places, axis=1)
    order = jax.random.uniform(rng, masked.shape) + ~masked  # the masked ones first, shuffled
    places = jnp.argsort(order, axis=1)[:, :most, 0]
    # Level q has the turns q, q + Q, …, and with more at once those of the levels after it, too.
    count = math.ceil(most / num_quantizers)
    turn = np.arange(num_quantizers) + np.arange(at_once)[:, None]  # [at_once, Q]
    turns = np.arange(count)[:, None, None] * num_quantizers + turn % num_quantizers
    turns = turns.reshape(-1, num_quantizers)  # [M, Q]
    chosen = places[:, turns % most]
    hidden = jnp.take_along_axis(masked, chosen.reshape(len(chosen), -1, 1), axis=1)
    return chosen, hidden.reshape(chosen.shape) & (turns < most)


def check_levels_at_once(at_once: int, num_quantizers: int, layout: str) -> None:
    """Raises a ValueError where `masked_places` cannot have `at_once`."""
    if at_once and layout != "depth":
        raise ValueError(
            f"quantizers_per_step={at_once} is for the depth layout: in the flat layout "
            "the tokens of each level are masked independently; set it to 0"
        )
    if not 0 <= at_once <= num_quantizers:
        raise ValueError(
            f"quantizers_per_step={at_once}: there are {num_quantizers} levels, and 0 takes all"
        )
