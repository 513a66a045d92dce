"""The evaluator: the recogniser that scores pictures, by their units and features, in one pass.

The evaluator must not be a loss network of the system that it scores: a generator learns the faults
of its loss networks.
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
from jaxtyping import Array, Float, Int, Int8, UInt8

from auface_jax.evaluation.draw_system import batch_size
from auface_jax.images import pixels
from auface_jax.metrics.features import Features, extract
from auface_jax.models.au_probe import AUProbe
from auface_jax.models.me_graphau import AURecognizer
from auface_jax.pretrained import convert
from auface_jax.recognition.image_recognizer import THRESHOLD, apply_recognizer, load_recognizer
from auface_jax.recognition.probe import load_probe
from auface_jax.runs import checkpoints

PyTree = Any

_LAST = "Dense_1"  # the probe's layer before its logits


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """Units and features that the evaluator reads from M pictures.

    Attributes:
      probabilities: probabilities of the units, in [0, 1].
      features: one vector of length √D a picture; their name is the evaluator's kind.
    """

    probabilities: Float[np.ndarray, "M A"]
    features: Features

    @property
    def units(self) -> Int8[np.ndarray, "M A"]:
        """Units of each picture: 1 where a unit is read as present, else 0."""
        return (self.probabilities >= THRESHOLD).astype(np.int8)

    def take(self, indices: Int[np.ndarray, " K"]) -> "Reading":
        """Selects the reading of some of the pictures, in any order, with repeats."""
        features = Features(self.features.name, self.features.values[indices])
        return Reading(self.probabilities[indices], features)


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluator:
    """A recogniser that is ready to score pictures.

    Attributes:
      name: the folder that it was loaded from.
      kind: "au" for an image recogniser; "au_probe" for the probe of a quickstart, which reads each
        picture beside its reference. Metrics on features carry this name.
      fingerprint: hex sha256 of its weights.
      function: jitted, (variables, {"image", "reference"} uint8) -> (probabilities, features).
      variables: the first argument of `function`.
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
        # Networks differ in the scale of their features, and KID's kernel expects one scale.
        length = np.linalg.norm(features, axis=1, keepdims=True)
        features = features * (features.shape[1] ** 0.5 / np.maximum(length, 1e-8))
        # Cosines and sigmoids in float32 may leave [0, 1] by a rounding error.
        return Reading(np.clip(found, 0.0, 1.0), Features(self.kind, features))


def load_evaluator(path: str | Path, *, forbidden: Mapping[str, str]) -> Evaluator:
    """Loads a run of au_image or au_probe, or a folder of converted ME-GraphAU weights.

    Args:
      path: folder of the finished run or of the converted weights.
      forbidden: name -> fingerprint of the loss networks of the system that is evaluated; see
        `recognition.image_recognizer.load_recognizer`. No loss reads the probe, so that it is
        always allowed.

    Raises:
      checkpoints.CheckpointError: the folder is none of these, its role is to train, or it is one
        of the forbidden networks.
    """
    path = Path(path)
    published = (path / convert.DESCRIPTION).is_file()
    task = None if published else checkpoints.load_config(path).task
    if task == "au_probe":
        probe, variables, _ = load_probe(path)
        fingerprint = checkpoints.weights_fingerprint(variables)
        function = functools.partial(_read_probe, probe)
        return Evaluator(str(path), "au_probe", fingerprint, function, variables)
    if published or task == "au_image":
        found = load_recognizer(path, role="score", forbidden=forbidden)
        function = functools.partial(_read_recognizer, found.module, found.size, found.crop)
        return Evaluator(str(path), "au", found.fingerprint, function, found.variables)
    raise checkpoints.CheckpointError(
        f"{path} is a run of the task {task}; pictures are scored by a run of au_image (python "
        "-m auface_jax.train --config configs/au_image.py) or by a quickstart's au_probe"
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _read_recognizer(
    module: AURecognizer, size: int, crop: int, variables: PyTree, batch: dict[str, Array]
) -> tuple[Float[Array, "B A"], Float[Array, "B D"]]:
    found = apply_recognizer(module, size, crop, variables, batch["image"])
    return found.probabilities, found.nodes.mean(1)  # pooled over the units


@functools.partial(jax.jit, static_argnums=0)
def _read_probe(
    probe: AUProbe, variables: PyTree, batch: dict[str, Array]
) -> tuple[Float[Array, "B A"], Float[Array, "B D"]]:
    image, reference = (pixels.to_float(batch[name]) for name in ("image", "reference"))
    (logits, _), kept = probe.apply(
        variables, image, reference, capture_intermediates=lambda module, _: module.name == _LAST
    )
    (last,) = kept["intermediates"][_LAST]["__call__"]
    return jax.nn.sigmoid(logits), nn.silu(last).astype(jnp.float32)
