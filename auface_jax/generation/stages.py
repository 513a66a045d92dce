"""Stage I and Stage II together: from records to images.

Training, evaluation and generation share these functions: the tokens of a batch, the inputs of the
context, the network of a config, and the jitted programs that generate images.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from flax.core import FrozenDict
from jaxtyping import Array, Float, Int, UInt8, UInt32

from auface_jax.generation.decode import decode, fully_masked
from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.generation.encoders import Encoders, named_weights
from auface_jax.images import pixels
from auface_jax.models.vq_auface import FACE_TOKENS, VQAUFace
from auface_jax.models.vqgan import VQGAN

Batch = dict[str, Array]
PyTree = Any

INPUTS = ("text", "labels")  # descriptions of the action units that a model can read


@dataclasses.dataclass(frozen=True)
class Networks:
    """Modules of both stages; hashable, a static argument of the programs that generate images.

    Attributes:
      model: Stage II.
      vqgan: Stage I.
      encoders: pre-trained encoders of text and reference.
    """

    model: VQAUFace
    vqgan: VQGAN
    encoders: Encoders


def build_model(config: ml_collections.ConfigDict, vqgan: VQGAN, vocab_size: int) -> VQAUFace:
    """Builds the network of a Stage II config.

    Args:
      config: config of the run.
      vqgan: Stage I, which fixes the sizes of the token grid.
      vocab_size: vocabulary of the text tokenizer.

    Raises:
      ValueError: `model.input` or `model.tokens` is not legal.
    """
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
    """Encodes a batch for Stage II.

    Args:
      vqgan: Stage I.
      encoders: pre-trained encoders.
      frozen: weights {"stage1", "encoders"}, and optionally "references", the cached
        `reference_features` of all references, which `reference_row` of the batch indexes.
      batch: uint8 images and references, and texts or labels.

    Returns:
      Image tokens int32 [B, N, Q], and the arguments of `VQAUFace.context`.
    """
    image, reference = (pixels.to_float(batch[name]) for name in ("image", "reference"))
    if "references" in frozen:
        codes = vqgan.encode(frozen["stage1"], image)
        codes = codes.reshape(codes.shape[0], -1, vqgan.num_quantizers)
        face = {
            name: cached[batch["reference_row"]] for name, cached in frozen["references"].items()
        }
        return codes, context_inputs(vqgan, encoders, frozen, batch, reference, face)
    codes = vqgan.encode(frozen["stage1"], jnp.concatenate([image, reference]))  # one pass for both
    codes = codes.reshape(codes.shape[0], -1, vqgan.num_quantizers)
    image_codes, reference_codes = jnp.split(codes, 2)
    face = encoders.encode_reference(frozen["encoders"], reference) | {"codes": reference_codes}
    return image_codes, context_inputs(vqgan, encoders, frozen, batch, reference, face)


def reference_features(
    vqgan: VQGAN, encoders: Encoders, frozen: PyTree, reference: Float[Array, "B H W 3"]
) -> dict[str, Array]:
    """Runs the frozen networks on references in [-1, 1]: their tokens, "codes", and features."""
    codes = vqgan.encode(frozen["stage1"], reference)
    codes = codes.reshape(codes.shape[0], -1, vqgan.num_quantizers)
    return encoders.encode_reference(frozen["encoders"], reference) | {"codes": codes}


def context_inputs(
    vqgan: VQGAN,
    encoders: Encoders,
    frozen: PyTree,
    batch: Batch,
    reference: Float[Array, "B H W 3"],
    face: dict[str, Array],
) -> dict[str, Array]:
    """Collects the arguments of `VQAUFace.context`.

    Args:
      vqgan: Stage I.
      encoders: pre-trained encoders.
      frozen: weights {"stage1", "encoders"}.
      batch: texts or labels.
      reference: references in [-1, 1].
      face: their `reference_features`.
    """
    stage1, face = frozen["stage1"], dict(face)
    latents = vqgan.latents(stage1, face.pop("codes"))
    # Normalises the vectors to unit scale, whatever scale Stage I gives them.
    scale = jnp.sqrt(jnp.square(stage1["codebooks"].codes[0]).mean())
    names = ("text_tokens", "text_mask", "labels")
    texts = {name: batch[name] for name in names if name in batch}
    text_features = {}
    if "text_tokens" in texts:
        text_features = encoders.encode_text(
            frozen["encoders"], texts["text_tokens"], texts["text_mask"]
        )
    return {
        **texts,
        **text_features,
        **face,
        "reference": reference,
        "reference_latents": latents / scale,
    }


def sample_codes(
    networks: Networks,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "B 2"],
    *,
    history: bool = False,
):
    """Samples image tokens for some records.

    Args:
      networks: modules of both stages.
      options: options of decoding.
      weights: {"params", "stage1", "encoders"}.
      records: `reference`, uint8; `text_tokens` and `text_mask`, or `labels`; and optionally
        `change` [B, N], True at the positions of the reference to generate anew.
      key_data: data of a random key for each example.
      history: also return every iteration.

    Returns:
      The result of `decode`: tokens [B, N, Q], and with `history` every iteration.
    """
    vqgan, encoders = networks.vqgan, networks.encoders
    reference = pixels.to_float(records["reference"])
    face = reference_features(vqgan, encoders, weights, reference)
    inputs = context_inputs(vqgan, encoders, weights, records, reference, face)
    given = fully_masked(*face["codes"].shape)
    if "change" in records:
        given = face["codes"], jnp.broadcast_to(records["change"][..., None], given[1].shape)
    keys = jax.random.wrap_key_data(key_data)
    return decode(networks.model, weights["params"], inputs, given, keys, options, history=history)


def decode_images(
    vqgan: VQGAN, stage1: PyTree, codes: Int[Array, "B N Q"]
) -> UInt8[Array, "B H W 3"]:
    """Decodes image tokens to images."""
    grid = (codes.shape[0], vqgan.grid, vqgan.grid, vqgan.num_quantizers)
    return pixels.to_uint8(vqgan.decode(stage1, codes.reshape(grid)))


@functools.partial(jax.jit, static_argnums=0)
def attention_maps(networks: Networks, weights: PyTree, records: Batch) -> Float[Array, "B L S"]:
    """Computes the AU attention of each text token to the reference, the mean over heads.

    Args:
      networks: modules of both stages.
      weights: {"params", "stage1", "encoders"}.
      records: see `sample_codes`.
    """
    vqgan, encoders = networks.vqgan, networks.encoders
    reference = pixels.to_float(records["reference"])
    face = reference_features(vqgan, encoders, weights, reference)
    inputs = context_inputs(vqgan, encoders, weights, records, reference, face)
    keep = jnp.zeros(len(reference), bool)
    _, out = networks.model.apply(
        {"params": weights["params"]},
        **inputs,
        drop_text=keep,
        drop_reference=keep,
        method="context",
    )
    return out["au_attention"].mean(1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def generate_batch(
    networks: Networks,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "B 2"],
) -> UInt8[Array, "B H W 3"]:
    """Generates an image for each record; the arguments are those of `sample_codes`."""
    codes = sample_codes(networks, options, weights, records, key_data)
    return decode_images(networks.vqgan, weights["stage1"], codes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def frames_batch(
    networks: Networks,
    options: DecodeOptions,
    weights: PyTree,
    records: Batch,
    key_data: UInt32[Array, "B 2"],
) -> UInt8[Array, "steps B H W 3"]:
    """Generates the image after each iteration; the last one is that of `generate_batch`.

    Positions that are masked again show, paled, what was sampled there last.
    """
    vqgan = networks.vqgan
    _, (codes, masked) = sample_codes(networks, options, weights, records, key_data, history=True)

    def frame(iteration):
        codes, masked = iteration
        image = decode_images(vqgan, weights["stage1"], codes).astype(jnp.float32)
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
    """Generates a transition from the first of two records to the second.

    Args:
      networks: modules of both stages.
      options: options of decoding.
      weights: {"params", "stage1", "encoders"}.
      records: two records.
      key_data: data of a random key for each.
      shares: weight of the second in each frame, in [0, 1]; Stage I vectors are interpolated.
    """
    vqgan = networks.vqgan
    codes = sample_codes(networks, options, weights, records, key_data)
    latents = vqgan.latents(weights["stage1"], codes)  # [2, N, C]
    latents = latents.reshape(2, vqgan.grid, vqgan.grid, -1)
    decoder = {"params": weights["stage1"]["params"]["decoder"]}

    def frame(share):
        z = (1 - share) * latents[:1] + share * latents[1:]
        return pixels.to_uint8(vqgan.decoder.apply(decoder, z)[0])

    return jax.lax.map(frame, shares)
