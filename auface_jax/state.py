"""The train state that every task shares, and the optimisers built from a config."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax
from flax import struct
from jaxtyping import Array, Int

PyTree = Any


@struct.dataclass
class TrainState:
    """All that a checkpoint keeps of the model; immutable, updated by `.replace`.

    Attributes:
      step: int32 scalar, steps done.
      params: float32 parameters, by network where a task trains several.
      opt_state: optax state(s), shaped like `params`.
      ema_params: running mean of the parameters used for evaluation (a sub-tree of `params`).
      variables: state that no gradient touches: codebooks, gates.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: PyTree
    ema_params: PyTree
    variables: PyTree


def learning_rate(config: ml_collections.ConfigDict, num_steps: int) -> optax.Schedule:
    """Linear warm-up, constant, linear decay to zero over the last `decay` share of the steps.

    The first of `warmup` steps has the rate 1 / warmup of the full one: no step is without effect.
    """
    decay_steps = max(1, round(config.decay * num_steps))
    warmup = max(1, config.warmup)
    return optax.join_schedules(
        [
            optax.linear_schedule(
                config.learning_rate / warmup, config.learning_rate, max(1, warmup - 1)
            ),
            optax.constant_schedule(config.learning_rate),
            optax.linear_schedule(config.learning_rate, 0.0, decay_steps),
        ],
        [warmup - 1, max(warmup - 1, num_steps - decay_steps)],
    )


def optimizer(
    config: ml_collections.ConfigDict, num_steps: int, schedule: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """Adam(W) with the schedule above, or another, and a bound on the global gradient norm."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            schedule or learning_rate(config, num_steps),
            b1=config.b1,
            b2=config.b2,
            weight_decay=config.weight_decay,
        ),
    )


def update_ema(ema: PyTree, params: PyTree, decay: float, step: Int[Array, ""]) -> PyTree:
    """Moves `ema` towards `params`; young averages move faster, so that the start is forgotten."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: e * decay + p * (1.0 - decay), ema, params)


def parameter_count(params: PyTree) -> int:
    """Number of scalars in a tree of arrays or of `jax.ShapeDtypeStruct`."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))
