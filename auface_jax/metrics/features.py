"""Images -> features: once, a sharded batch at a time, for every figure that is read off them."""

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
      name: of what computed them; `INCEPTION` for FID's own network with clean resizing. Figures
        are named for it, and sets with different names do not compare.
      values: float [N, D], one row an image.
      logits: float [N, classes] of the same network, for the Inception score; None for others.

    Raises:
      ValueError: `values` is not [N, D], has fewer than two rows, or holds what is not finite.
    """

    name: str
    values: Float[np.ndarray, "N D"]
    logits: Float[np.ndarray, "N classes"] | None = None

    def __post_init__(self):
        if self.values.ndim != 2 or len(self.values) < 2:
            raise ValueError(
                f"features {self.name!r} are {list(self.values.shape)}; needed are [N, D] of at "
                "least two images"
            )
        bad = np.flatnonzero(~np.isfinite(self.values).all(1))
        if len(bad):
            raise ValueError(
                f"features {self.name!r} of {len(bad)} of {len(self.values)} images are not "
                f"finite; the first rows are {bad[:10].tolist()}"
            )

    @property
    def count(self) -> int:
        """N, the number of images."""
        return len(self.values)


def extract(
    function: Callable[..., PyTree],
    weights: PyTree,
    batches: Iterable[PyTree],
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> PyTree:
    """`function(weights, rows)` over a stream of images; results as numpy arrays, in order.

    Batches may have any sizes: they are cut anew to `batch_size` and split over the devices of the
    mesh. The last one is padded by repeating its last row, and the padding is cut from the result,
    so every image counts exactly once. One process only.

    Args:
      function: jitted; takes `weights` and a batch, and each leaf that it returns has one row an
        image. Its matrix products run at the precision of float32.
      weights: variables of frozen networks, placed on every device once.
      batches: arrays, or trees of arrays (pairs of images, say), with one row an image.
      batch_size: rows of a step; a multiple of the number of devices.
      mesh: by default the mesh over all devices.

    Raises:
      ValueError: no images, images of different shapes, or a `batch_size` that does not divide.
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
        raise ValueError("there are no images to take features of")
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)


def inception_features(
    network: Pretrained,
    batches: Iterable[UInt8[np.ndarray, "b H W 3"]],
    *,
    batch_size: int = 32,
    resizing: str = "clean",
    mesh: Mesh | None = None,
) -> Features:
    """Features of FID's own InceptionV3.

    Args:
      network: the converted network "inception".
      batches: uint8 images of one size; any batch sizes.
      resizing: one of `inception.RESIZINGS`. Only "clean" gives figures without a name in brackets;
        the legacy ways are for comparing with published figures and bear their names.

    Raises:
      ValueError: the network is another, or see `extract`, `inception.resize`.
    """
    if network.network != "inception":
        raise ValueError(
            f"these are features of the network {network.network!r}, not of 'inception'"
        )

    function = _inception_function(network.module, resizing)
    pool3, logits = extract(function, network.variables, batches, batch_size=batch_size, mesh=mesh)
    name = INCEPTION if resizing == "clean" else resizing
    return Features(name, pool3, logits)


@functools.cache  # one compiled program for all sets of images
def _inception_function(module: inception.FIDInceptionV3, resizing: str) -> Callable[..., PyTree]:
    @jax.jit
    def function(variables, images: Array):
        pixels = inception.normalize(inception.resize(images, resizing), resizing)
        out = module.apply(variables, pixels)
        return out["pool3"], out["logits"]

    return function
