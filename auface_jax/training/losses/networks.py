"""Frozen networks through which Stage I's losses compare a picture with its reconstruction.

Each is read from a folder, runs in inference mode, and its variables are an argument of the
training step. No gradient goes to them: the step differentiates with respect to pixels alone.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from auface_jax.models.me_graphau import AURecognizer
from auface_jax.pretrained import convert, lpips, vgg
from auface_jax.recognition.image_recognizer import Recognizer, load_recognizer, recognizer_input
from auface_jax.runs import checkpoints

PyTree = Any

Features = Callable[[PyTree, Float[Array, "B H W 3"]], Float[Array, "B ..."]]


@dataclasses.dataclass(frozen=True, eq=False)
class LossNetwork:
    """A frozen network and which of its features are compared.

    Attributes:
      name: the features in words; a substitute for the paper's network says so.
      features: (variables, images in [-1, 1]) -> float32 [B, ...]; a pure function.
      variables: the network's variables, as arrays.
      fingerprint: hex sha256 of what the variables were read from.
    """

    name: str
    features: Features
    variables: PyTree
    fingerprint: str


def vgg_features(module: vgg.VGG16) -> Features:
    """The second 4096-wide features of VGG16, which the paper's perceptual loss compares."""
    return lambda variables, image: module.apply(variables, vgg.normalize(image))["fc2"]


def unit_nodes(module: AURecognizer, size: int, crop: int) -> Features:
    """The unit vectors of a recogniser, which the anatomical loss compares.

    Args:
      module: the recogniser.
      size: side in pixels to which pictures are resized.
      crop: side of the central crop that the recogniser reads.
    """

    def nodes(variables, image):
        return module.apply(variables, recognizer_input(image, size, crop)).nodes

    return nodes


def load_perceptual(folder: str) -> LossNetwork:
    """The perceptual loss's network: VGG16, or what stands in for it where its weights are not.

    Args:
      folder: converted weights of VGG16, whose second 4096-wide features are compared, as in the
        paper; or a finished run of `au_image` for losses, whose map of the whole picture, before
        the units part, is a substitute that knows faces and needs no outside weights.

    Raises:
      checkpoints.CheckpointError: no folder is named, or it is neither; or the run's role is to
        score.
      convert.ConversionError: converted weights of another network, or damaged ones.
    """
    cure = (
        "convert torchvision's VGG16 (python -m auface_jax.pretrained.convert vgg16 SOURCE "
        "weights/vgg16), or train a recogniser for losses as its substitute (python -m "
        "auface_jax.train --config configs/au_image_loss.py), and name its folder with "
        "--config.perceptual.network=FOLDER"
    )
    if not folder:
        raise checkpoints.CheckpointError(
            f"loss.perceptual is above 0 and perceptual.network is empty: {cure}"
        )
    path = pathlib.Path(folder)
    if (path / convert.DESCRIPTION).is_file():
        loaded = convert.load(path, "vgg16")
        name, features = "VGG16, second 4096-wide features", vgg_features(loaded.module)
        return LossNetwork(name, features, loaded.variables, loaded.fingerprint)
    if not checkpoints.has_export(path):
        raise checkpoints.CheckpointError(
            f"perceptual.network={folder} holds neither converted weights nor a finished run: "
            f"{cure}"
        )
    recognizer = load_recognizer(path, role="loss")

    def picture_map(variables, image):
        seen = recognizer_input(image, recognizer.size, recognizer.crop)
        return recognizer.module.apply(variables, seen, method="unit_maps")[0].astype("float32")

    return _of_recognizer(recognizer, "substitute: picture map of the recogniser", picture_map)


def load_lpips_loss(backbone: str, heads: str) -> LossNetwork:
    """LPIPS as a loss: features whose squared distance, summed, is LPIPS.

    Args:
      backbone: converted weights of AlexNet or VGG16.
      heads: converted weights of LPIPS for that backbone.

    Raises:
      checkpoints.CheckpointError: a folder is not named.
      ValueError: the heads are another backbone's, or a folder is not what it should be.
    """
    if not (backbone and heads):
        raise checkpoints.CheckpointError(
            f"loss.lpips is above 0 and lpips.backbone={backbone!r}, lpips.heads={heads!r}: "
            "convert both (docs/guide/pretrained_weights.md) and name their folders with "
            "--config.lpips.backbone=weights/vgg16 --config.lpips.heads=weights/lpips-vgg16"
        )
    module, variables = lpips.load_lpips(backbone, heads)

    def features(variables, image):
        backbone = module.bind(variables).network
        options = {"fully_connected": False} if module.backbone == "vgg16" else {}
        activations, flat = backbone(lpips.normalize(image), **options), []
        for depth, tap in enumerate(lpips.TAPS[module.backbone]):
            one = lpips.unit_length(activations[tap])
            # Trained heads are not negative; the mean over positions goes under the root, too.
            weight = jnp.maximum(variables["params"]["heads"][f"weight_{depth}"], 0.0)
            scale = jnp.sqrt(weight / (one.shape[1] * one.shape[2]))
            flat.append((one * scale).reshape(len(one), -1))
        return jnp.concatenate(flat, axis=-1)

    described = [pathlib.Path(folder, convert.DESCRIPTION) for folder in (backbone, heads)]
    sources = "".join(json.loads(path.read_text())["source"]["sha256"] for path in described)
    fingerprint = hashlib.sha256(sources.encode()).hexdigest()
    return LossNetwork(f"LPIPS({module.backbone})", features, variables, fingerprint)


def load_anatomical(run: str) -> LossNetwork:
    """MEF of the anatomical loss: the units' vectors after a recogniser's graph network.

    Args:
      run: a finished run of `au_image` for losses.

    Raises:
      checkpoints.CheckpointError: none is named; it is not finished; or its role is to score.
    """
    if not run:
        raise checkpoints.CheckpointError(
            "loss.anatomical is above 0 and anatomical.run is empty: train a recogniser for losses "
            "(python -m auface_jax.train --config configs/au_image_loss.py) and name its run with "
            "--config.anatomical.run=RUN"
        )
    recognizer = load_recognizer(run, role="loss")
    nodes = unit_nodes(recognizer.module, recognizer.size, recognizer.crop)
    return _of_recognizer(recognizer, "unit nodes of the recogniser", nodes)


def _of_recognizer(recognizer: Recognizer, name: str, features: Features) -> LossNetwork:
    return LossNetwork(
        f"{name} {recognizer.name}", features, recognizer.variables, recognizer.fingerprint
    )
