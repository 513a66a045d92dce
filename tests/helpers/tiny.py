"""Configs, networks and data that are small enough to train in a test."""

import contextlib
import functools
import importlib.util
import os
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from auface_jax.data.build import builder
from auface_jax.models import quantizer
from auface_jax.runs import checkpoints
from auface_jax.training.log import Progress
from auface_jax.training.optimizers import optimizer
from auface_jax.training.tasks import vqgan as vqgan_task
from auface_jax.training.tasks.maskgit import MaskGITTask
from auface_jax.training.tasks.registry import make_task
from tests.helpers.small_dataset import write_folder

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

IMAGE_SIZE = 16

VQGAN_FIELDS = {
    "image_size": IMAGE_SIZE,
    "num_quantizers": 2,
    "codebook_size": 16,
    "latent_dim": 8,
    "channels": (8, 16),
    "patch": 2,
    "num_res_blocks": 1,
    "attention": False,
    "patch_skip": True,
    "dtype": "float32",
}
TEXT_FIELDS = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 16,
    "num_layers": 1,
    "num_heads": 2,
    "feed_forward": "gated-gelu",
}
TRANSFORMER_FIELDS = {
    "layout": "depth",
    "d_model": 16,
    "num_layers": 2,
    "num_heads": 2,
    "mlp_ratio": 2.0,
    "num_text_maps": 3,
}


def build_data(folder: Path) -> Path:
    """Builds a data set of flat-coloured pictures in `folder`; returns it.

    Eight people with five frames each; three of them are in test, since the held-out figures swap
    references between people.
    """
    labels = write_folder(folder.with_name(folder.name + "-images"), people=8, size=IMAGE_SIZE)
    builder.build(
        folder,
        source="folder",
        labels=str(labels),
        size=IMAGE_SIZE,
        fractions=(0.5, 0.125, 0.375),
        processes=1,
        progress=False,
    )
    return folder


def load_config(name: str, preset: str = "quickstart") -> ConfigDict:
    """Loads the config of a page in `configs/` at its full size."""
    # This module must not import `auface_jax.train`, which is `__main__` in its own process.
    spec = importlib.util.spec_from_file_location(f"full_{name}", CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(preset)


def _config(name: str, data: str, preset: str = "quickstart") -> ConfigDict:
    """Loads the config of a page in `configs/`, and sets the options that all tiny runs share."""
    config = load_config(name, preset)
    with config.unlocked():
        config.data.update({"source": "prebuilt", "dir": data, "size": IMAGE_SIZE})
        config.data.update({"buckets": (64,), "tokenizer": ""})
        if "text_weights" in config.model:  # a tiny T5 in place of the embedded encoder
            config.model.text_weights = ""
        config.update({"num_steps": 6, "batch_size": 4, "eval_images": 6, "log_every": 1})
        config.update({"checkpoint_every": 2, "sample_every": 4})
        config.optimizer.update({"warmup_steps": 1})
    return config


def stage1_config(preset: str = "quickstart", *, data: str = "") -> ConfigDict:
    """Stage I at 16 px."""
    config = _config("stage1", data, preset)
    config.model.update(VQGAN_FIELDS)
    config.init_examples = 20
    config.discriminator.update({"channels": 8, "num_layers": 1})
    return config


def stage2_config(preset: str = "quickstart", *, data: str = "") -> ConfigDict:
    """Stage II on top of `stage1_config`."""
    config = _config("stage2", data, preset)
    config.model.text_encoder.update(TEXT_FIELDS)
    config.model.face_encoder.update({"patch": 4, "channels": 8})
    config.model.transformer.update(TRANSFORMER_FIELDS | {"num_layers": 1})
    config.decode.update({"steps": 2, "temperature": 1.0})
    return config


def au_probe_config(preset: str = "quickstart", *, data: str = "") -> ConfigDict:
    """The probe that `stage2_config` requires."""
    config = _config("au_probe", data, preset)
    config.model.channels = (8, 8)
    return config


def au_image_config(preset: str = "quickstart", *, data: str = "") -> ConfigDict:
    """The image recogniser at 16 px, with three of its steps in stage 1."""
    config = _config("au_image", data, preset)
    config.model.backbone_fields.update({"channels": (8, 16), "depths": (1, 1)})
    config.model.update({"width": 8, "crop": IMAGE_SIZE})
    config.augment.shift = 1
    config.stage1_steps = 3
    return config


def au_image_loss_config(preset: str = "quickstart", *, data: str = "") -> ConfigDict:
    """The image recogniser with the role `loss`."""
    config = au_image_config(preset, data=data)
    config.update({"role": "loss", "seed": 4})
    config.people.half = "first"
    return config


def au_text_config(preset: str = "quickstart", *, data: str = "") -> ConfigDict:
    """The text recogniser with the text encoder of `stage2_config`."""
    config = _config("au_text", data, preset)
    config.model.text_encoder.update(TEXT_FIELDS)
    config.model.width = 16
    config.data.buckets = (64, 128)
    return config


def write_config_files(
    folder: Path, data: Path, names: tuple[str, ...] = ("stage1", "stage2", "au_probe")
) -> Path:
    """Writes tiny versions of the config pages to `folder`, for commands; returns the folder."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(
            "import functools\nfrom tests.helpers import tiny\n"
            f"get_config = functools.partial(tiny.{name}_config, data={str(data)!r})\n"
        )
    return folder


def command_environment() -> dict[str, str]:
    """Returns the environment of a command that must import the modules of this checkout."""
    return os.environ | {"PYTHONPATH": str(CONFIGS.parent)}


def images(count: int, *, seed: int = 0) -> np.ndarray:
    """Draws smooth random uint8 pictures [count, 16, 16, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 4, 3))
    noise = rng.uniform(-5, 5, (count, IMAGE_SIZE, IMAGE_SIZE, 3))
    smooth = coarse.repeat(4, axis=1).repeat(4, axis=2) + noise
    return np.clip(smooth, 0, 255).astype(np.uint8)


