"""Where arrays live: one mesh, names of dimensions, and rules from names to axes of the mesh.

    data    groups of devices, each with a copy of the parameters
    fsdp    devices that share one copy, and gather each layer's part when it is its turn
    tensor  devices that share each layer's work: heads, hidden units, codes

`mesh.rules` of the config says which axes a dimension is split over, by its name
(`models/axes.py`): `batch` for rows, and `weight` for the largest dimension of every parameter that
no other rule reaches. Optimiser moments and averages are laid out as their parameters. On one
device all of this is the identity, which is why there is no other code path for it.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import linen as nn
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from auface_jax.parallel.logical_axes import logical_axes

PyTree = Any
Rules = Mapping[str, tuple[str, ...]]
AXES = ("data", "fsdp", "tensor")
# Under this many elements splitting saves nothing and costs an all-gather.
MIN_SHARDED_SIZE = 2**16
# For networks that are only read: a copy on every device.
ROWS_ONLY: Rules = {"batch": AXES}


def make_mesh(config: ml_collections.ConfigDict) -> Mesh:
    """The mesh over all devices of all processes.

    Args:
      config: `fsdp` and `tensor`, sizes of these axes; the rest of the devices goes to `data`.

    Raises:
      ValueError: the number of devices is not a multiple of `fsdp * tensor`.
    """
    devices, shared = jax.device_count(), config.fsdp * config.tensor
    if min(config.fsdp, config.tensor) < 1 or devices % shared:
        raise ValueError(
            f"mesh.fsdp={config.fsdp} times mesh.tensor={config.tensor} does not divide the "
            f"{devices} devices of this run; choose divisors of {devices}"
        )
    shape = (devices // shared, config.fsdp, config.tensor)
    # Linen modules need Auto axes; make_mesh's own default is Explicit.
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES))


@contextlib.contextmanager
def placed(mesh: Mesh, rules: Rules) -> Iterator[None]:
    """What is compiled within runs on `mesh`, and models lay activations out by `rules`."""
    with jax.set_mesh(mesh), nn.logical_axis_rules(tuple(rules.items())):
        yield


def batch_sharding(mesh: Mesh, rules: Rules = ROWS_ONLY) -> NamedSharding:
    """The first dimension over the axes of `batch`."""
    return NamedSharding(mesh, P(tuple(rules["batch"])))


def replicated(mesh: Mesh) -> NamedSharding:
    """A full copy on every device."""
    return NamedSharding(mesh, P())


def state_shardings(abstract_state: PyTree, mesh: Mesh, rules: Rules) -> PyTree:
    """A sharding for each leaf of a tree of `jax.ShapeDtypeStruct`."""

    def split(size: int, name: str | None) -> tuple[str, ...]:
        """The axes that a dimension is split over; none where they do not divide it."""
        axes = tuple(axis for axis in rules.get(name or "", ()) if mesh.shape[axis] > 1)
        return axes if size % math.prod(mesh.shape[axis] for axis in axes) == 0 else ()

    def of_leaf(path, leaf):
        if leaf.size < MIN_SHARDED_SIZE:
            return replicated(mesh)
        names = logical_axes(jax.tree_util.keystr(path, simple=True, separator="/"), leaf.ndim)
        spec = [split(*one) for one in zip(leaf.shape, names, strict=True)]
        if not any(spec):
            dims = sorted(range(leaf.ndim), key=lambda d: -leaf.shape[d])
            largest = next((d for d in dims if split(leaf.shape[d], "weight")), None)
            spec = [split(s, "weight") if d == largest else () for d, s in enumerate(leaf.shape)]
        return NamedSharding(mesh, P(*(axes or None for axes in spec)) if any(spec) else P())

    return jax.tree.map_with_path(of_leaf, abstract_state)


def gathered(params: PyTree) -> PyTree:
    """Parameters as layers use them: whole, but for what devices share the work of.

    To be called where they are differentiated, so that gradients come out alike. What `embed` and
    `weight` split is split in storage alone; left to itself, XLA splits activations by it, too, and
    sends those. Nothing happens on one device, or where no rules are in force.
    """
    mesh = jax.sharding.get_abstract_mesh()
    rules = {
        name: axes for name, axes in nn.get_logical_axis_rules() if name not in ("embed", "weight")
    }
    if not rules or mesh.size == 1:
        return params
    shardings = state_shardings(params, mesh, rules)
    return jax.tree.map(
        lambda leaf, sharding: jax.lax.with_sharding_constraint(leaf, sharding.spec),
        params,
        shardings,
    )


def put_batch(batch: PyTree, mesh: Mesh, rules: Rules = ROWS_ONLY) -> PyTree:
    """This process's rows of a batch -> global arrays split over the mesh."""
    sharding = batch_sharding(mesh, rules)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch
    )


def process_mesh(mesh: Mesh) -> Mesh:
    """Where a process works by itself: on its first device; on all of `mesh` where it is alone."""
    if jax.process_count() == 1:
        return mesh
    devices = np.array(jax.local_devices()[:1]).reshape((1,) * len(mesh.axis_names))
    return Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types)


def to_process(tree: PyTree) -> PyTree:
    """A tree as whole arrays that this process can use alone; as it is where it is alone.

    All processes must call it together.
    """
    if jax.process_count() == 1:
        return tree
    return multihost_utils.process_allgather(tree, tiled=True)


def from_first_process(tree: PyTree) -> PyTree:
    """The first process's values of a tree of host arrays; all processes must call it together."""
    return multihost_utils.broadcast_one_to_all(tree) if jax.process_count() > 1 else tree


def check_batch_size(batch_size: int, mesh: Mesh, rules: Rules = ROWS_ONLY) -> None:
    """Raises a ValueError unless every part of the mesh that rows are split over gets as many."""
    parts = math.prod(mesh.shape[axis] for axis in rules["batch"])
    if batch_size % parts:
        raise ValueError(
            f"batch_size={batch_size} does not divide over {parts} devices; "
            f"use a multiple of {parts}"
        )


def check_readers(mesh: Mesh, rules: Rules = ROWS_ONLY) -> None:
    """Raises a ValueError unless all devices that share rows are one process's: each reads its own.

    Which devices share rows is JAX's choice, by how a machine's chips are connected.
    """
    parts = math.prod(mesh.shape[axis] for axis in rules["batch"])
    readers: dict[int, set[int]] = {}  # first row of a part -> processes whose devices have it
    for device, (rows,) in batch_sharding(mesh, rules).devices_indices_map((parts,)).items():
        readers.setdefault(rows.start or 0, set()).add(device.process_index)
    if max(map(len, readers.values())) > 1:
        apart = [axis for axis in mesh.axis_names if axis not in rules["batch"]]
        asked = ", ".join(f"mesh.{axis}={mesh.shape[axis]}" for axis in apart)
        raise ValueError(
            f"{asked}: devices of several processes would share rows, and each process reads rows "
            f"of its own. A process has {jax.local_device_count()} devices: choose a smaller "
            "divisor of that, 1 at the least, or start fewer processes a machine"
        )
