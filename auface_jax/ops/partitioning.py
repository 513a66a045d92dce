"""Questions to the mesh in force: which dimensions it splits, and over which axes."""

import math

import jax
from flax import linen as nn


def is_split(name: str) -> bool:
    """Returns True if the mesh and the rules in force split the logical dimension `name`."""
    (axes,) = nn.logical_to_mesh_axes((name,))
    return any(jax.sharding.get_abstract_mesh().shape.get(axis, 1) > 1 for axis in axes or ())


def batch_axes(batch_size: int) -> tuple[str, ...]:
    """Returns the mesh axes that a batch is split over inside `parallel.sharding.mesh_context`.

    The result is empty on one device, where no rules are in force, and where the devices do not
    divide `batch_size`.
    """
    mesh, rules = jax.sharding.get_abstract_mesh(), dict(nn.get_logical_axis_rules())
    axes = tuple(axis for axis in rules.get("batch", ()) if mesh.shape.get(axis, 1) > 1)
    return axes if batch_size % math.prod(mesh.shape[axis] for axis in axes) == 0 else ()
