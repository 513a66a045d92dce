"""Masks of image tokens by the cosine schedule of MaskGIT (Chang et al. 2022, section 3.3)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.models.token_layout import check_layout


def cosine_schedule(ratio: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Returns the share of tokens that is masked after `ratio` in [0, 1] of the iterations."""
    return jnp.cos(ratio * (jnp.pi / 2))


def mask_counts(ratios: Float[Array, " B"], total: int) -> Int[Array, " B"]:
    """Returns the number of tokens, out of `total`, that each mask ratio hides; at least one."""
    return jnp.clip(jnp.ceil(ratios * total - 1e-4), 1, total).astype(jnp.int32)


def random_mask(
    rng: jax.Array, ratios: Float[Array, " B"], *, positions: int, num_quantizers: int, layout: str
) -> Bool[Array, "B N Q"]:
    """Masks exactly `mask_counts(ratios)` tokens of each example, uniformly at random.

    In the `flat` layout each of the N * Q tokens is masked by itself; in the `depth` layout a
    position is masked with all of its levels, since they share one entry of the sequence.

    Args:
      rng: random key.
      ratios: mask ratio of each example, in [0, 1].
      positions: number of positions N.
      num_quantizers: number of quantizer levels Q.
      layout: one of `token_layout.LAYOUTS`.
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
    """Samples a mask for each example, whose ratio is the cosine schedule at a uniform time.

    Args:
      rng: random key.
      batch: number of examples.
      positions: number of positions N.
      num_quantizers: number of quantizer levels Q.
      layout: one of `token_layout.LAYOUTS`.
      full: probability that an example is fully masked instead: without any visible token,
        everything must come from text and reference.
      group: stratify mask ratios over this many consecutive examples, so that at most
        `max_masked_tokens` tokens of a level are masked: each ratio has the same distribution as
        without, and the masked tokens of an example are spread evenly over its levels. 0 samples
        each example independently.

    Raises:
      ValueError: `group` does not divide `batch`.
    """
    if group:
        return _grouped_mask(rng, batch, positions, num_quantizers, layout, full, group)
    ratio_key, full_key, position_key = jax.random.split(rng, 3)
    ratios = cosine_schedule(jax.random.uniform(ratio_key, (batch,)))
    ratios = jnp.where(jax.random.uniform(full_key, (batch,)) < full, 1.0, ratios)
    return random_mask(
        position_key, ratios, positions=positions, num_quantizers=num_quantizers, layout=layout
    )


def _grouped_mask(
    rng, batch, positions, num_quantizers, layout, full, group
) -> Bool[Array, "B N Q"]:
    """Samples the masks of `training_mask` for `group` > 0."""
    check_layout(layout)
    if batch % group:
        raise ValueError(
            f"mask_group={group} does not divide the batch of {batch} examples; choose a divisor"
        )
    time_key, level_key, position_key = jax.random.split(rng, 3)
    offsets = jax.random.uniform(time_key, (batch // group, 1))
    ratios = _ratio_at((jnp.arange(group) + offsets) / group, full).reshape(batch)
    if layout == "depth":
        return random_mask(
            position_key, ratios, positions=positions, num_quantizers=num_quantizers, layout=layout
        )
    counts = mask_counts(ratios, positions * num_quantizers)[:, None]
    order = jnp.argsort(jax.random.uniform(level_key, (batch, num_quantizers)), axis=-1)
    counts = counts // num_quantizers + (order < counts % num_quantizers)  # [B, Q]
    noise = jax.random.uniform(position_key, (batch, positions, num_quantizers))
    ranks = jnp.argsort(jnp.argsort(noise, axis=1), axis=1)
    return ranks < counts[:, None]


def _ratio_at(time: Float[Array, "*n"], full: float) -> Float[Array, "*n"]:
    """Returns the mask ratio at a time in [0, 1): 1 before `full`, then the cosine schedule."""
    return cosine_schedule(jnp.maximum(time - full, 0.0) / max(1.0 - full, 1e-6))


def max_masked_tokens(
    group: int, *, positions: int, num_quantizers: int, layout: str, full: float = 0.0
) -> int:
    """Returns the largest number of tokens of a level that `training_mask` masks in a group."""
    total = positions * num_quantizers if layout == "flat" else positions
    times = np.arange(group) / group  # the ratio falls with time
    ratios = np.cos(np.maximum(times - full, 0.0) / max(1.0 - full, 1e-6) * (np.pi / 2))
    counts = np.clip(np.ceil(ratios * total + 1e-2), 1, total)
    shares = np.ceil(counts / num_quantizers) if layout == "flat" else counts
    return int(shares.sum())


def masked_token_indices(
    masked: Bool[Array, "B N Q"],
    *,
    group: int,
    count: int,
    layout: str,
    quantizers_per_step: int = 0,
    rng: jax.Array | None = None,
) -> tuple[Int[Array, "G M q"], Bool[Array, "G M q"]]:
    """Returns the indices of the masked tokens of each level, for `MaskGIT.logits_at`.

    Args:
      masked: True at masked tokens.
      group: number of consecutive examples that are indexed together.
      count: number of indices of a level and group, from `max_masked_tokens`; those beyond the
        masked tokens are filled with others.
      layout: one of `token_layout.LAYOUTS`.
      quantizers_per_step: number of the Q levels that are predicted at each masked position, for
        the `depth` layout alone; positions are assigned to levels at random. 0 predicts all levels.
      rng: random key, for `quantizers_per_step`.

    Returns:
      The indices, example * N + position within a group, and which of them are masked. q is Q, or 1
      where the levels of a position are masked together and all predicted. M is `count`, or with
      `quantizers_per_step` the part of it that is assigned to a level.

    Raises:
      ValueError: `quantizers_per_step` in the flat layout, or above the number of levels.
    """
    num_quantizers = masked.shape[-1]
    check_quantizers_per_step(quantizers_per_step, num_quantizers, layout)
    masked = masked[..., :1] if layout == "depth" else masked
    masked = masked.reshape(masked.shape[0] // group, -1, masked.shape[-1])
    if not 0 < quantizers_per_step < num_quantizers:
        indices = jnp.argsort(~masked, axis=1, stable=True)[:, :count]
        return indices, jnp.take_along_axis(masked, indices, axis=1)
    order = jax.random.uniform(rng, masked.shape) + ~masked  # the masked ones first, shuffled
    indices = jnp.argsort(order, axis=1)[:, :count, 0]
    # Level q takes every Qth of the shuffled indices, q, q + Q, …; with several levels a position
    # it also takes those of the levels after it.
    rounds = math.ceil(count / num_quantizers)
    offsets = np.arange(num_quantizers) + np.arange(quantizers_per_step)[:, None]  # [per step, Q]
    picks = np.arange(rounds)[:, None, None] * num_quantizers + offsets % num_quantizers
    picks = picks.reshape(-1, num_quantizers)  # [M, Q]
    chosen = indices[:, picks % count]
    hidden = jnp.take_along_axis(masked, chosen.reshape(len(chosen), -1, 1), axis=1)
    return chosen, hidden.reshape(chosen.shape) & (picks < count)


def check_quantizers_per_step(quantizers_per_step: int, num_quantizers: int, layout: str) -> None:
    """Raises a ValueError unless `masked_token_indices` can use `quantizers_per_step`."""
    if quantizers_per_step and layout != "depth":
        raise ValueError(
            f"quantizers_per_step={quantizers_per_step} is for the depth layout: in the flat "
            "layout the tokens of each level are masked independently; set it to 0"
        )
    if not 0 <= quantizers_per_step <= num_quantizers:
        raise ValueError(
            f"quantizers_per_step={quantizers_per_step}: there are {num_quantizers} levels, and 0 "
            "takes all"
        )
