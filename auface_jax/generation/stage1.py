"""Stage I by itself: loading a finished run, and previews of its quantizer levels."""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8

from auface_jax.images import pixels
from auface_jax.models.quantizer import Codebooks
from auface_jax.models.vqgan import VQGAN
from auface_jax.runs import checkpoints

PyTree = Any


def load_vqgan(run: pathlib.Path) -> tuple[VQGAN, PyTree]:
    """Loads a finished Stage I run.

    Args:
      run: folder of the run.

    Returns:
      The module and its weights, {"params", "codebooks"}.
    """
    weights = checkpoints.load_export(run)
    weights["codebooks"] = Codebooks(**weights["codebooks"])
    return VQGAN(**checkpoints.load_config(run).model.to_dict()), weights


@functools.partial(jax.jit, static_argnums=0)
def level_previews(
    vqgan: VQGAN, weights: PyTree, image: UInt8[Array, "B H W 3"]
) -> UInt8[Array, "B Q H W 3"]:
    """Reconstructs images from their first quantizer level, their first two, and so on to all Q."""
    tokens = vqgan.encode(weights, pixels.to_float(image))
    previews = [
        vqgan.decode(weights, tokens, levels) for levels in range(1, vqgan.num_quantizers + 1)
    ]
    return pixels.to_uint8(jnp.stack(previews, axis=1))
