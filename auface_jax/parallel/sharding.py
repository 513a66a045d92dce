"""Sharding of arrays: one mesh, logical names of dimensions, and rules from names to mesh axes.

    data    data parallelism: groups of devices, each with a copy of the parameters
    fsdp    fully sharded data parallelism: devices that share one copy, and gather each layer
    tensor  tensor parallelism: devices that share each layer's work: heads, hidden units, codes

`mesh.rules` of the config maps the logical name of a dimension (`logical_axes.py`) to the axes that
split it: `batch` is the first dimension of batches, and `weight` the largest dimension of every
parameter that no other rule reaches. Optimizer moments and averages are laid out as their
parameters. On one device all of this is the identity, so there is no other code path for it.
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
# Splitting arrays of fewer elements saves nothing and costs an all-gather.
MIN_SHARDED_SIZE = 2**16
# Rules for frozen networks: a copy on every device.
BATCH_ONLY: Rules = {"batch": AXES}


def make_mesh(config: ml_collections.ConfigDict) -> Mesh:
    """Makes the mesh over all devices of all processes.

    Args:
      config: sizes of the axes `fsdp` and `tensor`; `data` takes the remaining factor.

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
def mesh_context(mesh: Mesh, rules: Rules) -> Iterator[None]:
    """Runs programs that are compiled in the block on `mesh`, with activations split by `rules`."""
    with jax.set_mesh(mesh), nn.logical_axis_rules(tuple(rules.items())):
        yield


def batch_sharding(mesh: Mesh, rules: Rules = BATCH_ONLY) -> NamedSharding:
    """Returns the sharding of a batch: the first dimension over the axes of `batch`."""
    return NamedSharding(mesh, P(tuple(rules["batch"])))


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding with a full copy on every device."""
    return NamedSharding(mesh, P())


def state_shardings(abstract_state: PyTree, mesh: Mesh, rules: Rules) -> PyTree:
    """Returns a sharding for each leaf of a tree of `jax.ShapeDtypeStruct`."""

    def split(size: int, name: str | None) -> tuple[str, ...]:
        """Returns the axes that split a dimension; none if they do not divide it."""
        axes = tuple(axis for axis in rules.get(name or "", ()) if mesh.shape[axis] > 1)
        return axes if size % math.prod(mesh.shape[axis] for axis in axes) == 0 else ()

    def leaf_sharding(path, leaf):
        if leaf.size < MIN_SHARDED_SIZE:
            return replicated(mesh)
        names = logical_axes(jax.tree_util.keystr(path, simple=True, separator="/"), leaf.ndim)
        spec = [split(*one) for one in zip(leaf.shape, names, strict=True)]
        if not any(spec):
            dims = sorted(range(leaf.ndim), key=lambda d: -leaf.shape[d])
            largest = next((d for d in dims if split(leaf.shape[d], "weight")), None)
            spec = [split(s, "weight") if d == largest else () for d, s in enumerate(leaf.shape)]
        return NamedSharding(mesh, P(*(axes or None for axes in spec)) if any(spec) else P())

    return jax.tree.map_with_path(leaf_sharding, abstract_state)


def all_gather_parameters(params: PyTree) -> PyTree:
    """All-gathers FSDP shards; tensor-parallel dimensions stay sharded.

    Call it inside the function that is differentiated, so that gradients are split like the
    parameters. `embed` and `weight` split the storage of parameters alone; without this call, XLA
    would split activations by them as well, and send those. It is the identity on one device, and
    where no rules are in force.
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


def put_batch(batch: PyTree, mesh: Mesh, rules: Rules = BATCH_ONLY) -> PyTree:
    """Turns this process's examples of a batch into global arrays that are split over the mesh."""
    sharding = batch_sharding(mesh, rules)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch
    )


def process_mesh(mesh: Mesh) -> Mesh:
    """Returns the mesh on which a process works by itself.

    It is `mesh` for a single process, otherwise the first device of the process.
    """
    if jax.process_count() == 1:
        return mesh
    devices = np.array(jax.local_devices()[:1]).reshape((1,) * len(mesh.axis_names))
    return Mesh(devices, mesh.axis_names, axis_types=mesh.axis_types)


def to_process(tree: PyTree) -> PyTree:
    """Gathers a tree to whole arrays in each process; the identity for a single process.

    All processes must call it together.
    """
    if jax.process_count() == 1:
        return tree
    return multihost_utils.process_allgather(tree, tiled=True)


def from_first_process(tree: PyTree) -> PyTree:
    """Broadcasts host arrays from the first process; all processes must call it together."""
    return multihost_utils.broadcast_one_to_all(tree) if jax.process_count() > 1 else tree


def check_batch_size(batch_size: int, mesh: Mesh, rules: Rules = BATCH_ONLY) -> None:
    """Raises a ValueError unless the batch divides over the devices that split it."""
    parts = math.prod(mesh.shape[axis] for axis in rules["batch"])
    if batch_size % parts:
        raise ValueError(
            f"batch_size={batch_size} does not divide over {parts} devices; "
            f"use a multiple of {parts}"
        )


def check_readers(mesh: Mesh, rules: Rules = BATCH_ONLY) -> None:
    """Raises a ValueError unless devices that share examples belong to one process.

    Each process reads its own examples. JAX chooses the devices that share examples by the
    connections between the chips.
    """
    parts = math.prod(mesh.shape[axis] for axis in rules["batch"])
    readers: dict[int, set[int]] = {}  # first example of a part -> processes that hold it
    for device, (examples,) in batch_sharding(mesh, rules).devices_indices_map((parts,)).items():
        readers.setdefault(examples.start or 0, set()).add(device.process_index)
    if max(map(len, readers.values())) > 1:
        apart = [axis for axis in mesh.axis_names if axis not in rules["batch"]]
        asked = ", ".join(f"mesh.{axis}={mesh.shape[axis]}" for axis in apart)
        raise ValueError(
            f"{asked}: devices of several processes would share examples, but each process reads "
            f"its own. A process has {jax.local_device_count()} devices: choose a smaller divisor "
            "of that, or start fewer processes on a machine"
        )
