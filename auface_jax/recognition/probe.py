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
    """Reads the units in pictures: 1 where a unit is present, else 0.

    Args:
      probe: the network.
      weights: its weights.
      images: the pictures to read.
      references: reference face of the person in each picture.
      batch_size: pictures that the compiled program reads at once.
    """
    occurrence = functools.partial(_occurrence, probe)
    return map_batches(occurrence, weights, images, references, batch_size=batch_size)


@functools.partial(jax.jit, static_argnums=0)
def _occurrence(
    probe: AUProbe,
    weights: PyTree,
    images: UInt8[Array, "B H W 3"],
    references: UInt8[Array, "B H W 3"],
) -> Int8[Array, "B A"]:
    return (_apply(probe, weights, images, references)[0] > 0).astype(jnp.int8)


def predict_intensities(
    probe: AUProbe,
    weights: PyTree,
    images: UInt8[np.ndarray, "M H W 3"],
    references: UInt8[np.ndarray, "M H W 3"],
    *,
    batch_size: int,
) -> Float[np.ndarray, "M A"]:
    """Reads the intensity of each unit, 0 where it is absent and 1 at its most; as `predict`."""
    intensity = functools.partial(_intensity, probe)
    return map_batches(intensity, weights, images, references, batch_size=batch_size)


@functools.partial(jax.jit, static_argnums=0)
def _intensity(
    probe: AUProbe,
    weights: PyTree,
    images: UInt8[Array, "B H W 3"],
    references: UInt8[Array, "B H W 3"],
) -> Float[Array, "B A"]:
    return _apply(probe, weights, images, references)[1]


def _apply(
    probe: AUProbe,
    weights: PyTree,
    images: UInt8[Array, "B H W 3"],
    references: UInt8[Array, "B H W 3"],
) -> tuple[Float[Array, "B A"], Float[Array, "B A"]]:
    return probe.apply(weights, pixels.to_float(images), pixels.to_float(references))
