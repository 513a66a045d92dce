"""Memory of a preset's Stage II on each device.

    python -m benchmarks.stage2_memory --preset paper --shapes

Only shapes are needed: no weights are read and nothing is run. The bytes of parameters, moments,
averages and frozen encoders are counted as `mesh.fsdp` splits them. Without `--shapes` the step of
one device is compiled as well, for the platform of this process, and XLA's account is added.
"""

import argparse
import math

import jax
from jax.sharding import AbstractMesh
from ml_collections import ConfigDict

from auface_jax.parallel import sharding
from benchmarks import abstract_tasks

CARD = 24  # GiB, of each of the paper's eight
PEOPLE = 181  # of BP4D and BP4D+, a reference each
GIBIBYTE = 2**30


def longest_batch(config: ConfigDict, rows: int) -> dict:
    """Returns the shapes of a batch with the longest texts."""
    return abstract_tasks.batch(rows, config.data.size, max(config.data.buckets))


def on_a_device(tree, devices: int, rules) -> int:
    """Returns the bytes of a tree on each of `devices` devices that share one copy."""
    mesh = AbstractMesh((1, devices, 1), sharding.AXES)
    shardings = sharding.state_shardings(tree, mesh, rules)
    return sum(
        math.prod(placed.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf, placed in zip(jax.tree.leaves(tree), jax.tree.leaves(shardings), strict=True)
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def table(preset: str, counts: tuple[int, ...] = (1, 2, 4, 8), *, compiled: bool = True) -> str:
    """Formats a Markdown table of GiB a device, with a row for each number of devices."""
    config, key = abstract_tasks.load("stage2", preset), abstract_tasks.KEY
    task = abstract_tasks.stage2_task(config, PEOPLE)
    state = jax.eval_shape(task.init, key, longest_batch(config, 1))
    frozen, rules = task.load_frozen(), config.mesh.rules
    columns = ["devices", "rows", "state", "frozen"]
    lines = []
    for devices in counts:
        rows = config.batch_size // devices
        parts = [on_a_device(tree, devices, rules) for tree in (state, frozen)]
        if compiled:
            with config.unlocked():
                config.speed.mask_group = min(config.speed.mask_group, rows)
            step = jax.jit(task.step, donate_argnums=0)
            account = step.lower(state, frozen, longest_batch(config, rows), key).compile()
            parts.append(account.memory_analysis().temp_size_in_bytes)
        total = sum(parts) / GIBIBYTE
        shown = [f"{part / GIBIBYTE:.2f}" for part in parts]
        fits = "yes" if total < CARD else "no"
        lines.append([str(devices), str(rows), *shown, *([f"{total:.2f}", fits] * compiled)])
    columns += ["beside them", "in all", f"under {CARD} GiB"] * compiled
    tokens = task.vqgan.grid**2 * task.vqgan.num_quantizers
    head = f"{preset}: {tokens:,} tokens, texts of {max(config.data.buckets):,}; GiB a device" + (
        f", compiled for {jax.default_backend()}" if compiled else ""
    )
    rows_ = [columns, ["---"] * len(columns), *lines]
    return head + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows_)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stage2_memory", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--shapes", action="store_true", help="compile nothing")
    options = parser.parse_args(arguments)
    print(table(options.preset, compiled=not options.shapes))


if __name__ == "__main__":
    main()
