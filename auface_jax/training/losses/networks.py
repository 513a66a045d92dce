"""Loss networks: frozen networks whose features Stage I's losses compare.

Each network is read from a folder and runs in inference mode; its variables are an argument of the
training step. The step differentiates with respect to pixels alone, so variables get no gradient.
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
    """A frozen network and the function that computes the compared features.

    Attributes:
      name: a description of the features, which marks a substitute for the paper's network.
      features: (variables, images in [-1, 1]) -> float32 [B, ...]; a pure function.
      variables: the network's variables, as arrays.
      fingerprint: hex sha256 of the source of the variables.
    """

    name: str
    features: Features
    variables: PyTree
    fingerprint: str


def vgg_features(module: vgg.VGG16) -> Features:
    """Returns the second 4096-wide features of VGG16, as in the paper's perceptual loss."""
    return lambda variables, image: module.apply(variables, vgg.normalize(image))["fc2"]


def unit_nodes(module: AURecognizer, size: int, crop: int) -> Features:
    """Returns the unit vectors of a recogniser, which the anatomical loss compares.

    Args:
      module: the recogniser.
      size: side in pixels to which pictures are resized.
      crop: side of the central crop that the recogniser reads.
    """

    def nodes(variables, image):
        return module.apply(variables, recognizer_input(image, size, crop)).nodes

    return nodes


def load_perceptual(folder: str) -> LossNetwork:
    """Loads the network of the perceptual loss: VGG16, or a recogniser as its substitute.

    Args:
      folder: converted weights of VGG16, whose second 4096-wide features are compared, as in the
        paper; or a finished run of `au_image` with the role `loss`. Its feature map of the whole
        picture, before the branches of the units, is a substitute that is trained on faces and
        needs no published weights.

    Raises:
      checkpoints.CheckpointError: `folder` is empty or holds neither of the two, or the role of the
        run is `score`.
      convert.ConversionError: the weights are those of another network, or damaged.
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
    """Loads the network of the LPIPS loss: the summed squared distance of its features is LPIPS.

    Args:
      backbone: converted weights of AlexNet or VGG16.
      heads: converted weights of LPIPS for that backbone.

    Raises:
      checkpoints.CheckpointError: a folder name is empty.
      ValueError: the heads belong to another backbone, or a folder holds another network.
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
            # Trained heads are not negative. The mean over positions is part of the square root.
            weight = jnp.maximum(variables["params"]["heads"][f"weight_{depth}"], 0.0)
            scale = jnp.sqrt(weight / (one.shape[1] * one.shape[2]))
            flat.append((one * scale).reshape(len(one), -1))
        return jnp.concatenate(flat, axis=-1)

    described = [pathlib.Path(folder, convert.DESCRIPTION) for folder in (backbone, heads)]
    sources = "".join(json.loads(path.read_text())["source"]["sha256"] for path in described)
    fingerprint = hashlib.sha256(sources.encode()).hexdigest()
    return LossNetwork(f"LPIPS({module.backbone})", features, variables, fingerprint)


def load_anatomical(run: str) -> LossNetwork:
    """Loads MEF of the anatomical loss: the unit vectors after a recogniser's graph network.

    Args:
      run: a finished run of `au_image` with the role `loss`.

    Raises:
      checkpoints.CheckpointError: `run` is empty, is not finished, or has the role `score`.
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
