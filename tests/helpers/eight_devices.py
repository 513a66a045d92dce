"""Trains a few steps on meshes of eight simulated devices and prints the results as JSON.

    python tests/helpers/eight_devices.py TASK STEPS MESH,MESH...

TASK is stage1, stage1_float64, stage2, au_text, au_image (half of the steps in each of its stages)
or au_probe. A mesh is data x fsdp x tensor, as in 2x2x2. The first mesh must be one device, 1x1x1;
the other meshes are compared with it. The results of each mesh are:

- the metrics of every step;
- the relative distance of each leaf of the state after the first step from that on one device;
- the number of token positions that differ in each step, and how near the codes of the first step
  were to a tie;
- bytes on a device, and the collectives of the compiled step.
"""

import functools
import json
import os
import pathlib
import re
import sys
import tempfile

flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in f]
os.environ["XLA_FLAGS"] = " ".join([*flags, "--xla_force_host_platform_device_count=8"])

import jax  # reads the flags
import jax.numpy as jnp

FLOAT64 = sys.argv[1].endswith("_float64")
if FLOAT64:
    # The package names its dtype `jnp.float32`; this replaces it before any import reads it.
    jax.config.update("jax_enable_x64", True)
    jnp.float32 = jnp.float64

import numpy as np
from jax.sharding import AxisType

from auface_jax.images import pixels
from auface_jax.models import codebook_learning
from auface_jax.parallel import sharding
from auface_jax.recognition.image_recognizer import build_recognizer
from auface_jax.runs import checkpoints
from auface_jax.training.losses import units
from auface_jax.training.losses.networks import LossNetwork, unit_nodes
from auface_jax.training.tasks.registry import make_task
from auface_jax.training.tasks.vqgan import VQGANTask
from benchmarks import program_cost
from tests.helpers import tiny

BATCH_SIZE = 8
VOCABULARY = 2400


def make(name: str, steps: int):
    """Builds the task of a tiny config, with AdamW, since Muon would take half of a step."""
    config = getattr(tiny, f"{name}_config")()
    with config.unlocked():
        config.batch_size, config.optimizer.muon_lr_multiplier = BATCH_SIZE, 0.0
    if name == "stage1":
        config.gan.update({"weight": 0.5, "start_step": 0})
        config.discriminator_optimizer.learning_rate = 1e-4
    if FLOAT64:
        config.model.dtype = "float64"
        config.loss.update({"perceptual": 0.5, "anatomical": 2.0})
        config.anatomical.update({"threshold": 2.0, "start_step": 5})
    if name == "stage2":
        run = pathlib.Path(tempfile.mkdtemp())
        checkpoints.save_export(run, tiny.random_stage1()[1], tiny.stage1_config(), {})
        config.requires.stage1.run = str(run)
    if name == "au_image":
        config.stage1_steps = steps // 2
    if FLOAT64:
        return VQGANTask(config, 100, loss_networks())
    return make_task(config, 100)


def loss_networks() -> dict[str, LossNetwork]:
    """Builds one random recogniser as the loss network of both losses between features."""
    config = tiny.au_image_loss_config()
    config.model.dtype = "float64"
    module = build_recognizer(config.model, 1)
    variables = jax.jit(module.init)(jax.random.key(5), pixels.to_float(tiny.images(1)))

    def picture_map(variables, image):
        return module.apply(variables, image, method="unit_maps")[0]

    nodes = unit_nodes(module, config.data.size, config.model.crop)
    return {
        "perceptual": LossNetwork("picture map", picture_map, variables, ""),
        "anatomical": LossNetwork("unit nodes", nodes, variables, ""),
    }


def with_codes(step):
    """Wraps a step, so that it also returns the vectors before quantisation and their tokens."""

    def watched(state, frozen, batch, rng):
        seen, update = {}, codebook_learning.update

        def noted(codebooks, z, ids, *rest, **options):
            seen.update(z=z, ids=ids)
            return update(codebooks, z, ids, *rest, **options)

        codebook_learning.update = noted
        try:
            state, metrics = step(state, frozen, batch, rng)
        finally:
            codebook_learning.update = update
        return state, (metrics, seen)

    return watched


def distances(found, wanted) -> dict[str, float]:
    """Computes leaf -> |difference| / norm of the leaf.

    The denominator is at least a tenth of the norm of the whole tree.
    """
    total = np.sqrt(sum(float(np.square(leaf).sum()) for leaf in jax.tree.leaves(wanted)))
    return {
        jax.tree_util.keystr(path): float(
            np.linalg.norm(np.asarray(a, float) - b) / max(np.linalg.norm(b), 1e-1 * total, 1e-30)
        )
        for (path, a), b in zip(
            jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True
        )
    }


