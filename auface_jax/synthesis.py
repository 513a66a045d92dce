"""From records to pictures: Stage I and Stage II put together.

Training, evaluation and `generate.py` share these: a batch's tokens and the inputs of the context,
the networks of a finished run, and the jitted program that draws.
"""

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax.core import FrozenDict
from jaxtyping import Array, UInt8, UInt32

from auface_jax import checkpoints, pictures
from auface_jax.decode import DecodeOptions, decode, everything_masked
from auface_jax.models.quantizer import Codebooks
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.models.vqgan import VQGAN

Batch = dict[str, Array]
PyTree = Any


def load_vqgan(path: pathlib.Path) -> tuple[VQGAN, PyTree]:
    """A finished Stage I run: the module and its weights."""
    weights = checkpoints.load_export(path)
    weights["codebooks"] = Codebooks(**weights["codebooks"])
    fields = checkpoints.load_config(path).model.to_dict()
    # JSON has lists alone; the module is a static argument and has to be hashable.
    return VQGAN(**fields | {"channels": tuple(fields["channels"])}), weights


@functools.partial(jax.jit, static_argnums=0)
def level_previews(
    vqgan: VQGAN, stage1: PyTree, image: UInt8[Array, "B H W 3"]
) -> UInt8[Array, "B Q H W 3"]:
    """Images through their codes: by the first level alone, the first two, and so on to all."""
    codes = vqgan.encode(stage1, pictures.to_float(image))
    made = [vqgan.decode(stage1, codes, levels) for levels in range(1, vqgan.levels + 1)]
    return pictures.to_uint8(jnp.stack(made, axis=1))


def build_model(config: ml_collections.ConfigDict, vqgan: VQGAN, vocab_size: int) -> VQAUFace:
    """The network of a Stage II config; sizes that Stage I and the tokenizer fix come from them."""
    c = config.model.to_dict()
    sizes = {"grid": vqgan.grid, "levels": vqgan.levels, "codes": vqgan.codes}
    # Frozen, because the module is a static argument of jitted programs and has to be hashable.
    return VQAUFace(
        text_encoder=FrozenDict(c["text_encoder"] | {"vocab_size": vocab_size}),
        face_encoder=FrozenDict(c["face_encoder"]),
        transformer=FrozenDict(c["transformer"] | sizes),
        dtype=jnp.dtype(c["dtype"]),
    )


def tokenize_batch(vqgan: VQGAN, stage1: PyTree, batch: Batch) -> tuple[Array, dict[str, Array]]:
    """uint8 images -> their codes int32 [B, N, Q], and the inputs of `VQAUFace.context`."""
    image, reference = (pictures.to_float(batch[name]) for name in ("image", "reference"))
    codes = vqgan.encode(stage1, jnp.concatenate([image, reference]))  # one pass for both
    codes = codes.reshape(codes.shape[0], -1, vqgan.levels)
    image_codes, reference_codes = jnp.split(codes, 2)
    return image_codes, context_inputs(vqgan, stage1, batch, reference, reference_codes)


def context_inputs(vqgan: VQGAN, stage1: PyTree, batch: Batch, reference, reference_codes):
    """Inputs of `VQAUFace.context` from a reference in [-1, 1] and its codes [B, N, Q]."""
    latents = vqgan.latents(stage1, reference_codes)
    # Unit scale, whatever scale Stage I's vectors have.
    scale = jnp.sqrt(jnp.square(stage1["codebooks"].codes[0]).mean())
    return {
        "text_tokens": batch["text_tokens"],
        "text_mask": batch["text_mask"],
        "reference": reference,
        "reference_latents": latents / scale,
    }


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def generate_batch(
    model: VQAUFace,
    vqgan: VQGAN,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "B 2"],
) -> UInt8[Array, "B H W 3"]:
    """Pictures for `records` (reference uint8, text_tokens, text_mask), one key a row."""
    reference = pictures.to_float(records["reference"])
    codes = vqgan.encode(weights["stage1"], reference)
    codes = codes.reshape(codes.shape[0], -1, vqgan.levels)
    inputs = context_inputs(vqgan, weights["stage1"], records, reference, codes)
    made = decode(
        model,
        weights["params"],
        inputs,
        everything_masked(*codes.shape),
        jax.random.wrap_key_data(key_data),
        options,
    )
    grid = (made.shape[0], vqgan.grid, vqgan.grid, vqgan.levels)
    return pictures.to_uint8(vqgan.decode(weights["stage1"], made.reshape(grid)))
