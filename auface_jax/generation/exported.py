"""Export of a finished Stage II run as files that other programs load."""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import export as jax_export
from jaxtyping import Array, UInt8, UInt32
from safetensors.numpy import save_file

from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.generation.generator import Generator
from auface_jax.generation.stages import generate_batch
from auface_jax.models.quantizer import Codebooks
from auface_jax.ops.attention import without_cudnn
from auface_jax.runs.json_files import read_object

PLATFORMS = ("cpu", "cuda", "tpu")
FORMAT_VERSION = 2

_UNFINISHED = "unfinished"  # file that marks a folder as an incomplete export


def flat_weights(weights: dict[str, Any]) -> dict[str, Array]:
    """Flattens weights {"params", "stage1", "encoders"} to arrays by their paths."""
    stage1 = weights["stage1"]
    books = {
        field.name: getattr(stage1["codebooks"], field.name)
        for field in dataclasses.fields(stage1["codebooks"])
    }
    tree = weights | {"stage1": stage1 | {"codebooks": books}}
    return flatten_dict(tree, sep="/")


def nested_weights(flat: dict[str, Array]) -> dict[str, Any]:
    """Nests arrays by their paths, the inverse of `flat_weights`."""
    tree = {"encoders": {}} | unflatten_dict(flat, sep="/")
    tree["stage1"]["codebooks"] = Codebooks(**tree["stage1"]["codebooks"])
    return tree


def generation_program(generator: Generator, batch: int) -> tuple[jax_export.Exported, list[dict]]:
    """Exports the program that generates images.

    program(weights, reference, text_tokens, text_mask, seeds) -> uint8 images [B, S, S, 3]; a run
    that reads labels takes `labels` in place of the two texts. Image i is the first one that
    `Generator` generates for `seeds[i]`.

    Args:
      generator: a finished run.
      batch: number of images B.

    Returns:
      The program, and a description of its arguments after the weights.
    """
    size, length = generator.vqgan.image_size, max(generator.config.data.buckets)
    options = DecodeOptions(**generator.config.decode)
    description = ("labels",) if generator.model.label_tokens else ("text_tokens", "text_mask")
    shapes = {
        "reference": ((batch, size, size, 3), jnp.uint8),
        "text_tokens": ((batch, length), jnp.int32),
        "text_mask": ((batch, length), jnp.bool_),
        "labels": ((batch, 12), jnp.int8),
        "seeds": ((batch,), jnp.uint32),
    }
    names = ("reference", *description, "seeds")

    def generate(weights, *arguments):
        records = dict(zip(names, arguments, strict=True))
        seeds: UInt32[Array, " B"] = records.pop("seeds")
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 0))(seeds)
        images: UInt8[Array, "B S S 3"] = generate_batch(
            generator.networks,
            options,
            nested_weights(weights),
            records,
            jax.random.key_data(keys),
        )
        return images

    weights = {
        path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for path, leaf in flat_weights(generator.weights).items()
    }
    arguments = [jax.ShapeDtypeStruct(*shapes[name]) for name in names]
    with without_cudnn():
        program = jax_export.export(jax.jit(generate), platforms=PLATFORMS)(weights, *arguments)
    described = [
        {"name": name, "shape": list(leaf.shape), "dtype": str(leaf.dtype)}
        for name, leaf in zip(names, arguments, strict=True)
    ]
    return program, described


def export_run(run: str, out: str | pathlib.Path, *, batch: int = 1) -> pathlib.Path:
    """Writes a finished Stage II run as files for other programs.

    The files are `checkpoint/`, `weights.safetensors`, `generate.jax` (see `generation_program`),
    `tokenizer.json`, and last `config.json`, which marks the export as complete.

    Args:
      run: a finished Stage II run.
      out: a new or empty folder, or an earlier export, whose files are replaced.
      batch: number of images that the program generates at once.

    Returns:
      The folder.

    Raises:
      ValueError: `out` is something else, such as a run's own export; nothing is written then.
      checkpoints.CheckpointError: see `Generator.from_run`.
    """
    folder = pathlib.Path(out).resolve()
    check_folder(folder)
    generator = Generator.from_run(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _UNFINISHED).touch()
    (folder / "config.json").unlink(missing_ok=True)
    flat = flat_weights(generator.weights)
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save(folder / "checkpoint", unflatten_dict(flat, sep="/"), force=True)
    checkpointer.wait_until_finished()
    checkpointer.close()
    arrays = {path: np.ascontiguousarray(leaf) for path, leaf in jax.device_get(flat).items()}
    save_file(arrays, folder / "weights.safetensors", metadata={"format": "flax"})
    program, arguments = generation_program(generator, batch)
    (folder / "generate.jax").write_bytes(program.serialize())
    (folder / "tokenizer.json").write_text(generator.tokenizer.definition)
    described = {
        "format_version": FORMAT_VERSION,
        "jax": jax.__version__,
        "platforms": PLATFORMS,
        "arguments": arguments,
        "pad_id": generator.tokenizer.pad_id,
        "run": json.loads(generator.config.to_json_best_effort()),
    }
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    (folder / _UNFINISHED).unlink()
    return folder


def check_folder(folder: pathlib.Path) -> None:
    """Checks that an export into a folder would not replace other files.

    Args:
      folder: a resolved path.

    Raises:
      ValueError: the path is a run's own export, a file, or a folder with other files.
    """
    cure = "give a new or empty folder, or an earlier export by this command"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; {cure}")
    if folder.name == "export" and any(
        _has(parent / "config.json", "task") for parent in (folder.parent, folder)
    ):
        raise ValueError(
            f"{folder} is the run's own export, which the run needs to generate images; {cure}"
        )
    if folder.exists() and any(folder.iterdir()):
        earlier = _has(folder / "config.json", "arguments", "pad_id", "run")
        if not earlier and not (folder / _UNFINISHED).exists():
            raise ValueError(f"{folder} is not empty and not an earlier export; {cure}")


def _has(path: pathlib.Path, *names: str) -> bool:
    """Returns True if a JSON file exists and its object has all of these names."""
    try:
        return set(names) <= read_object(path, ValueError).keys()
    except (ValueError, OSError):
        return False
