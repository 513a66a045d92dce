"""Cost of a training step on many devices, read from the compiled program without running it.

    python -m benchmarks.collectives --config configs/stage2.py:paper --fsdp 2 --tensor 2
    python -m benchmarks.collectives --config configs/stage1.py:paper --topology v5e:4x4

Without `--topology` the step is compiled for eight simulated devices of this machine, for which XLA
may choose other collectives than for GPUs. With it, the step is compiled for that TPU by the
compiler of `.venv/bin/python -m pip install 'jax[tpu]'`, which needs no TPU. No weights are needed:
the shapes of the published encoders and of the required runs are enough. A batch has `--rows`
examples for each device, in one microbatch.

The program prints kinds of collectives with their number and bytes (of results on a device, and
sent by it), FLOPs of matrix products and convolutions, bytes of the state, and the memory that XLA
allocates. XLA counts the memory traffic of a loop's body once: `--unroll` compiles a transformer
without loops, for that figure alone. `--json FILE` appends a line for `benchmarks/scaling.py`.
"""

import argparse
import json
import os
import pathlib

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--config", default="configs/stage1.py:quickstart")
parser.add_argument("--topology", default="", help="such as v5e:4x4; none simulates devices")
parser.add_argument("--devices", type=int, default=8, help="how many are simulated")
parser.add_argument("--fsdp", type=int, default=1)
parser.add_argument("--tensor", type=int, default=1)
parser.add_argument("--rows", type=int, default=0, help="of a batch, for each device")
parser.add_argument("--length", type=int, default=512, help="of the texts, in tokens")
parser.add_argument("--unroll", action="store_true", help="a transformer's loops")
parser.add_argument("--json", default="", help="a file to append what was found to")
parser.add_argument("--largest", type=int, default=6, help="how many collectives to list")
arguments = parser.parse_args()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # there is no TPU whose metadata could be asked
if not arguments.topology:
    flag = f" --xla_force_host_platform_device_count={arguments.devices}"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + flag

import abstract_tasks  # JAX reads the environment
import jax
from jax.experimental import mesh_utils, topologies

from auface_jax.parallel import sharding
from auface_jax.runs import config_files
from auface_jax.training.tasks.registry import make_task
from benchmarks import program_cost

REFERENCES = 300  # whose features are kept on the device


def make_mesh(config):
    if not arguments.topology:
        return sharding.make_mesh(config.mesh)
    topology = topologies.get_topology_desc(arguments.topology, platform="tpu")
    shared = arguments.fsdp * arguments.tensor
    sizes = len(topology.devices) // shared, arguments.fsdp, arguments.tensor
    devices = mesh_utils.create_device_mesh(sizes, topology.devices, allow_split_physical_axes=True)
    return jax.sharding.Mesh(devices, sharding.AXES)


def main() -> None:
    path, _, preset = arguments.config.partition(":")
    config = config_files.load_config_file(pathlib.Path(path), preset)
    config.mesh.update({"fsdp": arguments.fsdp, "tensor": arguments.tensor})
    mesh, rules = make_mesh(config), config.mesh.rules
    if arguments.rows:
        config.batch_size = arguments.rows * mesh.size
    if "num_microbatches" in config:
        config.num_microbatches = 1
    if arguments.unroll:
        config.model.transformer.scan = False
        config.speed.heads_per_step = 0
    sharding.check_batch_size(config.batch_size, mesh, rules)
    if config.task == "vqgan":
        task = abstract_tasks.stage1_task(config)
    elif config.task == "maskgit":
        task = abstract_tasks.stage2_task(config, REFERENCES)
    else:
        task = make_task(config, config.num_steps)
    if config.task == "au_image":
        frozen = {"unit_weights": abstract_tasks.shape(12)}
    else:
        frozen = task.load_frozen()
    rows = abstract_tasks.batch(config.batch_size, config.data.size, arguments.length)
    if "references" not in frozen:
        del rows["reference_row"]
    key = abstract_tasks.KEY
    step = task.step_fn(config.num_steps)
    with sharding.mesh_context(mesh, rules):
        examples = abstract_tasks.batch(task.init_examples, config.data.size, arguments.length)
        state = jax.eval_shape(task.init, key, examples)
        places, of_frozen = (
            sharding.state_shardings(tree, mesh, rules) for tree in (state, frozen)
        )
        flops = program_cost.product_flops(step, state, frozen, rows, key)
        program = jax.jit(
            step,
            in_shardings=(places, of_frozen, sharding.batch_sharding(mesh, rules), None),
            out_shardings=(places, sharding.replicated(mesh)),
            donate_argnums=0,
        )
        program = program.lower(state, frozen, rows, key).compile()

    where = arguments.topology or f"{mesh.size} simulated CPU devices"
    print(f"{arguments.config}, {where}, mesh {dict(mesh.shape)}, batch of {config.batch_size}")
    found = program_cost.collectives(program.as_text(), mesh.size)
    show(found)
    cost, memory = program.cost_analysis(), program.memory_analysis()
    held = {
        "state": program_cost.bytes_on_a_device(state, places),
        "frozen": program_cost.bytes_on_a_device(frozen, of_frozen),
    }
    record = {
        "config": arguments.config,
        "where": where,
        "mesh": dict(mesh.shape),
        "rows": config.batch_size // mesh.size,
        "length": arguments.length,
        "unrolled": arguments.unroll,
        "flop": flops / mesh.size,
        "bytes_moved": cost.get("bytes accessed", 0),
        "bytes_sent": sum(count * one.sent for one, count in found.items()),
        **{name: part for name, (part, _) in held.items()},
        "temporary": memory.temp_size_in_bytes,
    }
    print(f"sent by a device in a step: {record['bytes_sent'] / 2**20:.1f} MiB")
    print(f"products and convolutions: {record['flop'] / 1e12:.3f} TFLOP a device")
    once = "" if arguments.unroll else ", what a loop does counted once"
    print(f"read and written: {record['bytes_moved'] / 2**30:.2f} GiB a device{once}")
    for name, (part, whole) in held.items():
        print(f"{name}: {part / 2**20:.1f} MiB on a device of {whole / 2**20:.1f}")
    print(f"temporary memory: {record['temporary'] / 2**20:.1f} MiB")
    if arguments.json:
        with open(arguments.json, "a") as file:
            file.write(json.dumps(record) + "\n")


def show(found) -> None:
    """Prints the collectives by kind, and the largest ones."""
    print(f"{'':<20}{'number':>8}{'MiB':>10}{'MiB sent':>10}")
    for kind in program_cost.KINDS:
        of_kind = {one: count for one, count in found.items() if one.kind == kind}
        size, sent = (
            sum(count * getattr(one, what) for one, count in of_kind.items()) / 2**20
            for what in ("size", "sent")
        )
        print(f"{kind:<20}{sum(of_kind.values()):>8}{size:>10.1f}{sent:>10.1f}")
    print("the largest:")
    for one, count in sorted(found.items(), key=lambda item: -item[0].size)[: arguments.largest]:
        more = f" and {len(one.shapes) - 1} more" if len(one.shapes) > 1 else ""
        print(
            f"  {count} x {one.kind} among {one.group}: {one.shapes[0]}{more}, "
            f"{one.size / 2**20:.2f} MiB"
        )


if __name__ == "__main__":
    main()
