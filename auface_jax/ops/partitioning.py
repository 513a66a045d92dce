"""Questions about the mesh in force: which logical dimensions it splits, and over which axes."""

import math

import jax
from flax import linen as nn


def is_split(name: str) -> bool:
    """Whether the mesh and the rules in force split dimensions of that name."""
    (axes,) = nn.logical_to_mesh_axes((name,))
    return any(jax.sharding.get_abstract_mesh().shape.get(axis, 1) > 1 for axis in axes or ())


def row_axes(rows: int) -> tuple[str, ...]:
    """The axes that so many rows are split over, inside `placed`: none on one device, where no
    rules are in force, or where the devices do not divide the rows."""
    mesh, rules = jax.sharding.get_abstract_mesh(), dict(nn.get_logical_axis_rules())
    axes = tuple(axis for axis in rules.get("batch", ()) if mesh.shape.get(axis, 1) > 1)
    return axes if rows % math.prod(mesh.shape[axis] for axis in axes) == 0 else ()
