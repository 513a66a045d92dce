"""From records to pictures: Stage I and Stage II put together.

Training, evaluation and `generate.py` share these: a batch's tokens and the inputs of the context,
the networks of a finished run, and the jitted program that draws.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax.core import FrozenDict
from jaxtyping import Array, Float, Int, UInt8, UInt32

from auface_jax.generation.decode import DecodeOptions, decode, everything_masked
from auface_jax.generation.encoders import Encoders, named_weights
from auface_jax.images import pixels
from auface_jax.models.quantizer import Codebooks
from auface_jax.models.vq_auface import FACE_TOKENS, VQAUFace
from auface_jax.models.vqgan import VQGAN
from auface_jax.runs import checkpoints

Batch = dict[str, Array]
PyTree = Any

INPUTS = ("text", "labels")  # what a model is told of the action units


@dataclasses.dataclass(frozen=True)
class Networks:
    """The modules of both stages; hashable, a static argument of the programs that draw."""

    model: VQAUFace
    vqgan: VQGAN
    encoders: Encoders


def load_vqgan(path: pathlib.Path) -> tuple[VQGAN, PyTree]:
    """A finished Stage I run: the module and its weights."""
    weights = checkpoints.load_export(path)
    weights["codebooks"] = Codebooks(**weights["codebooks"])
    return VQGAN(**checkpoints.load_config(path).model.to_dict()), weights


@functools.partial(jax.jit, static_argnums=0)
def level_previews(
    vqgan: VQGAN, stage1: PyTree, image: UInt8[Array, "B H W 3"]
) -> UInt8[Array, "B Q H W 3"]:
    """Images through their codes: by the first level alone, the first two, and so on to all."""
    codes = vqgan.encode(stage1, pixels.to_float(image))
    made = [vqgan.decode(stage1, codes, levels) for levels in range(1, vqgan.num_quantizers + 1)]
    return pixels.to_uint8(jnp.stack(made, axis=1))


def build_model(config: ml_collections.ConfigDict, vqgan: VQGAN, vocab_size: int) -> VQAUFace:
    """The network of a Stage II config; sizes that Stage I and the tokenizer fix come from them."""
    c = config.model.to_dict()
    if (given := c.get("input", INPUTS[0])) not in INPUTS:
        raise ValueError(f"model.input={given!r} is not one of {', '.join(INPUTS)}")
    tokens = c.get("tokens", FACE_TOKENS)
    if unknown := set(tokens) - set(FACE_TOKENS):
        raise ValueError(
            f"model.tokens has {', '.join(sorted(unknown))}; legal are {', '.join(FACE_TOKENS)}"
        )
    sizes = {
        "grid": vqgan.grid,
        "num_quantizers": vqgan.num_quantizers,
        "codebook_size": vqgan.codebook_size,
        "heads_per_step": config.speed.heads_per_step,
    }
    # Frozen, because the module is a static argument of jitted programs and has to be hashable.
    return VQAUFace(
        text_encoder=FrozenDict(c["text_encoder"] | {"vocab_size": vocab_size}),
        face_encoder=FrozenDict(c["face_encoder"]),
        transformer=FrozenDict(c["transformer"] | sizes),
        tokens=tuple(name for name in FACE_TOKENS if name in tokens),
        features=tuple(named_weights(config)),
        label_tokens=max(config.data.buckets) if given == "labels" else 0,
        dtype=jnp.dtype(c["dtype"]),
    )


def tokenize_batch(
    vqgan: VQGAN, encoders: Encoders, frozen: PyTree, batch: Batch
) -> tuple[Array, dict[str, Array]]:
    """uint8 images -> their codes int32 [B, N, Q], and the inputs of `VQAUFace.context`.

    Args:
      frozen: weights {"stage1", "encoders"}; with "references", what `reference_features` made of
        every reference, `reference_row` of the batch says which rows to take instead of computing
        them.
    """
    image, reference = (pixels.to_float(batch[name]) for name in ("image", "reference"))
    if "references" in frozen:
        codes = vqgan.encode(frozen["stage1"], image)
        codes = codes.reshape(codes.shape[0], -1, vqgan.num_quantizers)
        of_face = {
            name: rows[batch["reference_row"]] for name, rows in frozen["references"].items()
        }
        return codes, context_inputs(vqgan, encoders, frozen, batch, reference, of_face)
    codes = vqgan.encode(frozen["stage1"], jnp.concatenate([image, reference]))  # one pass for both
    codes = codes.reshape(codes.shape[0], -1, vqgan.num_quantizers)
    image_codes, reference_codes = jnp.split(codes, 2)
    of_face = encoders.of_reference(frozen["encoders"], reference) | {"codes": reference_codes}
    return image_codes, context_inputs(vqgan, encoders, frozen, batch, reference, of_face)


def reference_features(
    vqgan: VQGAN, encoders: Encoders, frozen: PyTree, reference: Float[Array, "B H W 3"]
) -> dict[str, Array]:
    """All that frozen networks tell of a reference: its codes [B, N, Q] and its features."""
    codes = vqgan.encode(frozen["stage1"], reference)
    codes = codes.reshape(codes.shape[0], -1, vqgan.num_quantizers)
    return encoders.of_reference(frozen["encoders"], reference) | {"codes": codes}


def context_inputs(
    vqgan: VQGAN,
    encoders: Encoders,
    frozen: PyTree,
    batch: Batch,
    reference: Float[Array, "B H W 3"],
    of_face: dict[str, Array],
) -> dict[str, Array]:
    """Inputs of `VQAUFace.context`, from what `reference_features` made of the reference."""
    stage1, of_face = frozen["stage1"], dict(of_face)
    latents = vqgan.latents(stage1, of_face.pop("codes"))
    # Unit scale, whatever scale Stage I's vectors have.
    scale = jnp.sqrt(jnp.square(stage1["codebooks"].codes[0]).mean())
    names = ("text_tokens", "text_mask", "labels")
    texts = {name: batch[name] for name in names if name in batch}
    of_text = {}
    if "text_tokens" in texts:
        of_text = encoders.of_text(frozen["encoders"], texts["text_tokens"], texts["text_mask"])
    return {
        **texts,
        **of_text,
        **of_face,
        "reference": reference,
        "reference_latents": latents / scale,
    }


def draw_codes(
    networks: Networks,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "B 2"],
    *,
    history: bool = False,
):
    """Codes [B, N, Q] for `records`, a key a row; with `history` as `decode` gives it.

    Args:
      weights: {"params", "stage1", "encoders"}.
      records: reference uint8; text_tokens and text_mask, or labels; and where only a part of the
        reference is to be drawn anew, `change`, True at its positions [B, N].
    """
    vqgan, encoders = networks.vqgan, networks.encoders
    reference = pixels.to_float(records["reference"])
    of_face = reference_features(vqgan, encoders, weights, reference)
    inputs = context_inputs(vqgan, encoders, weights, records, reference, of_face)
    given = everything_masked(*of_face["codes"].shape)
    if "change" in records:
        given = of_face["codes"], jnp.broadcast_to(records["change"][..., None], given[1].shape)
    keys = jax.random.wrap_key_data(key_data)
    return decode(networks.model, weights["params"], inputs, given, keys, options, history=history)


def pictures_of(
    vqgan: VQGAN, stage1: PyTree, codes: Int[Array, "B N Q"]
) -> UInt8[Array, "B H W 3"]:
    """What the codes show."""
    grid = (codes.shape[0], vqgan.grid, vqgan.grid, vqgan.num_quantizers)
    return pixels.to_uint8(vqgan.decode(stage1, codes.reshape(grid)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def generate_batch(
    networks: Networks,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "B 2"],
) -> UInt8[Array, "B H W 3"]:
    """Pictures of what `draw_codes` draws."""
    codes = draw_codes(networks, options, weights, records, key_data)
    return pictures_of(networks.vqgan, weights["stage1"], codes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def frames_batch(
    networks: Networks,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "B 2"],
) -> UInt8[Array, "steps B H W 3"]:
    """The picture after each iteration; the last is that of `generate_batch`.

    What is masked again shows, paled, what was drawn there last.
    """
    vqgan = networks.vqgan
    _, (codes, masked) = draw_codes(networks, options, weights, records, key_data, history=True)

    def frame(of_step):
        codes, masked = of_step
        image = pictures_of(vqgan, weights["stage1"], codes).astype(jnp.float32)
        share = masked.mean(-1).reshape(-1, vqgan.grid, vqgan.grid)
        share = share.repeat(image.shape[1] // vqgan.grid, axis=1)
        share = share.repeat(image.shape[2] // vqgan.grid, axis=2)
        veil = 0.7 * share[..., None]
        return jnp.round((1 - veil) * image + veil * 235.0).astype(jnp.uint8)

    return jax.lax.map(frame, (codes, masked))


@functools.partial(jax.jit, static_argnums=(0, 1))
def morph_batch(
    networks: Networks,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "2 2"],
    shares: Float[Array, " F"],
) -> UInt8[Array, "F H W 3"]:
    """Pictures on the way from the first of two records to the second.

    Args:
      shares: of the second, in [0, 1]; Stage I's vectors of the two are mixed so.
    """
    vqgan = networks.vqgan
    codes = draw_codes(networks, options, weights, records, key_data)
    latents = vqgan.latents(weights["stage1"], codes)  # [2, N, C]
    latents = latents.reshape(2, vqgan.grid, vqgan.grid, -1)
    decoder = {"params": weights["stage1"]["params"]["decoder"]}

    def frame(share):
        z = (1 - share) * latents[:1] + share * latents[1:]
        return pixels.to_uint8(vqgan.decoder.apply(decoder, z)[0])

    return jax.lax.map(frame, shares)
