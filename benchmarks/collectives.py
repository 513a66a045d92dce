"""What one training step costs on many devices, read from the compiled program; nothing is trained.

    python benchmarks/collectives.py --config configs/stage2.py:paper --fsdp 2 --tensor 2
    python benchmarks/collectives.py --config configs/stage1.py:paper --topology v5e:4x4

Without `--topology` the step is compiled for eight simulated devices of this machine, whose XLA may
choose other exchanges than a GPU's. With it, for that TPU, by the compiler that comes with
`pip install 'jax[tpu]'` and needs no TPU. Weights are not needed either: shapes are enough, those
of the published encoders and of the runs that a config builds on. Batches are `--rows` for each
device, in one part (`accumulate=1`).

Prints kinds of collectives with their number and bytes (of results on a device, and sent by it),
FLOPs of matrix products and convolutions, bytes of the state, and memory that XLA allots. XLA
counts what a loop reads and writes once: `--unroll` compiles a transformer without loops, for that
figure alone. `--json FILE` appends a line, for `benchmarks/scaling.py`.
"""

import argparse
import json
import os
import pathlib
import types

CONFIGS = pathlib.Path(__file__).resolve().parents[1] / "configs"
PEOPLE = 150  # whose references are kept on the device
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

import jax  # noqa: E402 - reads the environment
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.experimental import mesh_utils, topologies  # noqa: E402

from auface_jax import compiled, run_config, sharding  # noqa: E402
from auface_jax.encoders import Encoders  # noqa: E402
from auface_jax.loss_networks import LossNetwork, unit_nodes, vgg_features  # noqa: E402
from auface_jax.pretrained import arcface, clip_vision, t5, vgg  # noqa: E402
from auface_jax.synthesis import reference_features  # noqa: E402
from auface_jax.tasks import make_task  # noqa: E402
from auface_jax.tasks.au_image import build_recognizer  # noqa: E402

KEY = jax.eval_shape(lambda: jax.random.key(0))


def shape(*dimensions, dtype=np.float32):
    return jax.ShapeDtypeStruct(dimensions, dtype)


def load(name, preset):
    return run_config.load_config_file(CONFIGS / f"{name}.py", preset)


def stage1_task(config):
    """Stage I with the shapes of the networks of its losses."""
    task, networks = make_task(config, config.num_steps), {}
    if config.loss.perceptual:
        module = vgg.VGG16()
        variables = jax.eval_shape(module.init, KEY, shape(1, 224, 224, 3))
        networks["perceptual"] = LossNetwork("VGG16", vgg_features(module), variables, "")
    if config.loss.anatomical:
        of = load("au_image_loss", config.preset)
        module = build_recognizer(of.model, 2)
        crop = of.model.crop
        variables = jax.eval_shape(module.init, KEY, shape(1, crop, crop, 3))
        features = unit_nodes(module, of.data.size, crop)
        networks["anatomical"] = LossNetwork("ME-GraphAU", features, variables, "")
    task.__dict__["loss_networks"] = networks
    return task, {name: network.variables for name, network in networks.items()}


