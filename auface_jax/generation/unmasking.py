"""Unmasking of tokens during decoding: how many stay masked after an iteration, and which ones.

The tokens of an image form a sequence of T here: one token a position in the `depth` layout, whose
levels are masked together, else one a position and quantizer level.
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.generation.masking import cosine_schedule


def num_masked_after(
    step: Int[Array, ""], steps: int, total: Int[Array, "B 1"], masked: Bool[Array, "B T"]
) -> Int[Array, "B 1"]:
    """Returns the number of tokens to leave masked after iteration `step`.

    It follows the cosine schedule, falls by at least one an iteration, and ends at 0.

    Args:
      step: number of the iteration, from 0.
      steps: number of iterations.
      total: number of tokens that were masked before the first iteration.
      masked: tokens that are masked before this iteration.
    """
    left = jnp.floor(cosine_schedule((step + 1) / steps) * total + 1e-4).astype(jnp.int32)
    left = jnp.where(step + 1 == steps, 0, left)
    return jnp.minimum(left, jnp.maximum(masked.sum(-1, keepdims=True) - 1, 0))


def num_masked_after_by_level(
    step: Int[Array, ""], level_steps: tuple[int, ...], total: Int[Array, "B Q"]
) -> Int[Array, "B 1"]:
    """Returns the number of tokens to leave masked where each quantizer level has its iterations.

    Args:
      step: number of the iteration, from 0.
      level_steps: iterations of each level.
      total: tokens of each level that were masked before the first iteration.
    """
    ratios = jnp.asarray(level_mask_ratios(level_steps), jnp.float32)[step]  # [Q]
    by_level = jnp.floor(ratios * total + 1e-4).astype(jnp.int32)
    return by_level.sum(-1, keepdims=True)


def keep_masked(
    priority: Float[Array, "B T"], masked: Bool[Array, "B T"], count: Int[Array, "B 1"]
) -> Bool[Array, "B T"]:
    """Masks the `count` masked tokens of the lowest priority again."""
    priority = jnp.where(masked, priority, jnp.inf)
    return (ranks_of(priority) < count) & masked


def ranks_of(values: Float[Array, "B T"]) -> Int[Array, "B T"]:
    """Returns the rank of each value within its example, 0 for the smallest."""
    return jnp.argsort(jnp.argsort(values, axis=-1), axis=-1)


def coarse_levels_first(
    priority: Float[Array, "B T"], positions: int, levels: int
) -> Int[Array, "B T"]:
    """Raises the priority of each token over that of every token of a finer quantizer level."""
    level = np.tile(np.arange(levels), positions)
    ranks = ranks_of(priority)
    return ranks + (levels - level) * ranks.shape[-1]


@functools.cache
def halton_ranks(grid: int) -> Int[np.ndarray, " N"]:
    """Returns the rank of each position in the Halton order of the grid, in raster order.

    The points of the Halton sequence with the bases 2 and 3 fall into the cells of the grid, which
    come in the order in which they are first hit.

    Args:
      grid: positions along one side.
    """
    from scipy.stats import qmc  # as slow to import as jax, and only this order needs it

    order: dict[int, None] = {}
    points = qmc.Halton(d=2, scramble=False)
    while len(order) < grid**2:
        column, row = np.floor(points.random(grid**2) * grid).astype(int).T
        order |= dict.fromkeys((row * grid + column).tolist())
    ranks = np.empty(grid**2, np.int32)
    ranks[list(order)] = np.arange(grid**2)
    ranks.setflags(write=False)
    return ranks


def max_unmasked(steps: int, positions: int) -> int:
    """Returns an upper bound of the positions that one iteration unmasks, whatever was given."""
    left = np.cos(np.pi / 2 * np.arange(steps + 1) / steps)  # as `masking.cosine_schedule`
    return min(positions, math.ceil(positions * np.max(left[:-1] - left[1:])) + 1)


def level_mask_ratios(level_steps: tuple[int, ...]) -> Float[np.ndarray, "steps Q"]:
    """Returns the share of each level's tokens that is masked after each iteration.

    Args:
      level_steps: iterations of each quantizer level; one level follows the other.
    """
    ratios = []
    for level, count in enumerate(level_steps):
        for step in range(1, count + 1):
            by_level = np.zeros(len(level_steps))
            by_level[level] = np.cos(np.pi / 2 * step / count) if step < count else 0.0
            by_level[level + 1 :] = 1.0
            ratios.append(by_level)
    return np.array(ratios)
