"""Stage I: speed of the quantiser and of training steps, and memory of a preset.

    python -m benchmarks.stage1
    python -m benchmarks.stage1 --peers BENCH_PEERS.py
    python -m benchmarks.stage1 --memory paper

The program prints a line of JSON for each entry. A rate is items divided by the median seconds of
the rounds, which measure all entries in turn, so that other work disturbs all alike; memory is
XLA's account of the compiled program with its arguments. `--peers` gives a program that measures
other packages at the same shapes (options `--only a,b --json FILE`). It runs before and after, and
ratios are printed: `times_as_fast` of a step at equal FLOPs of the autoencoder's forward pass, and
per executed FLOP.
"""

import argparse
import functools
import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from auface_jax.images import pixels
from auface_jax.models import codebook_learning, quantizer
from auface_jax.training.losses.networks import LossNetwork
from auface_jax.training.state import parameter_count
from auface_jax.training.tasks.vqgan import VQGANTask
from benchmarks import abstract_tasks, side_by_side

MEBIBYTE = 2**20

# The entries of the peers' program that each of ours is compared with.
PEERS = {
    "quantizer_8x1024": "b/rvq eval 8x1024",
    "quantizer_8x8192": "b/rvq eval 8x8192",
    "quantizer_ema_8x1024": "b/rvq train+EMA 8x1024",
    "quantizer_ema_8x8192": "b/rvq train+EMA 8x8192",
}
PEER_GENERATOR = "a/vqgan gen step L3 LFQ8192"
PEER_DISCRIMINATOR = "a/vqgan discr step no GP L3 LFQ8192"
PEER_BOTH = "a/vqgan gen+discr L3 LFQ8192"
PEER_FORWARD = "a/vqgan fwd L3 LFQ8192"


class SmallPerceptual(nn.Module):
    """Perceptual network as small as that of the peers' program: four convolutions of stride 2."""

    @nn.compact
    def __call__(self, image):
        for channels in (64, 128, 256, 256):
            image = nn.relu(nn.Conv(channels, (3, 3), strides=(2, 2))(image))
        return image.reshape(len(image), -1)


def peers_networks() -> dict[str, LossNetwork]:
    """Returns a small perceptual network in place of VGG16, as the peers' benchmark has it."""
    module = SmallPerceptual()
    variables = module.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    return {"perceptual": LossNetwork("small", module.apply, variables, "")}


def stage1_config(preset: str) -> ConfigDict:
    return abstract_tasks.load("stage1", preset).unlock()


def peers_config() -> ConfigDict:
    """Returns the config of the peers' shape: 64 px, batches of 16, all losses of the GAN."""
    config = stage1_config("quickstart")
    config.model.update(
        {"channels": (48, 96, 192), "patch": 2, "num_quantizers": 1, "codebook_size": 8192}
    )
    config.model.patch_skip = False
    config.loss.update({"l2": 0.0, "gradient": 0.0, "perceptual": 1.0})
    config.gan.weight = 0.1
    config.optimizer.muon_lr_multiplier = 0.0
    config.discriminator.update({"channels": 64, "num_layers": 3})
    config.init_examples = 128
    return config


# --- Entries: name, number of items of a call, function ------------------------------------------


class Entry(side_by_side.Entry):
    """Compiled program with its arguments.

    Attributes:
      carried: whether the first argument is donated, and is the first of the results.
    """

    def __init__(
        self, name, function, arguments, *, items, unit, gflop=0.0, forward_gflop=0.0, carried=False
    ):
        began = time.perf_counter()
        lowered = jax.jit(function, donate_argnums=0 if carried else ()).lower(*arguments)
        self.compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - began
        self.items, self.unit, self.forward_gflop = items, unit, forward_gflop
        # XLA counts loops once, so the FLOPs of the quantiser are computed from the shapes.
        self.gflop = gflop or self.compiled.cost_analysis()["flops"] / 1e9
        if carried:
            state, *rest = arguments
            run = lambda state: self.compiled(state, *rest)[0]  # noqa: E731
            # Donated arrays must have no other reference.
            super().__init__(name, run, jax.tree.map(jnp.copy, state))
        else:
            super().__init__(name, lambda _: self.compiled(*arguments), None)

    def result(self) -> dict:
        return {
            **super().result(),
            f"{self.unit}_per_second": round(self.items / self.seconds, 1),
            "gflop": round(self.gflop, 1),
            "autoencoder_gflop": round(self.forward_gflop, 1),
            "gflop_per_second": round(self.gflop / self.seconds, 1),
            "memory_mebibytes": round(sum(memory(self.compiled).values()), 1),
            "compile_seconds": round(self.compile_seconds, 1),
        }


def memory(compiled) -> dict[str, float]:
    """Returns XLA's account in MiB: arguments, results that replace no argument, temporaries."""
    account = compiled.memory_analysis()
    return {
        "arguments": account.argument_size_in_bytes / MEBIBYTE,
        "results": (account.output_size_in_bytes - account.alias_size_in_bytes) / MEBIBYTE,
        "temporaries": account.temp_size_in_bytes / MEBIBYTE,
    }


