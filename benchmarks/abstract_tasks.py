"""Tasks whose frozen networks are shapes alone, for programs that measure a step without weights.

The shapes are those of the published networks that a config reads: VGG16 and a recogniser in
Stage I's losses; T5-large, CLIP ViT-L/14 and ArcFace R100 in Stage II.
"""

import dataclasses
import functools
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.generation.encoders import Encoders, named_weights
from auface_jax.generation.stages import reference_features
from auface_jax.models import clip_vision, t5
from auface_jax.pretrained import arcface, vgg
from auface_jax.pretrained.text_encoders import EMBEDDED, load_text_encoder
from auface_jax.recognition.image_recognizer import build_recognizer
from auface_jax.runs.config_files import load_config_file
from auface_jax.training.losses.networks import LossNetwork, unit_nodes, vgg_features
from auface_jax.training.tasks.maskgit import MaskGITTask
from auface_jax.training.tasks.vqgan import VQGANTask

CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "configs"
KEY = jax.eval_shape(lambda: jax.random.key(0))


def load(name: str, preset: str) -> ConfigDict:
    """Loads a config of `configs/`."""
    return load_config_file(CONFIGS / f"{name}.py", preset)


def shape(*dimensions: int, dtype=np.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(dimensions, dtype)


def batch(rows: int, size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch of images of `size` pixels and texts of `length` tokens."""
    pixels = shape(rows, size, size, 3, dtype=np.uint8)
    return {
        "image": pixels,
        "reference": pixels,
        "reference_row": shape(rows, dtype=np.int32),
        "labels": shape(rows, 12, dtype=np.int8),
        "degrees": shape(rows, 12, dtype=np.int8),
        "intensities": shape(rows, 12),
        "text_tokens": shape(rows, length, dtype=np.int32),
        "text_mask": shape(rows, length, dtype=bool),
    }


def stage1_task(config: ConfigDict) -> VQGANTask:
    """Makes the task of Stage I with the shapes of its loss networks."""
    networks = {}
    if config.loss.perceptual:
        module = vgg.VGG16()
        variables = jax.eval_shape(module.init, KEY, shape(1, 224, 224, 3))
        networks["perceptual"] = LossNetwork("VGG16", vgg_features(module), variables, "")
    if config.loss.anatomical:
        of = load("au_image_loss", config.preset)
        module, crop = build_recognizer(of.model, 2), of.model.crop
        variables = jax.eval_shape(module.init, KEY, shape(1, crop, crop, 3))
        nodes = unit_nodes(module, of.data.size, crop)
        networks["anatomical"] = LossNetwork("ME-GraphAU", nodes, variables, "")
    return VQGANTask(config, config.num_steps, networks)


def stage2_task(config: ConfigDict, references: int) -> "AbstractStage2":
    """Makes the task of Stage II with the shapes of Stage I, encoders and cached references.

    Args:
      references: number of images of training people that are cached, if the config caches them.
    """
    named = named_weights(config)
    # T5's own tokenizer: only its size matters here.
    tokenizer = types.SimpleNamespace(vocab_size=32_100)
    if named.get("text", EMBEDDED) == EMBEDDED:
        tokenizer = load_tokenizer(config.data.tokenizer)
    of_stage1 = load("stage1", config.preset)
    task, size = stage1_task(of_stage1), of_stage1.data.size
    examples = {"image": shape(of_stage1.init_examples, size, size, 3, dtype=np.uint8)}
    weights = jax.eval_shape(lambda *a: task.export(task.init(*a)), KEY, examples)
    dtype = {"dtype": jnp.dtype(config.model.dtype)}
    of_clip = clip_vision.SIZES["ViT-L/14"] | {"activation": "quick_gelu"}
    if named.get("text") == EMBEDDED:
        text = load_text_encoder(EMBEDDED, units=True, **dtype).module
    else:
        text = t5.T5Encoder(**t5.SIZES["t5-large"], **dtype)
    published = {
        "text": text,
        "structure": clip_vision.CLIPVision(**of_clip, **dtype),
        "appearance": arcface.ArcFace(**arcface.SIZES["r100"], **dtype),
    }
    inputs = {
        "text": (shape(1, 8, dtype=np.int32), shape(1, 8, dtype=bool)),
        "structure": (shape(1, 224, 224, 3),),
        "appearance": (shape(1, 112, 112, 3),),
    }
    modules = {name: published[name] for name in named}
    variables = {
        name: jax.eval_shape(module.init, KEY, *inputs[name]) for name, module in modules.items()
    }
    encoders = Encoders(**modules, margin=config.data.margin)
    return AbstractStage2(
        config,
        config.num_steps,
        tokenizer,
        task.vqgan,
        weights,
        encoders,
        variables,
        {},
        references,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class AbstractStage2(MaskGITTask):
    """Task of Stage II without weights, see `stage2_task`."""

    references: int

    def load_frozen(self):
        frozen = {"stage1": self.stage1_weights, "encoders": self.encoder_weights}
        if not self.config.cache_references:
            return frozen
        size, dtype = self.vqgan.image_size, jnp.dtype(self.config.model.dtype)
        features = functools.partial(reference_features, self.vqgan, self.encoders)
        made = jax.eval_shape(features, frozen, shape(self.references, size, size, 3))
        kept = {
            name: one if name == "codes" else shape(*one.shape, dtype=dtype)
            for name, one in made.items()
        }
        return frozen | {"references": kept}
