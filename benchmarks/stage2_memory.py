"""What Stage II of a preset needs of each device.

    python benchmarks/stage2_memory.py --preset paper --shapes

Shapes alone: no weights are read and nothing is run. Parameters, their moments and averages and the
frozen encoders are counted to the byte as `mesh.fsdp` lays them out. Without `--shapes` the step of
one device's rows is compiled too, for the platform of this process, and XLA's account added.
"""

import argparse
import math
import pathlib

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh
from ml_collections import ConfigDict

from auface_jax import sharding
from auface_jax.encoders import Encoders
from auface_jax.models.quantizer import Codebooks
from auface_jax.models.vqgan import VQGAN
from auface_jax.pretrained import arcface, clip_vision, t5
from auface_jax.run_config import load_config_file
from auface_jax.synthesis import reference_features
from auface_jax.tasks.maskgit import MaskGITTask

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
CARD = 24  # GiB, of each of the paper's eight
PEOPLE = 181  # of BP4D and BP4D+, a reference each
GIBIBYTE = 2**30


def abstract_task(config: ConfigDict, stage1: ConfigDict) -> MaskGITTask:
    """The task with shapes in place of all frozen weights: T5-large, CLIP ViT-L/14, ArcFace R100
    where the config names weights."""
    vqgan, key = VQGAN(**stage1.model.to_dict()), jax.random.key(0)
    size, side = vqgan.image_size, vqgan.grid
    shapes = lambda module, *inputs: jax.eval_shape(module.init, key, *inputs)  # noqa: E731
    z = jnp.zeros((1, side, side, vqgan.latent))
    params = {
        "encoder": shapes(vqgan.encoder, jnp.zeros((1, size, size, 3)))["params"],
        "decoder": shapes(vqgan.decoder, z)["params"],
    }
    books = jax.ShapeDtypeStruct((vqgan.levels, vqgan.codes, vqgan.latent), jnp.float32)
    counts = jax.ShapeDtypeStruct((vqgan.levels, vqgan.codes), jnp.float32)
    dtype = jnp.dtype(config.model.dtype)
    tokens = jnp.zeros((1, 128), jnp.int32)
    every = {
        "text": (t5.T5Encoder(**t5.SIZES["t5-large"], dtype=dtype), tokens, tokens == 0),
        "structure": (
            clip_vision.CLIPVision(
                **clip_vision.SIZES["ViT-L/14"], activation="quick_gelu", dtype=dtype
            ),
            jnp.zeros((1, 224, 224, 3)),
        ),
        "appearance": (
            arcface.ArcFace(**arcface.SIZES["r100"], dtype=dtype),
            jnp.zeros((1, 112, 112, 3)),
        ),
    }
    named = {name: made for name, made in every.items() if config.model[f"{name}_weights"]}
    variables = {name: shapes(*made) for name, made in named.items()}
    encoders = Encoders(**{name: made[0] for name, made in named.items()})
    with config.unlocked():
        config.data.tokenizer = ""  # its size is T5's where there is T5
    task = MaskGITTask(config, config.num_steps)
    task.__dict__["stage1"] = (
        vqgan,
        {"params": params, "codebooks": Codebooks(books, counts, books)},
    )
    task.__dict__["loaded_encoders"] = (encoders, variables, {})
    return task


def frozen_of(task: MaskGITTask) -> dict:
    """What the step reads, references' features included where they are cached."""
    frozen = {"stage1": task.stage1[1], "encoders": task.loaded_encoders[1]}
    if task.config.cache_references:
        size = task.vqgan.image_size
        images = jax.ShapeDtypeStruct((PEOPLE, size, size, 3), jnp.float32)
        frozen["references"] = jax.eval_shape(
            lambda weights, images: reference_features(task.vqgan, task.encoders, weights, images),
            frozen,
            images,
        )
    return frozen


def batch_of(task: MaskGITTask, rows: int) -> dict:
    """A batch with the longest texts."""
    size, length = task.vqgan.image_size, max(task.config.data.buckets)
    fields = {
        "image": ((size, size, 3), jnp.uint8),
        "reference": ((size, size, 3), jnp.uint8),
        "reference_row": ((), jnp.int32),
        "labels": ((12,), jnp.int8),
        "text_tokens": ((length,), jnp.int32),
        "text_mask": ((length,), jnp.bool_),
    }
    return {
        name: jax.ShapeDtypeStruct((rows, *shape), dtype) for name, (shape, dtype) in fields.items()
    }


def on_a_device(tree, devices: int, rules) -> int:
    """Bytes of a tree on each of so many devices, which share one copy."""
    mesh = AbstractMesh((1, devices, 1), sharding.AXES)
    shardings = sharding.state_shardings(tree, mesh, rules)
    return sum(
        math.prod(placed.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf, placed in zip(jax.tree.leaves(tree), jax.tree.leaves(shardings), strict=True)
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def table(preset: str, counts: tuple[int, ...] = (1, 2, 4, 8), *, compiled: bool = True) -> str:
    """A Markdown table: a row for each number of devices; GiB of each of them."""
    stage1 = load_config_file(CONFIGS / "stage1.py", preset)
    config = load_config_file(CONFIGS / "stage2.py", preset)
    task, key = abstract_task(config, stage1), jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(task.init, key, batch_of(task, 1))
    frozen, rules = frozen_of(task), config.mesh.rules
    columns = ["devices", "rows", "state", "frozen"]
    lines = []
    for devices in counts:
        rows = config.batch_size // devices
        parts = [on_a_device(tree, devices, rules) for tree in (state, frozen)]
        if compiled:
            with config.unlocked():
                config.mask_group = min(config.mask_group, rows)
            step = jax.jit(task.step, donate_argnums=0)
            account = step.lower(state, frozen, batch_of(task, rows), key).compile()
            parts.append(account.memory_analysis().temp_size_in_bytes)
        total = sum(parts) / GIBIBYTE
        shown = [f"{part / GIBIBYTE:.2f}" for part in parts]
        fits = "yes" if total < CARD else "no"
        lines.append([str(devices), str(rows), *shown, *([f"{total:.2f}", fits] * compiled)])
    columns += ["beside them", "in all", f"under {CARD} GiB"] * compiled
    tokens = task.vqgan.grid**2 * task.vqgan.levels
    head = f"{preset}: {tokens:,} tokens, texts of {max(config.data.buckets):,}; GiB a device" + (
        f", compiled for {jax.default_backend()}" if compiled else ""
    )
    rows_ = [columns, ["---"] * len(columns), *lines]
    return head + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows_)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/stage2_memory.py", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--shapes", action="store_true", help="compile nothing")
    options = parser.parse_args(arguments)
    print(table(options.preset, compiled=not options.shapes))


if __name__ == "__main__":
    main()
