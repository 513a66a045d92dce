"""Trains a few steps on meshes of eight simulated devices and prints what came out, as JSON.

    python tests/eight_devices.py stage1|stage2|au_text STEPS MESH,MESH...

A mesh is data x fsdp x tensor, as in 2x2x2; the first of them is one device, 1x1x1, with which the
others are compared. For each: the losses of every step; for each leaf of the state after the first
step how far it is from that of one device, as a share of its norm; codes that differ, with how near
a tie they were; bytes; and what the devices send each other.
"""

import json
import os
import pathlib
import sys
import tempfile

flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in f]
os.environ["XLA_FLAGS"] = " ".join([*flags, "--xla_force_host_platform_device_count=8"])

import jax  # noqa: E402 - reads the flags
import numpy as np  # noqa: E402
import tiny  # noqa: E402
from jax.sharding import AxisType  # noqa: E402

from auface_jax import checkpoints, compiled, sharding  # noqa: E402
from auface_jax.models import quantizer  # noqa: E402
from auface_jax.tasks import make_task  # noqa: E402

ROWS = 8
VOCABULARY = 2400


def make(name: str):
    """The task of a tiny config, AdamW in place of Muon: whose products are half of a step here."""
    config = getattr(tiny, f"{name}_config")()
    with config.unlocked():
        config.batch_size, config.optimizer.muon = ROWS, 0.0
    if name == "stage1":
        config.gan.update({"weight": 0.5, "start_step": 0})
        config.discriminator_optimizer.learning_rate = 1e-4
    if name == "stage2":
        run = pathlib.Path(tempfile.mkdtemp())
        checkpoints.save_export(run, tiny.random_stage1()[1], tiny.stage1_config(), {})
        config.requires.stage1.run = str(run)
    return make_task(config, 100)


def with_codes(step):
    """The step, its metrics with the vectors before quantisation and their codes."""

    def watched(state, frozen, batch, rng):
        seen, update = {}, quantizer.update

        def noted(codebooks, z, ids, *rest, **options):
            seen.update(z=z, ids=ids)
            return update(codebooks, z, ids, *rest, **options)

        quantizer.update = noted
        try:
            state, metrics = step(state, frozen, batch, rng)
        finally:
            quantizer.update = update
        return state, (metrics, seen)

    return watched


def distances(found, wanted) -> dict[str, float]:
    """Leaf -> |difference| over its norm, or over a millionth of the tree's where it is larger."""
    total = np.sqrt(sum(float(np.square(leaf).sum()) for leaf in jax.tree.leaves(wanted)))
    return {
        jax.tree_util.keystr(path): float(
            np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-1 * total, 1e-30)
        )
        for (path, a), b in zip(
            jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True
        )
    }


def train(task, start, frozen, shape, steps):
    """What one mesh gives, and its state after the first step."""
    devices = np.array(jax.devices()[: np.prod(shape)]).reshape(shape)
    mesh = jax.sharding.Mesh(devices, sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    rules, batch = task.config.mesh.rules, tiny.records(ROWS, vocab_size=VOCABULARY)
    with sharding.placed(mesh, rules):
        shardings, of_frozen = (
            sharding.state_shardings(jax.eval_shape(lambda t=tree: t), mesh, rules)
            for tree in (start, frozen)
        )
        rows = sharding.batch_sharding(mesh, rules)
        program = jax.jit(
            with_codes(task.step),
            in_shardings=(shardings, of_frozen, rows, None),
            out_shardings=(shardings, None),
        )
        state, frozen = (
            jax.tree.map(jax.device_put, tree, places)
            for tree, places in ((start, shardings), (frozen, of_frozen))
        )
        batch = sharding.put_batch(batch, mesh, rules)
        program = program.lower(state, frozen, batch, jax.random.key(3)).compile()
        reports, first, codes = [], None, None
        for number in range(steps):
            key = jax.random.fold_in(jax.random.key(3), number)
            state, (metrics, seen) = program(state, frozen, batch, key)
            reports.append({name: float(value) for name, value in metrics.items()})
            if first is None:
                first, codes = jax.device_get((state, seen))
    found = compiled.collectives(program.as_text(), mesh.size)
    part, whole = compiled.bytes_on_a_device(jax.eval_shape(lambda: start), shardings)
    result = {"reports": reports, "bytes": part, "all_bytes": whole}
    result["collectives"] = [[c.kind, c.shapes, c.size, c.group, n] for c, n in found.items()]
    return first, codes, result


def ties(codes, wanted, books) -> list[float]:
    """For each code that differs, how much farther the one is than the other, as a share."""
    if not codes:
        return []
    z, levels = wanted["z"].reshape(-1, wanted["z"].shape[-1]), wanted["ids"].shape[-1]
    ours, theirs = (c["ids"].reshape(-1, levels) for c in (codes, wanted))
    margins = []
    for position in np.flatnonzero((ours != theirs).any(-1)):
        level = int(np.argmax(ours[position] != theirs[position]))  # what follows, follows from it
        above = sum(books[q, theirs[position, q]] for q in range(level))
        far, near = (
            np.square(z[position] - above - books[level, ids[position, level]]).sum()
            for ids in (ours, theirs)
        )
        margins.append(float(abs(far - near) / near))
    return margins


def main() -> None:
    name, steps, meshes = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
    sharding.MIN_SHARDED_SIZE = 64
    task = make(name)
    frozen = task.load_frozen()
    start = jax.device_get(
        jax.jit(task.init)(jax.random.key(3), tiny.records(20, vocab_size=VOCABULARY))
    )
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
            result["ties"] = ties(codes, alone[1], books)
        results[mesh] = result
    print(json.dumps(results))


if __name__ == "__main__":
    main()
