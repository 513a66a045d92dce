"""Table of CLIP's image encoder with OpenAI's weights or OpenCLIP's: ViT-B/32 to ViT-L/14.

    python -m auface_jax.pretrained.convert clip-vision clip-vit-large-patch14/ weights/clip

The network itself is `models/clip_vision.py`.
"""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from auface_jax.models.clip_vision import EPSILON, MEAN, STD, CLIPVision
from auface_jax.pretrained.tables import (
    Network,
    Rule,
    conv_rules,
    linear,
    linear_rules,
    norm_rules,
)
from auface_jax.pretrained.weight_files import Source

# Prefixes of the image encoder's keys in a whole CLIP, image and text.
_PREFIXES = ("vision_model.", "visual.")
_BLOCK = r"(?:encoder\.layers|transformer\.resblocks)\.(\d+)"
_LAYER = re.compile(rf"{_BLOCK}\..*")
_QUERY = re.compile(r"(.*\.self_attn\.)q(_proj\.)(weight|bias)")


def _num_layers(keys: Iterable[str]) -> int:
    """Returns the number of blocks that keys belong to."""
    return 1 + max((int(match[1]) for key in keys if (match := _LAYER.fullmatch(key))), default=-1)


def image_encoder(source: Source) -> Source:
    """Selects the tensors of the image encoder, in the form of the originals.

    The text encoder and the last block are left out, prefixes are cut off, and Hugging Face's three
    projections of an attention are joined to one, `in_proj`.
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
            # Incomplete projections stay as they are, and the table reports them.
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
    """Reads the fields of `CLIPVision`: sizes from shapes, the others from the configuration.

    Raises:
      ValueError: the configuration has an option that this module does not implement.
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
    configured = _open_clip_fields if "model_cfg" in source.config else _hugging_face_fields
    return {**sizes, **configured(source, width)}


def _hugging_face_fields(source: Source, width: int) -> dict[str, Any]:
    """Reads the fields that a Hugging Face configuration holds."""
    config = source.config.get("vision_config", source.config)
    if (epsilon := config.get("layer_norm_eps", EPSILON)) != EPSILON:
        raise ValueError(
            f"{source.name} is an unknown variant of CLIP: layer_norm_eps is {epsilon!r}, not "
            f"{EPSILON}"
        )
    # A configuration may leave out its defaults; without a configuration the fields are unknown.
    pixels = source.config.get("preprocessing", {})
    return {
        "num_heads": config.get("num_attention_heads", 12) if config else None,
        "activation": config.get("hidden_act", "quick_gelu") if config else None,
        "mean": tuple(pixels.get("image_mean", MEAN)),
        "std": tuple(pixels.get("image_std", STD)),
    }


def _open_clip_fields(source: Source, width: int) -> dict[str, Any]:
    """Reads the fields that an OpenCLIP configuration holds."""
    config = source.config["model_cfg"]
    vision, pixels = config["vision_cfg"], source.config.get("preprocess_cfg", {})
    if others := [name for name in ("act_kwargs", "norm_kwargs") if vision.get(name)]:
        raise ValueError(
            f"{source.name} is an unknown variant of CLIP: it sets {' and '.join(others)} of its "
            "image encoder"
        )
    return {
        "num_heads": width // vision.get("head_width", 64),
        "activation": "quick_gelu" if config.get("quick_gelu") else "gelu",
        "mean": tuple(pixels.get("mean", MEAN)),
        "std": tuple(pixels.get("std", STD)),
    }


def _inputs(module: CLIPVision) -> tuple[jax.ShapeDtypeStruct]:
    """Returns shape and dtype of the module's input."""
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
    # Layers after the last block, and the numbers of positions that some files hold.
    ignored=(
        r"post_layernorm\..*",
        r"ln_post\..*",
        r"proj",
        r"visual_projection\.weight",
        r"embeddings\.position_ids",
    ),
    prepare=image_encoder,
)