def quantizer_entries() -> list[Entry]:
    """Makes the entries of the quantiser: 16 maps of 16 x 16 vectors of width 256, eight levels."""
    entries, rng = [], np.random.default_rng(0)
    z = jnp.asarray(rng.normal(size=(16, 16, 16, 256)), jnp.float32)
    for codes in (1024, 8192):
        books = jnp.asarray(rng.normal(size=(8, codes, 256)), jnp.float32)
        counts = jnp.full((8, codes), 1 / codes)
        codebooks = quantizer.Codebooks(books, counts, books * counts[..., None])
        gflop = 2 * 4096 * codes * 256 * 8 / 1e9

        def evaluate(codebooks, z):
            ids, _ = quantizer.quantize(codebooks, z)
            return ids, quantizer.lookup(codebooks, ids)

        def train(codebooks, z, rng):
            def loss(z):
                quantized = quantizer.quantize_batch(codebooks, z)
                z_q = quantizer.straight_through(z, quantized.vectors)
                return z_q.sum() + quantized.commitment(z), quantized.ids

            (_, ids), gradient = jax.value_and_grad(loss, has_aux=True)(z)
            options = {"decay": 0.8, "dead_code_threshold": 0.0}
            return codebook_learning.update(codebooks, z, ids, rng, **options), gradient

        shape = f"8x{codes}"
        common = {"items": 4096, "unit": "vectors", "gflop": gflop}
        entries.append(Entry(f"quantizer_{shape}", evaluate, (codebooks, z), **common))
        arguments = (codebooks, z, jax.random.key(0))
        entries.append(Entry(f"quantizer_ema_{shape}", train, arguments, carried=True, **common))
    return entries


def autoencode(vqgan, weights, image):
    return vqgan.decode(weights, vqgan.encode(weights, pixels.to_float(image)))


def step_entries() -> list[Entry]:
    """Makes the entries of steps: the quickstart's, and the GAN's at the peers' shape."""
    entries = []
    for name, task in (
        ("step_quickstart", VQGANTask(stage1_config("quickstart"), 1_000)),
        ("step_peers", VQGANTask(peers_config(), 1_000, peers_networks())),
    ):
        c = task.config
        size = c.model.image_size
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (c.init_examples, size, size, 3), dtype=np.uint8)
        state = jax.jit(task.init)(jax.random.key(0), {"image": image})
        batch = {"image": image[: c.batch_size]}
        arguments = (state, task.load_frozen(), batch, jax.random.key(1))
        common = {"items": c.batch_size, "unit": "images", "carried": True}
        forward = jax.jit(functools.partial(autoencode, task.vqgan))
        account = forward.lower(task.export(state), batch["image"]).cost_analysis()
        entries.append(
            Entry(name, task.step, arguments, forward_gflop=account["flops"] / 1e9, **common)
        )
    return entries


def preset_memory(preset: str) -> dict:
    """Prints the memory of a preset's step, which is compiled for this machine and not run."""
    task, key = abstract_tasks.stage1_task(stage1_config(preset)), abstract_tasks.KEY
    c, frozen = task.config, task.load_frozen()
    size = c.model.image_size
    images = lambda count: {  # noqa: E731
        "image": abstract_tasks.shape(count, size, size, 3, dtype=jnp.uint8)
    }
    state = jax.eval_shape(task.init, key, images(c.init_examples))
    began = time.perf_counter()
    lowered = jax.jit(task.step, donate_argnums=0).lower(state, frozen, images(c.batch_size), key)
    account = memory(lowered.compile())
    return {
        "entry": f"memory_{preset}",
        "platform": jax.default_backend(),
        "images_a_step": c.batch_size,
        "images_at_a_time": c.batch_size // c.num_microbatches,
        "parameters": {name: parameter_count(tree) for name, tree in state.params.items()},
        "frozen_parameters": parameter_count(frozen),
        "tokens": task.vqgan.grid**2 * task.vqgan.num_quantizers,
        **{f"{name}_mebibytes": round(value) for name, value in account.items()},
        "total_gibibytes": round(sum(account.values()) / 1024, 2),
        "compile_seconds": round(time.perf_counter() - began, 1),
    }


def compare(results: dict[str, dict], runs: list[dict[str, dict]]) -> list[dict]:
    """Compares with the peers by the means of their medians."""
    if not runs:
        return []

    def peer(name: str, field: str) -> float:
        return statistics.mean(run[name][field] for run in runs)

    lines = []
    for ours, theirs in PEERS.items():
        if ours in results:
            ratio = peer(theirs, "median_s") / results[ours]["seconds"]
            lines.append({"entry": ours, "peer": theirs, "times_as_fast": round(ratio, 2)})
    if "step_peers" in results:
        ours = results["step_peers"]
        executed = peer(PEER_GENERATOR, "gflop") + peer(PEER_DISCRIMINATOR, "gflop")
        without = peer(PEER_GENERATOR, "median_s") + peer(PEER_DISCRIMINATOR, "median_s")
        forward = peer(PEER_FORWARD, "gflop")
        shipped = peer(PEER_BOTH, "median_s")
        for name, seconds in (("as shipped", shipped), ("without its penalty", without)):
            faster = seconds / ours["seconds"]
            lines.append(
                {
                    "entry": "step_peers",
                    "peer": name,
                    "peer_autoencoder_gflop": round(forward, 1),
                    "times_as_fast": round(faster * ours["autoencoder_gflop"] / forward, 2),
                    "peer_gflop": round(executed, 1),
                    "times_as_fast_a_flop": round(faster * ours["gflop"] / executed, 2),
                }
            )
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stage1", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--only", choices=("quantizer", "step"), help="some of the entries")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", metavar="FILE", help="a program to measure other packages")
    parser.add_argument("--memory", metavar="PRESET", help="of a preset's step, and nothing else")
    options = parser.parse_args(arguments)
    if options.memory:
        print(json.dumps(preset_memory(options.memory)))
        return

    def entries() -> list[Entry]:
        made = quantizer_entries() if options.only != "step" else []
        return made + (step_entries() if options.only != "quantizer" else [])

    peers = [options.peers, "--only", "a,b"]
    side_by_side.measure(
        entries, compare, rounds=options.rounds, peers=peers if options.peers else ()
    )


if __name__ == "__main__":
    main()
