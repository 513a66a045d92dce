"""The image recogniser of a finished run or of published weights: faces -> action units."""

import dataclasses
import functools
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, UInt8

from auface_jax.images import pixels
from auface_jax.models.me_graphau import AURecognizer, make_recognizer
from auface_jax.parallel.map_batches import map_batches
from auface_jax.pretrained import convert, me_graphau
from auface_jax.recognition.roles import ROLES
from auface_jax.runs import checkpoints

PyTree = Any

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Recognizer:
    """A finished recogniser.

    Attributes:
      name: where it was loaded from.
      module: its network.
      variables: what `module.apply` takes first.
      size, crop: faces are resized to `size` pixels, of which the central `crop` are read.
      role: "loss" or "score", what it may be used for; "" for published weights, which do not say.
      fingerprint: hex sha256 of the variables: two recognisers are the same when these are.
    """

    name: str
    module: AURecognizer
    variables: PyTree
    size: int
    crop: int
    role: str
    fingerprint: str

    def __call__(self, images: UInt8[np.ndarray, "M H W 3"]) -> Float[np.ndarray, "M A"]:
        """Probabilities of the units in square faces of any one size."""
        read = functools.partial(_probabilities, self.module, self.size, self.crop)
        return map_batches(read, self.variables, images, batch_size=BATCH_SIZE)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _probabilities(
    module: AURecognizer, size: int, crop: int, variables: PyTree, images: UInt8[Array, "B H W 3"]
) -> Float[Array, "B A"]:
    images = recognizer_input(pixels.to_float(images), size, crop)
    return module.apply(variables, images).probabilities


def recognizer_input(
    images: Float[Array, "B H W 3"], size: int, crop: int
) -> Float[Array, "B crop crop 3"]:
    """Faces in [-1, 1] as a recogniser reads them: resized to `size`, the centre cut out."""
    if images.shape[1:3] != (size, size):
        shape = (len(images), size, size, 3)
        images = jnp.clip(jax.image.resize(images, shape, "lanczos3"), -1.0, 1.0)
    return centre_crop(images, crop)


def load_recognizer(
    path: str | pathlib.Path,
    *,
    role: str | None = None,
    pleased: Mapping[str, str] = types.MappingProxyType({}),
) -> Recognizer:
    """A finished run of the task `au_image`, or a folder of converted ME-GraphAU weights.

    Args:
      role: "loss" or "score": what it is wanted for; None for neither, when nothing depends on it.
      pleased: name -> fingerprint of the recognisers that a generator was trained to please, when
        this one is to score it; `loss_networks.loss_recognizers` finds those of a run.

    Raises:
      checkpoints.CheckpointError: not a finished recogniser; one for the other role; or one of
        `pleased`, by whatever name.
      convert.ConversionError: a damaged folder of converted weights.
    """
    path = pathlib.Path(path)
    if role not in (None, *ROLES):
        raise ValueError(f"role {role!r} is not one of {', '.join(ROLES)}")
    if (path / convert.DESCRIPTION).is_file():
        loaded = convert.load(path, "me_graphau")
        module, variables = loaded.module, loaded.variables
        size, crop, found = me_graphau.IMAGE_SIZE, me_graphau.CROP, ""
    else:
        config = checkpoints.load_config(path)
        if config.task != "au_image":
            raise checkpoints.CheckpointError(
                f"{path} is a run of the task {config.task}; action units are read by a run of "
                "au_image: python -m auface_jax.train --config configs/au_image.py"
            )
        stage = 1 if config.stage1_steps == config.num_steps else 2
        module, variables = build_recognizer(config.model, stage), checkpoints.load_export(path)
        size, crop, found = config.data.size, config.model.crop, config.role
    if role and found and role != found:
        config_name = "au_image" if role == "score" else "au_image_loss"
        raise checkpoints.CheckpointError(
            f"{path} is a recogniser for the role {found!r} and is asked to be one for {role!r}: a "
            "generator must not be judged by what it was trained to please. Use a run of "
            f"configs/{config_name}.py"
        )
    fingerprint = checkpoints.weights_fingerprint(variables)
    for name, of_loss in pleased.items():
        if fingerprint == of_loss:
            raise checkpoints.CheckpointError(
                f"{path} has the very weights ({fingerprint[:12]}) of {name}, which a loss used: "
                "a generator must not be judged by what it was trained to please. Use a recogniser "
                "that was trained apart (configs/au_image.py)"
            )
    return Recognizer(str(path), module, jax.device_put(variables), size, crop, found, fingerprint)


THRESHOLD = 0.5  # of the cosines, as in the original


def build_recognizer(model: ml_collections.ConfigDict, stage: int) -> AURecognizer:
    """The network of a config's `model` part."""
    return make_recognizer(
        model.backbone,
        stage=stage,
        width=model.width,
        dtype=jnp.dtype(model.dtype),
        backbone_fields=dict(model.backbone_fields),
    )


def centre_crop(image: Float[Array, "B H W C"], crop: int) -> Float[Array, "B S S C"]:
    """The central `crop` x `crop` pixels.

    Raises:
      ValueError: the image is smaller.
    """
    height, width = image.shape[1:3]
    if min(height, width) < crop:
        raise ValueError(
            f"images of {height} x {width} px are smaller than the {crop} px that the recogniser "
            "reads; set model.crop to their size"
        )
    top, left = (height - crop) // 2, (width - crop) // 2
    return image[:, top : top + crop, left : left + crop]
