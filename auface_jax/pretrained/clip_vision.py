"""The image encoder of CLIP (Radford et al. 2021) with OpenAI's weights or OpenCLIP's: ViT-B/32 to
ViT-L/14.

    python -m auface_jax.pretrained.convert clip-vision clip-vit-large-patch14/ weights/clip

What comes out are the patch tokens after the last block but one: the last block gathers what the
class token needs for its comparison with a text, and what stands at the patches there no longer
tells what the face looks like at that place. So the last block is neither loaded nor run.

Where it differs from an ordinary vision Transformer: the tokens are normalised once more before the
first block, and OpenAI's weights were trained with QuickGELU, x sigmoid(1.702 x), where OpenCLIP's
have the exact GELU unless their name says otherwise.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from auface_jax.pretrained.tables import (
    Network,
    Rule,
    conv_rules,
    linear,
    linear_rules,
    norm_rules,
)
from auface_jax.pretrained.weight_files import Source

ACTIVATIONS = {
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
    "gelu": lambda x: nn.gelu(x, approximate=False),
}
# Mean and standard deviation of the pixels in [0, 1] that OpenAI's weights were trained on, and
# nearly all of OpenCLIP's.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

_EPSILON = 1e-5  # of the norms


def prepare_images(
    images: Float[Array, "B H W 3"],
    size: int,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> Float[Array, "B size size 3"]:
    """Square crops -> what CLIP was trained on.

    As the original's: resized by antialiased bicubic interpolation, first along rows, then along
    columns, overshoot cut off after each; then normalised.

    Args:
      images: float32 in [-1, 1], of any side.
      size: the encoder's `image_size`.
      mean, std: of pixels in [0, 1].
    """
    batch, height, _, channels = images.shape
    resized = images.astype(jnp.float32)
    for shape in ((batch, height, size, channels), (batch, size, size, channels)):
        resized = jax.image.resize(resized, shape, "cubic", antialias=True)
        resized = jnp.clip(resized, -1.0, 1.0)
    pixels = (resized + 1.0) / 2.0
    return (pixels - jnp.array(mean)) / jnp.array(std)


class Attention(nn.Module, kw_only=True):
    """Multi-head self-attention with one fused projection."""

    num_heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(x)
        q, k, v = einops.rearrange(qkv, "b n (s h c) -> s b n h c", s=3, h=self.num_heads)
        y = jax.nn.dot_product_attention(q, k, v)  # [B, N, heads, D / heads]
        return nn.Dense(width, dtype=self.dtype, name="out")(
            einops.rearrange(y, "b n h c -> b n (h c)")
        )


class Block(nn.Module, kw_only=True):
    """Self-attention and feed-forward, each on the normalised stream and added back to it."""

    num_heads: int
    hidden: int
    activation: str
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        h = nn.LayerNorm(epsilon=_EPSILON, dtype=self.dtype, name="attention_norm")(x)
        x = x + Attention(num_heads=self.num_heads, dtype=self.dtype, name="attention")(h)
        h = nn.LayerNorm(epsilon=_EPSILON, dtype=self.dtype, name="feed_forward_norm")(x)
        h = ACTIVATIONS[self.activation](nn.Dense(self.hidden, dtype=self.dtype, name="hidden")(h))
        return x + nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(h)


class CLIPVision(nn.Module, kw_only=True):
    """Images -> one vector a patch. `SIZES` holds the fields of the published models.

    Attributes:
      image_size: side of its images in pixels.
      patch_size: side of a patch in pixels; it divides `image_size`.
      width: D of the tokens.
      hidden: width of the feed-forward layers.
      num_layers: blocks of the published network; the last is left out here.
      num_heads: attention heads.
      activation: "quick_gelu" (OpenAI) or "gelu" (OpenCLIP).
      mean, std: of the pixels in [0, 1] that it was trained on.
      dtype: of the computation; parameters, softmax, norms and the output stay float32.
    """

    image_size: int
    patch_size: int
    width: int
    hidden: int
    num_layers: int
    num_heads: int
    activation: str
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD
    dtype: jnp.dtype = jnp.float32

    @nn.nowrap
    def prepare(self, images: Float[Array, "B H W 3"]) -> Float[Array, "B S S 3"]:
        """Square crops in [-1, 1] -> its input: `prepare_images` at its size."""
        return prepare_images(images, self.image_size, self.mean, self.std)

    @nn.compact
    def __call__(self, x: Float[Array, "B S S 3"]) -> Float[Array, "B N D"]:
        """Encodes a batch of images.

        Args:
          x: float32, what `prepare` returns.

        Returns:
          float32 [B, N, D], N = (image_size / patch_size)², patches row by row, of the residual
          stream (no norm follows).

        Raises:
          ValueError: another size, or a field that the weights did not tell.
        """
        self._check(x.shape[1:3])
        x = nn.Conv(
            self.width,
            (self.patch_size, self.patch_size),
            strides=self.patch_size,
            padding="VALID",
            use_bias=False,
            dtype=self.dtype,
            name="patches",
        )(x)
        x = einops.rearrange(x, "b h w d -> b (h w) d")
        of_class = self.param("class_token", nn.initializers.normal(0.02), (self.width,))
        of_class = jnp.broadcast_to(of_class.astype(self.dtype), (x.shape[0], 1, self.width))
        x = jnp.concatenate([of_class, x], axis=1)
        position = self.param("position", nn.initializers.normal(0.02), x.shape[1:])
        x = x + position.astype(self.dtype)
        x = nn.LayerNorm(epsilon=_EPSILON, dtype=self.dtype, name="first_norm")(x)
        for layer in range(self.num_layers - 1):
            x = Block(
                num_heads=self.num_heads,
                hidden=self.hidden,
                activation=self.activation,
                dtype=self.dtype,
                name=f"block_{layer}",
            )(x)
        return x[:, 1:].astype(jnp.float32)

    def _check(self, size: tuple[int, ...]) -> None:
        if size != (self.image_size, self.image_size):
            raise ValueError(
                f"images are {size[0]} x {size[1]} px, expected {self.image_size} a side: "
                "`prepare` resizes them"
            )
        faults = []
        if self.activation not in ACTIVATIONS:
            faults.append(
                f"activation is {self.activation!r}, expected 'quick_gelu' (OpenAI's weights) or "
                "'gelu' (OpenCLIP's, unless their name ends in quickgelu)"
            )
        if not self.num_heads or self.width % self.num_heads:
            faults.append(
                f"num_heads is {self.num_heads!r}, expected a divisor of the width {self.width}"
            )
        if faults:
            raise ValueError(
                f"{'; '.join(faults)}. Weights alone do not tell: convert the folder with its "
                "configuration, or give --field NAME=VALUE"
            )


def _size(patch_size, width, num_layers, num_heads, image_size=224):
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "width": width,
        "hidden": 4 * width,
        "num_layers": num_layers,
        "num_heads": num_heads,
    }


# The fields of `CLIPVision` for each published model, but for the activation.
SIZES: dict[str, dict[str, int]] = {
    "ViT-B/32": _size(32, 768, 12, 12),
    "ViT-B/16": _size(16, 768, 12, 12),
    "ViT-L/14": _size(14, 1024, 24, 16),
    "ViT-L/14@336px": _size(14, 1024, 24, 16, image_size=336),
}

# Where a whole CLIP, image and text, has its image encoder.
_PREFIXES = ("vision_model.", "visual.")
_BLOCK = r"(?:encoder\.layers|transformer\.resblocks)\.(\d+)"
_LAYER = re.compile(rf"{_BLOCK}\..*")
_QUERY = re.compile(r"(.*\.self_attn\.)q(_proj\.)(weight|bias)")


def _num_layers(keys: Iterable[str]) -> int:
    return 1 + max((int(match[1]) for key in keys if (match := _LAYER.fullmatch(key))), default=-1)


def image_encoder(source: Source) -> Source:
    """The part of a CLIP that is loaded here, whichever way it was saved.

    The text encoder and the last block are left out, prefixes cut off, and Hugging Face's three
    projections of an attention are one, `in_proj`, as in the originals.
    """
    prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in source.shapes)), "")
    names = {key.removeprefix(prefix): key for key in source.shapes if key.startswith(prefix)}
    last = _num_layers(names) - 1
    parts = {
        name: [key]
        for name, key in names.items()
        if not (match := _LAYER.fullmatch(name)) or int(match[1]) < last
    }
    for name in list(parts):
        if match := _QUERY.fullmatch(name):
            three = [f"{match[1]}{which}{match[2]}{match[3]}" for which in "qkv"]
            shapes = {source.shapes[names[part]] for part in three if part in parts}
            # What does not make a whole is left as it is, for the table to refuse.
            if all(part in parts for part in three) and len(shapes) == 1:
                parts[f"{match[1]}in_proj_{match[3]}"] = [parts.pop(part)[0] for part in three]

    def shape(keys):
        first, *others = source.shapes[keys[0]] or (1,)
        return source.shapes[keys[0]] if len(keys) == 1 else (len(keys) * first, *others)

    def read(name: str) -> np.ndarray:
        arrays = [source.read(key) for key in parts[name]]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    return dataclasses.replace(
        source, shapes={name: shape(keys) for name, keys in parts.items()}, read=read
    )


def _fields(source: Source) -> dict[str, Any]:
    """The fields of `CLIPVision`: sizes from the shapes, the rest from the folder's configuration.

    Raises:
      ValueError: the configuration names something that this module does not have.
    """
    encoder = image_encoder(source)
    hugging_face = "embeddings.class_embedding" in encoder.shapes
    patches, position, hidden = (
        (
            "embeddings.patch_embedding.weight",
            "embeddings.position_embedding.weight",
            "encoder.layers.0.mlp.fc1.weight",
        )
        if hugging_face
        else ("conv1.weight", "positional_embedding", "transformer.resblocks.0.mlp.c_fc.weight")
    )
    width, _, patch_size, _ = encoder.shape(patches)
    sizes = {
        "image_size": math.isqrt(encoder.shape(position)[0] - 1) * patch_size,
        "patch_size": patch_size,
        "width": width,
        "hidden": encoder.shape(hidden)[0],
        "num_layers": _num_layers(encoder.shapes) + 1,  # and the last, which is left out
    }
    configured = _of_open_clip if "model_cfg" in source.config else _of_hugging_face
    return {**sizes, **configured(source, width)}


def _of_hugging_face(source: Source, width: int) -> dict[str, Any]:
    config = source.config.get("vision_config", source.config)
    if (epsilon := config.get("layer_norm_eps", _EPSILON)) != _EPSILON:
        raise ValueError(
            f"{source.name} is a CLIP of another kind: layer_norm_eps is {epsilon!r}, not "
            f"{_EPSILON}"
        )
    # A configuration may leave out what is the default there; without one nothing is known.
    pixels = source.config.get("preprocessing", {})
    return {
        "num_heads": config.get("num_attention_heads", 12) if config else None,
        "activation": config.get("hidden_act", "quick_gelu") if config else None,
        "mean": tuple(pixels.get("image_mean", MEAN)),
        "std": tuple(pixels.get("image_std", STD)),
    }


def _of_open_clip(source: Source, width: int) -> dict[str, Any]:
    config = source.config["model_cfg"]
    vision, pixels = config["vision_cfg"], source.config.get("preprocess_cfg", {})
    if others := [name for name in ("act_kwargs", "norm_kwargs") if vision.get(name)]:
        raise ValueError(
            f"{source.name} is a CLIP of another kind: it sets {' and '.join(others)} of its "
            "image encoder"
        )
    return {
        "num_heads": width // vision.get("head_width", 64),
        "activation": "quick_gelu" if config.get("quick_gelu") else "gelu",
        "mean": tuple(pixels.get("mean", MEAN)),
        "std": tuple(pixels.get("std", STD)),
    }


def _inputs(module: CLIPVision) -> tuple[jax.ShapeDtypeStruct]:
    size = module.image_size
    return (jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),)


_QKV = rf"{_BLOCK}\.(?:self_)?attn\.in_proj"

# Keys of Hugging Face's CLIP or of the originals.
NETWORK = Network(
    module=CLIPVision,
    inputs=_inputs,
    fields=_fields,
    rules=(
        Rule(r"(?:embeddings\.)?class_embedding", "params/class_token"),
        Rule(r"embeddings\.position_embedding\.weight|positional_embedding", "params/position"),
        *conv_rules(r"(?:embeddings\.patch_embedding|conv1)", "patches"),
        *norm_rules(r"(?:pre_layrnorm|ln_pre)", "first_norm"),  # so misspelt there
        *norm_rules(rf"{_BLOCK}\.(?:layer_norm|ln_)1", r"block_\1/attention_norm"),
        Rule(rf"{_QKV}_weight", r"params/block_\1/attention/qkv/kernel", linear),
        Rule(rf"{_QKV}_bias", r"params/block_\1/attention/qkv/bias"),
        *linear_rules(rf"{_BLOCK}\.(?:self_)?attn\.out_proj", r"block_\1/attention/out"),
        *norm_rules(rf"{_BLOCK}\.(?:layer_norm|ln_)2", r"block_\1/feed_forward_norm"),
        *linear_rules(rf"{_BLOCK}\.mlp\.(?:fc1|c_fc)", r"block_\1/hidden"),
        *linear_rules(rf"{_BLOCK}\.mlp\.(?:fc2|c_proj)", r"block_\1/out"),
    ),
    # What follows the last block; and positions by their number, which older files keep.
    ignored=(
        r"post_layernorm\..*",
        r"ln_post\..*",
        r"proj",
        r"visual_projection\.weight",
        r"embeddings\.position_ids",
    ),
    prepare=image_encoder,
)