def train(task, start, frozen, shape, steps):
    """Trains on one mesh.

    Returns:
      the state after the first step, the tokens of each step, and the results of this mesh.
    """
    devices = np.array(jax.devices()[: np.prod(shape)]).reshape(shape)
    mesh = jax.sharding.Mesh(devices, sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    rules, batch = task.config.mesh.rules, tiny.records(BATCH_SIZE, vocab_size=VOCABULARY)
    with sharding.mesh_context(mesh, rules):
        shardings, of_frozen = (
            sharding.state_shardings(jax.eval_shape(lambda t=tree: t), mesh, rules)
            for tree in (start, frozen)
        )
        examples = sharding.batch_sharding(mesh, rules)
        state, frozen = (
            jax.tree.map(jax.device_put, tree, places)
            for tree, places in ((start, shardings), (frozen, of_frozen))
        )
        batch = sharding.put_batch(batch, mesh, rules)

        @functools.cache
        def compiled_step(step_fn):
            program = jax.jit(
                with_codes(step_fn),
                in_shardings=(shardings, of_frozen, examples, None),
                out_shardings=(shardings, None),
            )
            return program.lower(state, frozen, batch, jax.random.key(3)).compile()

        reports, first, codes = [], None, []
        for number in range(1, steps + 1):
            key = jax.random.fold_in(jax.random.key(3), number)
            program = compiled_step(task.step_fn(number))
            state, (metrics, seen) = program(state, frozen, batch, key)
            reports.append({name: float(value) for name, value in metrics.items()})
            codes.append(jax.device_get(seen))
            first = first or jax.device_get(state)
    text = program.as_text()
    # optax's learning rates and the positions of a resize are float32; matrices must not be.
    if FLOAT64 and (narrow := re.findall(r"f32\[\d+,[\d,]+\]", text)):
        raise AssertionError(f"the step computes in float32: {set(narrow)}")
    found = program_cost.collectives(text, mesh.size)
    part, whole = program_cost.bytes_on_a_device(jax.eval_shape(lambda: start), shardings)
    result = {"reports": reports, "bytes": part, "all_bytes": whole}
    result["collectives"] = [[c.kind, c.shapes, c.size, c.group, n] for c, n in found.items()]
    return first, codes, result


def ties(codes, wanted, books) -> list[float]:
    """Computes the relative difference of both squared distances for each differing token."""
    z, levels = wanted["z"].reshape(-1, wanted["z"].shape[-1]), wanted["ids"].shape[-1]
    ours, theirs = (c["ids"].reshape(-1, levels) for c in (codes, wanted))
    margins = []
    for position in np.flatnonzero((ours != theirs).any(-1)):
        level = int(
            np.argmax(ours[position] != theirs[position])
        )  # deeper levels differ as a consequence
        above = sum(books[q, theirs[position, q]] for q in range(level))
        far, near = (
            np.square(z[position] - above - books[level, ids[position, level]]).sum()
            for ids in (ours, theirs)
        )
        margins.append(float(abs(far - near) / near))
    return margins


def main() -> None:
    """Trains on every mesh of the command line and prints the results."""
    name, steps, meshes = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
    sharding.MIN_SHARDED_SIZE = 64
    task, examples = (
        make(name.removesuffix("_float64"), steps),
        tiny.records(20, vocab_size=VOCABULARY),
    )
    if name == "au_image":  # the task would read the labels of a data set
        frozen = {"unit_weights": units.unit_weights(examples["labels"])}
    else:
        frozen = task.load_frozen()
    start = jax.device_get(jax.jit(task.init)(jax.random.key(3), examples))
    results, alone = {}, None
    for mesh in meshes:
        shape = tuple(map(int, mesh.split("x")))
        first, codes, result = train(task, start, frozen, shape, steps)
        if alone is None:
            alone = first, codes
        result["distances"] = distances(first.opt_state, alone[0].opt_state)
        result["distances"] |= distances(first.variables, alone[0].variables)
        if "codebooks" in start.variables:
            books = np.asarray(start.variables["codebooks"].codes)
            result["ties"] = ties(codes[0], alone[1][0], books)
            result["other_codes"] = [
                int((ours["ids"] != theirs["ids"]).any(-1).sum())
                for ours, theirs in zip(codes, alone[1], strict=True)
            ]
        results[mesh] = result
    print(json.dumps(results))


if __name__ == "__main__":
    main()
