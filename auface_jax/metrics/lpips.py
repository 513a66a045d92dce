"""LPIPS of pairs of images; `pretrained/lpips.py` holds the network."""

import functools
from collections.abc import Callable, Iterable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from auface_jax.images import pixels
from auface_jax.metrics.distances import Score
from auface_jax.metrics.features import PyTree, extract
from auface_jax.pretrained.lpips import LPIPS


def paired_distances(
    module: LPIPS,
    variables: PyTree,
    pairs: Iterable[tuple[UInt8[np.ndarray, "b H W 3"], UInt8[np.ndarray, "b H W 3"]]],
    *,
    batch_size: int = 32,
    mesh: Mesh | None = None,
) -> Float[np.ndarray, " N"]:
    """Computes the distance of every pair, in order.

    Args:
      module: LPIPS.
      variables: its variables.
      pairs: batches of generated and real pictures, example by example of the same records.
      batch_size: pairs of a step; a multiple of the number of devices.
      mesh: mesh of devices; by default the mesh over all devices.

    Raises:
      ValueError: see `features.extract`.
    """
    function = _distance_function(module)
    return extract(function, variables, pairs, batch_size=batch_size, mesh=mesh)


@functools.cache  # one compiled program for all sets of pairs
def _distance_function(module: LPIPS) -> Callable[..., Array]:
    @jax.jit
    def function(variables: PyTree, pair: tuple[Array, Array]) -> Array:
        return module.apply(variables, *map(pixels.to_float, pair))

    return function


def score(module: LPIPS, distances: Float[np.ndarray, " N"]) -> Score:
    """Returns the mean and deviation over pairs, named for the backbone."""
    return Score(
        "LPIPS",
        module.backbone,
        float(np.mean(distances)),
        len(distances),
        len(distances),
        float(np.std(distances)),
    )
