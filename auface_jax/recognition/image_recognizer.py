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
from auface_jax.models.me_graphau import AURecognizer, Recognition, make_recognizer
from auface_jax.parallel.map_batches import map_batches
from auface_jax.pretrained import convert, me_graphau
from auface_jax.recognition.roles import ROLES
from auface_jax.runs import checkpoints

PyTree = Any

BATCH_SIZE = 32
THRESHOLD = 0.5  # of the cosines, as in the original


@dataclasses.dataclass(frozen=True, eq=False)
class Recognizer:
    """A finished recogniser.

    Attributes:
      name: the folder that it was loaded from.
      module: its network.
      variables: the network's variables, the first argument of `module.apply`.
      size: pixels a side to which faces are resized.
      crop: pixels a side of the central square that the network reads.
      role: "loss" or "score", the use that it was trained for; "" for published weights.
      fingerprint: hex sha256 of the variables; equal fingerprints mean equal recognisers.
    """

    name: str
    module: AURecognizer
    variables: PyTree
    size: int
    crop: int
    role: str
    fingerprint: str

    @classmethod
    def from_run(cls, run: str | pathlib.Path) -> "Recognizer":
        """Loads a finished run, or converted weights: see `load_recognizer`."""
        return load_recognizer(run)

    def __call__(self, images: UInt8[np.ndarray, "M H W 3"]) -> Float[np.ndarray, "M A"]:
        """Reads the probabilities of the units in square faces of any one size."""
        return predict(
            self.module,
            self.variables,
            images,
            size=self.size,
            crop=self.crop,
            batch_size=BATCH_SIZE,
        )


def predict(
    module: AURecognizer,
    variables: PyTree,
    images: UInt8[np.ndarray, "M H W 3"],
    *,
    size: int,
    crop: int,
    batch_size: int,
) -> Float[np.ndarray, "M A"]:
    """Reads the probabilities of the units in square faces of any one size.

    Args:
      module: the recogniser's network.
      variables: its variables.
      images: the faces.
      size: pixels a side to which faces are resized.
      crop: pixels a side of the central square that the network reads.
      batch_size: images that the compiled program reads at once.
    """
    read = functools.partial(_probabilities, module, size, crop)
    return map_batches(read, variables, images, batch_size=batch_size)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _probabilities(
    module: AURecognizer, size: int, crop: int, variables: PyTree, images: UInt8[Array, "B H W 3"]
) -> Float[Array, "B A"]:
    return apply_recognizer(module, size, crop, variables, images).probabilities


def apply_recognizer(
    module: AURecognizer, size: int, crop: int, variables: PyTree, images: UInt8[Array, "B H W 3"]
) -> Recognition:
    """Resizes and crops faces and applies the network to them; see `predict` for the arguments."""
    return module.apply(variables, recognizer_input(pixels.to_float(images), size, crop))


def recognizer_input(
    images: Float[Array, "B H W 3"], size: int, crop: int
) -> Float[Array, "B crop crop 3"]:
    """Prepares faces in [-1, 1] for a recogniser: resizes them to `size`, cuts out the centre."""
    if images.shape[1:3] != (size, size):
        shape = (len(images), size, size, 3)
        images = jnp.clip(jax.image.resize(images, shape, "lanczos3"), -1.0, 1.0)
    return centre_crop(images, crop)


def centre_crop(image: Float[Array, "B H W C"], crop: int) -> Float[Array, "B S S C"]:
    """Cuts out the central `crop` x `crop` pixels.

    Raises:
      ValueError: the image is smaller than the crop.
    """
    height, width = image.shape[1:3]
    if min(height, width) < crop:
        raise ValueError(
            f"images of {height} x {width} px are smaller than the {crop} px that the recogniser "
            "reads; set model.crop to their size"
        )
    top, left = (height - crop) // 2, (width - crop) // 2
    return image[:, top : top + crop, left : left + crop]


def build_recognizer(model: ml_collections.ConfigDict, stage: int) -> AURecognizer:
    """Builds the network of a config's `model` part for training stage 1 or 2."""
    return make_recognizer(
        model.backbone,
        stage=stage,
        width=model.width,
        dtype=jnp.dtype(model.dtype),
        backbone_fields=dict(model.backbone_fields),
    )


def load_recognizer(
    path: str | pathlib.Path,
    *,
    role: str | None = None,
    forbidden: Mapping[str, str] = types.MappingProxyType({}),
) -> Recognizer:
    """Loads a finished run of the task `au_image`, or a folder of converted ME-GraphAU weights.

    Args:
      path: folder of the run or of the converted weights.
      role: use that the recogniser must fit, "loss" or "score"; None allows either.
      forbidden: name -> fingerprint of the recognisers that trained the generator which this one
        is to score; `roles.loss_recognizers` finds those of a run.

    Raises:
      checkpoints.CheckpointError: the folder is no finished recogniser; the recogniser has the
        other role; or its weights are those of a forbidden one, whatever its name.
      convert.ConversionError: the folder of converted weights is damaged.
    """
    path = pathlib.Path(path)
    if role not in (None, *ROLES):
        raise ValueError(f"role {role!r} is not one of {', '.join(ROLES)}")
    if (path / convert.DESCRIPTION).is_file():
        loaded = convert.load(path, "me_graphau")
        module, variables = loaded.module, loaded.variables
        size, crop, found = me_graphau.IMAGE_SIZE, me_graphau.CROP, ""
    else:
        config = checkpoints.load_config(path, task="au_image")
        stage = 1 if config.stage1_steps == config.num_steps else 2
        module, variables = build_recognizer(config.model, stage), checkpoints.load_export(path)
        size, crop, found = config.data.size, config.model.crop, config.role
    if role and found and role != found:
        config_name = "au_image" if role == "score" else "au_image_loss"
        raise checkpoints.CheckpointError(
            f"{path} is a recogniser for the role {found!r}, and the role {role!r} is needed: the "
            "network that trains a generator must not evaluate it. Use a run of "
            f"configs/{config_name}.py"
        )
    fingerprint = checkpoints.weights_fingerprint(variables)
    for name, trained_with in forbidden.items():
        if fingerprint == trained_with:
            raise checkpoints.CheckpointError(
                f"{path} has the same weights ({fingerprint[:12]}) as {name}, which trained the "
                "generator: the network that trains a generator must not evaluate it. Use a "
                "recogniser that was trained separately (configs/au_image.py)"
            )
    return Recognizer(str(path), module, jax.device_put(variables), size, crop, found, fingerprint)
