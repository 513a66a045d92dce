"""The recogniser that judges: units and features of each picture, in one pass.

It must not be what a loss of the judged system used: a generator finds out what its teacher
overlooks.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, UInt8

from auface_jax.evaluation.draw_system import batch_size
from auface_jax.images import pixels
from auface_jax.metrics.features import Features, extract
from auface_jax.models.au_probe import AUProbe
from auface_jax.pretrained import convert
from auface_jax.recognition.image_recognizer import THRESHOLD, load_recognizer, recognizer_input
from auface_jax.runs import checkpoints
from auface_jax.training.tasks.au_probe import AUProbeTask

PyTree = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """What was read from M pictures.

    Attributes:
      probabilities: of the units, in [0, 1].
      features: one vector a picture, of length √D; its name is that of the scorer's kind.
    """

    probabilities: Float[np.ndarray, "M A"]
    features: Features

    @property
    def units(self) -> np.ndarray:
        """int8 [M, A]: 1 where a unit is read as present."""
        return (self.probabilities >= THRESHOLD).astype(np.int8)

    def take(self, rows: np.ndarray) -> "Reading":
        """The reading of some of the pictures, in any order, with repeats."""
        features = Features(self.features.name, self.features.values[rows])
        return Reading(self.probabilities[rows], features)


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """A recogniser, ready to judge.

    Attributes:
      name: the folder it came from.
      kind: "au" for an image recogniser, "au_probe" for the probe of a quickstart, which is shown
        the reference beside each picture. Figures read off features are named for it.
      fingerprint: hex sha256 of its weights.
      function: jitted, (variables, {"image", "reference"} uint8) -> (probabilities, features).
      variables: what `function` takes first.
    """

    name: str
    kind: str
    fingerprint: str
    function: Any
    variables: PyTree

    def read(
        self, images: UInt8[np.ndarray, "M S S 3"], references: UInt8[np.ndarray, "M S S 3"]
    ) -> Reading:
        """Reads each picture once, over all devices."""
        step = batch_size()
        batches = (
            {"image": images[start : start + step], "reference": references[start : start + step]}
            for start in range(0, len(images), step)
        )
        found, features = extract(self.function, self.variables, batches, batch_size=step)
        # Networks differ in the scale of their features, and KID's kernel is made for one.
        length = np.linalg.norm(features, axis=1, keepdims=True)
        features = features * (features.shape[1] ** 0.5 / np.maximum(length, 1e-8))
        # Cosines and sigmoids in float32 may leave [0, 1] by a rounding error.
        return Reading(np.clip(found, 0.0, 1.0), Features(self.kind, features))


def load_scorer(path: str | Path, *, pleased: Mapping[str, str]) -> Scorer:
    """A finished run of au_image or au_probe, or a folder of converted ME-GraphAU weights.

    Args:
      pleased: name -> fingerprint of the recognisers that the judged system was trained to please;
        see `recognize.load_recognizer`. The probe may always judge: no loss reads it.

    Raises:
      checkpoints.CheckpointError: it is none of these, its role is to train, or it is one of
        `pleased`.
    """
    path = Path(path)
    published = (path / convert.DESCRIPTION).is_file()
    task = None if published else checkpoints.load_config(path).task
    if task == "au_probe":
        probe = AUProbeTask(checkpoints.load_config(path), num_steps=1).probe
        variables = checkpoints.load_export(path)
        fingerprint = checkpoints.weights_fingerprint(variables)
        function = functools.partial(_read_probe, probe)
        return Scorer(str(path), "au_probe", fingerprint, function, variables)
    if published or task == "au_image":
        found = load_recognizer(path, role="score", pleased=pleased)
        function = functools.partial(_read_recognizer, found.module, found.size, found.crop)
        return Scorer(str(path), "au", found.fingerprint, function, found.variables)
    raise checkpoints.CheckpointError(
        f"{path} is a run of the task {task}; pictures are judged by a run of au_image (python "
        "-m auface_jax.train --config configs/au_image.py) or by a quickstart's au_probe"
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _read_recognizer(module, size: int, crop: int, variables: PyTree, batch: dict[str, Array]):
    images = recognizer_input(pixels.to_float(batch["image"]), size, crop)
    found = module.apply(variables, images)
    return found.probabilities, found.nodes.mean(1)  # pooled over the units


@functools.partial(jax.jit, static_argnums=0)
def _read_probe(probe: AUProbe, variables: PyTree, batch: dict[str, Array]):
    image, reference = (pixels.to_float(batch[name]) for name in ("image", "reference"))
    logits, kept = probe.apply(
        variables, image, reference, capture_intermediates=lambda module, _: module.name == _LAST
    )
    (last,) = kept["intermediates"][_LAST]["__call__"]
    return jax.nn.sigmoid(logits), nn.silu(last).astype(jnp.float32)


_LAST = "Dense_1"  # the probe's layer before its logits
