"""The train state that every task shares, and one update of it."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from flax import struct
from jaxtyping import Array, Float, Int

PyTree = Any


@struct.dataclass
class TrainState:
    """Everything about the model that a checkpoint keeps; immutable, updated by `.replace`.

    Attributes:
      step: number of updates made, an int32 scalar.
      params: float32 parameters, by network where a task trains several.
      opt_state: optax state(s), shaped like `params`.
      ema_params: running mean of the parameters that evaluation uses, a sub-tree of `params`.
      variables: state without gradients, such as codebooks and gates.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: PyTree
    ema_params: PyTree
    variables: PyTree


def apply_gradients(
    state: TrainState,
    gradients: PyTree,
    tx: optax.GradientTransformation,
    ema_decay: float,
    **renewed: PyTree,
) -> TrainState:
    """Updates parameters, their running mean, the optimizer state and the step number.

    Args:
      state: the state before the update.
      gradients: gradients shaped like `state.params`.
      tx: the optimizer.
      ema_decay: decay of the running mean of the parameters.
      renewed: new values of other fields of the state.

    Returns:
      the state after the update.
    """
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state.replace(
        step=state.step + 1,
        params=params,
        opt_state=opt_state,
        ema_params=update_ema(state.ema_params, params, ema_decay, state.step),
        **renewed,
    )


def update_ema(ema: PyTree, params: PyTree, decay: float, step: Int[Array, ""]) -> PyTree:
    """Moves `ema` towards `params`, faster in early steps, so that initial values are forgotten."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: e * decay + p * (1.0 - decay), ema, params)


@jax.jit
def update_ratio(before: PyTree, after: PyTree) -> Float[Array, ""]:
    """Computes |change of the parameters in a step| / |parameters|, near 1e-3 in a healthy run."""
    change = jax.tree.map(lambda a, b: b - a, before, after)
    return optax.tree.norm(change) / jnp.maximum(optax.tree.norm(before), 1e-30)


def parameter_count(params: PyTree) -> int:
    """Counts the scalars in a tree of arrays or of `jax.ShapeDtypeStruct`."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))