def records(count: int, *, length: int = 6, vocab_size: int = 50) -> dict[str, np.ndarray]:
    """Draws a batch with random pictures, labels and text tokens."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(2, length + 1, count)
    return {
        "image": images(count),
        "reference": images(count, seed=2),
        "labels": (labels := rng.integers(0, 2, (count, 12)).astype(np.int8)),
        "intensities": labels * rng.uniform(0.1, 1.0, labels.shape).astype(np.float32),
        "text_tokens": rng.integers(1, vocab_size, (count, length)).astype(np.int32),
        "text_mask": np.arange(length) < lengths[:, None],
        "degrees": labels * rng.integers(0, 6, labels.shape).astype(np.int8),
    }


@functools.cache
def stage1_state():
    """Draws the state of step 0 of `stage1_config`."""
    # The cache serves all tests of a process, so a test's own optimiser must not enter it.
    with mock.patch.object(vqgan_task, "optimizer", optimizer):
        return jax.jit(make_task(stage1_config(), 10).init)(jax.random.key(0), records(20))


def awake(state, task):
    """Adds noise to a Stage I generator, so that its last convolution is no longer zero.

    The returned state has new optimizer states, those of `task`.
    """
    rng = np.random.default_rng(0)
    generator = jax.tree.map(
        lambda p: np.asarray(p) + rng.normal(0, 0.05, p.shape).astype(np.float32),
        state.params["generator"],
    )
    params = state.params | {"generator": generator}
    opt_state = {name: jax.jit(task.optimizers[name].init)(params[name]) for name in params}
    return state.replace(params=params, opt_state=opt_state)


def random_stage1():
    """Builds the VQGAN of `stage1_config` with random weights; returns module and weights."""
    vqgan = make_task(stage1_config(), 10).vqgan
    key, z = jax.random.key(0), jnp.zeros((1, vqgan.grid, vqgan.grid, vqgan.latent_dim))
    image = jnp.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3))
    params = {
        "encoder": jax.jit(vqgan.encoder.init)(key, image)["params"],
        "decoder": jax.jit(vqgan.decoder.init)(key, z)["params"],
    }
    # The linear path gives different vectors for different pictures even without training.
    codes = jax.random.normal(key, (vqgan.num_quantizers, vqgan.codebook_size, vqgan.latent_dim))
    counts = jnp.full(codes.shape[:2], 1 / vqgan.codebook_size)
    books = quantizer.Codebooks(codes, counts, codes * counts[..., None])
    return vqgan, {"params": params, "codebooks": books}


def random_params(init, *arguments, spread: float = 0.3, seed: int = 0, **inputs):
    """Draws parameters with the shapes of a module's `init`, large enough that inputs matter.

    Tests that hold for any weights use it, since compiling `init` would take as long as the test.
    """
    shapes = nn.unbox(jax.eval_shape(init, jax.random.key(0), *arguments, **inputs)["params"])
    return _drawn(shapes, spread, seed)


def _drawn(shapes, spread: float, seed: int):
    """Draws random leaves: scales of norms around 1, everything else around 0."""
    rng = np.random.default_rng(seed)

    def leaf_at(path, leaf):
        around = 1.0 if path[-1].key == "scale" else 0.0
        return rng.normal(around, spread, leaf.shape).astype(leaf.dtype)

    return jax.tree.map_with_path(leaf_at, shapes)


def stage2_task(config: ConfigDict):
    """Builds the task of a Stage II config on `random_stage1`."""
    return MaskGITTask.on_stage1(config, 10, random_stage1())


def random_state(task, batch, *, spread: float = 0.1, seed: int = 0):
    """Draws a state with the shapes of `task.init`: random parameters, zeros everywhere else.

    The averaged parameters equal the parameters.
    """
    state = jax.eval_shape(task.init, jax.random.key(0), batch)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
    params = _drawn(state.params, spread, seed)
    return zeros.replace(params=params, ema_params=params)


class Killed(Exception):
    """The simulated kill in `killed_at`."""


@contextlib.contextmanager
def killed_at(step: int):
    """A context in which training is killed when it reports `step`; fails if it is not."""
    savers = []

    class Checkpoints(checkpoints.Checkpoints):
        def __init__(self, *args):
            super().__init__(*args)
            savers.append(self)

    def die(self, reported, values):
        if reported == step:
            raise Killed
        return {}

    with (
        mock.patch.object(checkpoints, "Checkpoints", Checkpoints),
        mock.patch.object(Progress, "report", die),
        pytest.raises(Killed),
    ):
        yield
    for saver in savers:  # a real kill also ends the threads that write checkpoints
        saver.close()