def stage2_task(config):
    """Stage II with the shapes of Stage I and of the published encoders."""
    task, stage1 = make_task(config, config.num_steps), load("stage1", config.preset)
    of_stage1 = stage1_task(stage1)[0]
    rows = batch(stage1.init_examples, stage1.data.size, 8)
    weights = jax.eval_shape(lambda *a: of_stage1.export(of_stage1.init(*a)), KEY, rows)
    task.__dict__["stage1"] = of_stage1.vqgan, weights
    dtype, modules, inputs = jnp.dtype(config.model.dtype), {}, {}
    if config.model.text_weights:
        task.__dict__["text_tokenizer"] = types.SimpleNamespace(vocab_size=32_100)
        modules["text"] = t5.T5Encoder(**t5.SIZES["t5-large"], dtype=dtype)
        inputs["text"] = shape(1, 8, dtype=np.int32), shape(1, 8, dtype=bool)
        fields = clip_vision.SIZES["ViT-L/14"] | {"activation": "quick_gelu"}
        modules["structure"] = clip_vision.CLIPVision(**fields, dtype=dtype)
        inputs["structure"] = (shape(1, 224, 224, 3),)
        modules["appearance"] = arcface.ArcFace(**arcface.SIZES["r100"], dtype=dtype)
        inputs["appearance"] = (shape(1, 112, 112, 3),)
    variables = {
        name: jax.eval_shape(module.init, KEY, *inputs[name]) for name, module in modules.items()
    }
    encoders = Encoders(**modules)
    task.__dict__["loaded_encoders"] = encoders, variables, {}
    frozen = {"stage1": weights, "encoders": variables}
    if config.cache_references:
        pixels = shape(2 * PEOPLE, config.data.size, config.data.size, 3)
        made = jax.eval_shape(
            lambda f, r: reference_features(of_stage1.vqgan, encoders, f, r), frozen, pixels
        )
        frozen["references"] = {
            name: one if name == "codes" else shape(*one.shape, dtype=dtype)
            for name, one in made.items()
        }
    return task, frozen


def batch(rows, size, length):
    pixels = shape(rows, size, size, 3, dtype=np.uint8)
    return {
        "image": pixels,
        "reference": pixels,
        "reference_row": shape(rows, dtype=np.int32),
        "labels": shape(rows, 12, dtype=np.int8),
        "text_tokens": shape(rows, length, dtype=np.int32),
        "text_mask": shape(rows, length, dtype=bool),
    }


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
    config = run_config.load_config_file(pathlib.Path(path), preset)
    config.mesh.update({"fsdp": arguments.fsdp, "tensor": arguments.tensor})
    mesh, rules = make_mesh(config), config.mesh.rules
    if arguments.rows:
        config.batch_size = arguments.rows * mesh.size
    if "accumulate" in config:
        config.accumulate = 1
    if arguments.unroll:
        config.model.transformer.update({"scan": False, "chunk": 0})
    sharding.check_batch_size(config.batch_size, mesh, rules)
    if config.task == "vqgan":
        task, frozen = stage1_task(config)
    elif config.task == "maskgit":
        task, frozen = stage2_task(config)
    else:
        task = make_task(config, config.num_steps)
        frozen = {"unit_weights": shape(12)} if config.task == "au_image" else {}
    rows = batch(config.batch_size, config.data.size, arguments.length)
    if "references" not in frozen:
        del rows["reference_row"]
    step = task.step if hasattr(task, "step") else task.stage2_step
    with sharding.placed(mesh, rules):
        examples = batch(task.init_examples, config.data.size, arguments.length)
        state = jax.eval_shape(task.init, KEY, examples)
        places, of_frozen = (
            sharding.state_shardings(tree, mesh, rules) for tree in (state, frozen)
        )
        flops = compiled.product_flops(step, state, frozen, rows, KEY)
        program = jax.jit(
            step,
            in_shardings=(places, of_frozen, sharding.batch_sharding(mesh, rules), None),
            out_shardings=(places, sharding.replicated(mesh)),
            donate_argnums=0,
        )
        program = program.lower(state, frozen, rows, KEY).compile()

    where = arguments.topology or f"{mesh.size} simulated CPU devices"
    print(f"{arguments.config}, {where}, mesh {dict(mesh.shape)}, batch of {config.batch_size}")
    found = compiled.collectives(program.as_text(), mesh.size)
    show(found)
    cost, memory = program.cost_analysis(), program.memory_analysis()
    held = {
        "state": compiled.bytes_on_a_device(state, places),
        "frozen": compiled.bytes_on_a_device(frozen, of_frozen),
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
    """Prints the exchanges by kind, and the largest."""
    print(f"{'':<20}{'number':>8}{'MiB':>10}{'MiB sent':>10}")
    for kind in compiled.KINDS:
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
