"""The probe of a finished run: pictures beside their references -> action units.

The probe is the small network of the task `au_probe`. It reads generated faces during a training
and in a quickstart's evaluation; no loss reads it.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, Int8, UInt8

from auface_jax.images import pixels
from auface_jax.models.au_probe import AUProbe
from auface_jax.parallel.map_batches import map_batches
from auface_jax.runs import checkpoints

PyTree = Any


def build_probe(model: ml_collections.ConfigDict) -> AUProbe:
    """Builds the network of a config's `model` part."""
    return AUProbe(patch=model.patch, channels=tuple(model.channels), dtype=jnp.dtype(model.dtype))


def load_probe(run: pathlib.Path) -> tuple[AUProbe, PyTree, ml_collections.ConfigDict]:
    """Loads a finished run of the task `au_probe`.

    Returns:
      The network, its weights and the run's config.

    Raises:
      checkpoints.CheckpointError: the run is not finished or is of another task.
    """
    config = checkpoints.load_config(run, task="au_probe")
    return build_probe(config.model), checkpoints.load_export(run), config


def predict(
    probe: AUProbe,
    weights: PyTree,
    images: UInt8[np.ndarray, "M H W 3"],
    references: UInt8[np.ndarray, "M H W 3"],
    *,
    batch_size: int,
) -> Int8[np.ndarray, "M A"]:
    """Reads the units in pictures: 1 where a unit is present, else 0; arguments as for `read`."""
    return read(probe, weights, images, references, batch_size=batch_size)[0]


def read(
    probe: AUProbe,
    weights: PyTree,
    images: UInt8[np.ndarray, "M H W 3"],
    references: UInt8[np.ndarray, "M H W 3"],
    *,
    batch_size: int,
) -> tuple[Int8[np.ndarray, "M A"], Float[np.ndarray, "M A"]]:
    """Reads the units in pictures and their intensities.

    Args:
      probe: the network.
      weights: its weights.
      images: the pictures to read.
      references: reference face of the person in each picture.
      batch_size: pictures that the compiled program reads at once.

    Returns:
      1 where a unit is present, else 0; and its intensity, 0 where it is absent and 1 at its most.
    """
    of_batch = functools.partial(_read, probe)
    return map_batches(of_batch, weights, images, references, batch_size=batch_size)


@functools.partial(jax.jit, static_argnums=0)
def _read(
    probe: AUProbe,
    weights: PyTree,
    images: UInt8[Array, "B H W 3"],
    references: UInt8[Array, "B H W 3"],
) -> tuple[Int8[Array, "B A"], Float[Array, "B A"]]:
    images, references = pixels.to_float(images), pixels.to_float(references)
    logits, intensities = probe.apply(weights, images, references)
    return (logits > 0).astype(jnp.int8), intensities
