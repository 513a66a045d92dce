"""Where arrays live: one mesh, one rule for parameters, one for batches.

A batch is split over the `data` and `fsdp` axes. A parameter is split over `fsdp` along its largest
dimension that the axis divides, and replicated when it is small; optimiser moments and averages
have the same shapes and so the same layout. On one device the mesh is 1 x 1 and all of this is the
identity, which is why there is no other code path for it.
"""

from typing import Any

import jax
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

PyTree = Any

AXES = ("data", "fsdp")
# Under this many elements splitting saves nothing and costs an all-gather.
MIN_SHARDED_SIZE = 2**16


def make_mesh(config: ml_collections.ConfigDict) -> Mesh:
    """The mesh over all devices of all processes.

    Args:
      config: `fsdp`, the devices that share one copy of the parameters; the rest goes to `data`.

    Raises:
      ValueError: the number of devices is not a multiple of `fsdp`.
    """
    devices = jax.device_count()
    if config.fsdp < 1 or devices % config.fsdp:
        raise ValueError(
            f"mesh.fsdp={config.fsdp} does not divide the {devices} devices of this run; "
            f"choose a divisor of {devices}"
        )
    # Linen modules need Auto axes; make_mesh's own default is Explicit.
    return jax.make_mesh(
        (devices // config.fsdp, config.fsdp), AXES, axis_types=(AxisType.Auto,) * 2
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first dimension over all axes."""
    return NamedSharding(mesh, P(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """A full copy on every device."""
    return NamedSharding(mesh, P())


def state_shardings(abstract_state: PyTree, mesh: Mesh) -> PyTree:
    """A sharding for each leaf of a tree of `jax.ShapeDtypeStruct`."""
    fsdp = mesh.shape["fsdp"]

    def of_leaf(leaf):
        dims = sorted(range(leaf.ndim), key=lambda d: -leaf.shape[d])
        divisible = [d for d in dims if leaf.shape[d] % fsdp == 0]
        if fsdp == 1 or leaf.size < MIN_SHARDED_SIZE or not divisible:
            return replicated(mesh)
        return NamedSharding(
            mesh, P(*("fsdp" if d == divisible[0] else None for d in range(leaf.ndim)))
        )

    return jax.tree.map(of_leaf, abstract_state)


def put_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """This process's rows of a batch -> global arrays split over the mesh."""
    sharding = batch_sharding(mesh)
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


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises a ValueError unless every device gets the same number of rows."""
    if batch_size % mesh.size:
        raise ValueError(
            f"batch_size={batch_size} does not divide over {mesh.size} devices; "
            f"use a multiple of {mesh.size}"
        )
