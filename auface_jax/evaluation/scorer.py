"""The recogniser that judges: units and features of each picture, in one pass.

It must not be what a loss of the judged system used: a generator finds out what its teacher
overlooks. A run's recognisers are found through its config and compared by the fingerprint of
their weights.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, UInt8

from auface_jax import checkpoints, pictures
from auface_jax.evaluation.drawing import batch_size
from auface_jax.metrics.features import Features, extract
from auface_jax.pretrained import convert
from auface_jax.recognize import load_recognizer, recognizer_input, weights_fingerprint
from auface_jax.tasks.au_probe import AUProbe, AUProbeTask

PyTree = Any
THRESHOLD = 0.5  # from which probability on a unit is read as present


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
        see `loss_recognizers`.

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
        fingerprint = weights_fingerprint(variables)
        function = functools.partial(_read_probe, probe)
        scorer = Scorer(str(path), "au_probe", fingerprint, function, variables)
    elif published or task == "au_image":
        found = load_recognizer(path, role="score")
        function = functools.partial(_read_recognizer, found.module, found.size, found.crop)
        scorer = Scorer(str(path), "au", found.fingerprint, function, found.variables)
    else:
        raise checkpoints.CheckpointError(
            f"{path} is a run of the task {task}; pictures are judged by a run of au_image (python "
            "-m auface_jax.train --config configs/au_image.py) or by a quickstart's au_probe"
        )
    for name, fingerprint in pleased.items():
        if fingerprint == scorer.fingerprint:
            raise checkpoints.CheckpointError(
                f"the scorer {path} has the very weights ({fingerprint[:12]}) of {name}, which a "
                "loss of the judged system used: it would be judged by what it was trained to "
                "please. Use a recogniser that was trained apart (configs/au_image.py)"
            )
    return scorer


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _read_recognizer(module, size: int, crop: int, variables: PyTree, batch: dict[str, Array]):
    images = recognizer_input(pictures.to_float(batch["image"]), size, crop)
    found = module.apply(variables, images)
    return found.probabilities, found.nodes.mean(1)  # pooled over the units


@functools.partial(jax.jit, static_argnums=0)
def _read_probe(probe: AUProbe, variables: PyTree, batch: dict[str, Array]):
    image, reference = (pictures.to_float(batch[name]) for name in ("image", "reference"))
    logits, kept = probe.apply(
        variables, image, reference, capture_intermediates=lambda module, _: module.name == _LAST
    )
    (last,) = kept["intermediates"][_LAST]["__call__"]
    return jax.nn.sigmoid(logits), nn.silu(last).astype(jnp.float32)


_LAST = "Dense_1"  # the probe's layer before its logits


def loss_recognizers(run: str | Path) -> dict[str, str]:
    """Name -> fingerprint of every recogniser that a run, or one it builds on, may have pleased.

    Runs and converted weights that the configs name anywhere are looked at. Not counted are runs
    whose role is to score, which no loss accepts, and the probe, which no loss reads.

    Raises:
      checkpoints.CheckpointError: `run` is not a finished run.
    """
    run, found = Path(run), {}
    for leaf in _strings(checkpoints.load_config(run).to_dict()):
        # A run may be named relative to where it was trained, and this may be another folder.
        places = (Path(leaf), run.parent / Path(leaf).name)
        path = next((place for place in places if os.path.isdir(place)), None)
        if path is None or path.resolve() == run.resolve():
            continue
        if (path / convert.DESCRIPTION).is_file():
            loaded = convert.load(path)
            if loaded.network == "me_graphau":
                found[str(path)] = weights_fingerprint(loaded.variables)
        elif checkpoints.has_export(path):
            config = checkpoints.load_config(path)
            if config.task == "au_image" and config.role != "score":
                found[str(path)] = weights_fingerprint(checkpoints.load_export(path))
            elif config.task in ("vqgan", "maskgit"):
                found |= loss_recognizers(path)
    return found


def recognizer_fingerprint(path: str | Path) -> str:
    """The fingerprint of any recogniser's weights, whatever its role."""
    return load_recognizer(path).fingerprint


def _strings(tree: Any) -> list[str]:
    """The words of a config that could name a folder."""
    if isinstance(tree, Mapping):
        return [word for value in tree.values() for word in _strings(value)]
    return [tree] if isinstance(tree, str) and tree else []
