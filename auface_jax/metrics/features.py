"""Features of images: computed once, a sharded batch at a time, for all metrics on them."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from auface_jax.parallel import sharding
from auface_jax.parallel.map_batches import fixed_batches
from auface_jax.pretrained import inception
from auface_jax.pretrained.convert import Pretrained

PyTree = Any

INCEPTION = "inception"


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of a set of images.

    Attributes:
      name: name of the network that computed them; `INCEPTION` for FID's own network with clean
        resizing. Metrics carry this name, and features with different names do not compare.
      values: features, one row an image.
      logits: class logits of the same network, for the Inception score; None for other networks.

    Raises:
      ValueError: `values` is not [N, D], has fewer than two rows, or has a value that is not
        finite.
    """

    name: str
    values: Float[np.ndarray, "N D"]
    logits: Float[np.ndarray, "N classes"] | None = None

    def __post_init__(self):
        if self.values.ndim != 2 or len(self.values) < 2:
            raise ValueError(
                f"features {self.name!r} have the shape {list(self.values.shape)}; give [N, D] of "
                "at least two images"
            )
        bad = np.flatnonzero(~np.isfinite(self.values).all(1))
        if len(bad):
            raise ValueError(
                f"features {self.name!r} of {len(bad)} of {len(self.values)} images are not "
                f"finite; the first rows are {bad[:10].tolist()}"
            )

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.values)


def extract(
    function: Callable[..., PyTree],
    weights: PyTree,
    batches: Iterable[PyTree],
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> PyTree:
    """Applies `function(weights, batch)` to a stream of images, split over the devices of a mesh.

    Batches may have any sizes: `map_batches.fixed_batches` cuts them anew and pads the last one,
    and the padding is cut from the result, so that every image counts exactly once. Only one
    process may call this function.

    Args:
      function: jitted; takes `weights` and a batch, and each leaf that it returns has one row an
        image. Its matrix products run at the precision of float32.
      weights: variables of frozen networks, placed on every device once.
      batches: arrays, or trees of arrays such as pairs of images, with one row an image.
      batch_size: images of a step; a multiple of the number of devices.
      mesh: mesh of devices; by default the mesh over all devices.

    Returns:
      The results as numpy arrays, in the order of the images.

    Raises:
      ValueError: there are no images, they have different shapes, or `batch_size` is not a multiple
        of the number of devices.
    """
    if mesh is None:
        mesh = sharding.make_mesh(ml_collections.ConfigDict({"fsdp": 1, "tensor": 1}))
    sharding.check_batch_size(batch_size, mesh)
    weights = jax.device_put(weights, sharding.replicated(mesh))
    results = []
    with jax.set_mesh(mesh), jax.default_matmul_precision("highest"):
        for kept, batch in fixed_batches(batches, batch_size):
            out = jax.device_get(function(weights, sharding.put_batch(batch, mesh)))
            results.append(jax.tree.map(lambda leaf: leaf[:kept], out))  # noqa: B023
    if not results:
        raise ValueError("there are no images to compute features of")
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)


def inception_features(
    network: Pretrained,
    batches: Iterable[UInt8[np.ndarray, "b H W 3"]],
    *,
    batch_size: int = 32,
    resizing: str = "clean",
    mesh: Mesh | None = None,
) -> Features:
    """Computes features by FID's own InceptionV3.

    Args:
      network: the converted network "inception".
      batches: images of one size, any number of them at a time.
      batch_size: images of a step; a multiple of the number of devices.
      resizing: one of `inception.RESIZINGS`. Metrics on "clean" features carry no name in brackets;
        the legacy methods, for comparison with published figures, are named in brackets.
      mesh: mesh of devices; by default the mesh over all devices.

    Raises:
      ValueError: the network is another one; see also `extract` and `inception.resize`.
    """
    if network.network != "inception":
        raise ValueError(
            f"the network is {network.network!r}; give the converted network 'inception'"
        )

    function = _inception_function(network.module, resizing)
    pool3, logits = extract(function, network.variables, batches, batch_size=batch_size, mesh=mesh)
    name = INCEPTION if resizing == "clean" else resizing
    return Features(name, pool3, logits)


@functools.cache  # one compiled program for all sets of images
def _inception_function(module: inception.FIDInceptionV3, resizing: str) -> Callable[..., PyTree]:
    @jax.jit
    def function(variables: PyTree, images: Array) -> tuple[Array, Array]:
        pixels = inception.normalize(inception.resize(images, resizing), resizing)
        out = module.apply(variables, pixels)
        return out["pool3"], out["logits"]

    return function
