"""Stage II: speed of training steps and of generation, in the flat and the depth layout.

    python -m benchmarks.stage2
    python -m benchmarks.stage2 --peers BENCH_PEERS.py

The program prints a line of JSON for each entry. A rate is items divided by the median seconds of
the rounds, which measure all entries in turn, so that other work disturbs all alike. Shapes are
those of a program that measures other packages (width 512, 4 blocks, 8 heads, a text of 128 tokens,
8,192 codes). With `--peers` that program runs before and after (options `--only c,d --json FILE`),
and the ratios of time, and of time per FLOP, are printed. `gflop` is computed from the shapes in
the same way for every entry; `gflop_of_all` counts the heads on every token rather than on masked
tokens alone, and in generation on both halves of the guided batch.
"""

import argparse
import dataclasses
import functools
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.core import FrozenDict

from auface_jax.generation import masking
from auface_jax.generation.decode import decode, fully_masked
from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.generation.unmasking import max_unmasked
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.models.vqgan import VQGAN
from auface_jax.training.losses import masked_tokens
from benchmarks import side_by_side

WIDTH, DEPTH, HEADS, HIDDEN = 512, 4, 8, 1365  # of the gated feed-forward
TEXT, CODES, STEPS = 128, 8_192, 18

# The entries of the peers' program that each of ours is compared with.
SHIPPED, PATCHED = "default(flash=True -> python tiles)", "patched to torch SDPA"
PEERS = {
    "train_flat_256": [f"c/maskgit train n256 b8 {tag}" for tag in (SHIPPED, PATCHED)],
    "train_flat_2048": [f"c/maskgit train n2048 b1 {tag}" for tag in (SHIPPED, PATCHED)],
    "train_depth_2048": [f"c/maskgit train n2048 b1 {tag}" for tag in (SHIPPED, PATCHED)],
    "draw_flat_64": [
        f"d/generate 18 steps CFG seq64 b4 {tag} (with VAE decode)"
        for tag in ("default", "flash=False")
    ],
    "draw_flat_256": ["d/generate 18 steps CFG seq256 b4 default (with VAE decode)"],
}
PEERS["train_depth_2048_by_turns"] = PEERS["train_depth_2048"]
PEERS |= {f"{name}_halton": PEERS[name] for name in ("draw_flat_64", "draw_flat_256")}


@dataclasses.dataclass
class Entry(side_by_side.Entry):
    """Program with a rate.

    Attributes:
      items: images of a call.
      tokens: image tokens of a call.
      gflop: see the module's docstring.
      gflop_of_all: see the module's docstring.
    """

    items: int
    tokens: int
    gflop: float
    gflop_of_all: float

    def result(self) -> dict:
        return {
            **super().result(),
            "images_per_second": round(self.items / self.seconds, 3),
            "tokens_per_second": round(self.tokens / self.seconds, 1),
            "gflop": round(self.gflop, 1),
            "gflop_of_all": round(self.gflop_of_all, 1),
            "gflop_per_second": round(self.gflop / self.seconds, 1),
        }


def model_of(layout: str, grid: int, levels: int, dtype: str, **transformer) -> VQAUFace:
    """Makes a transformer that reads text features and no face, as the peers' does."""
    return VQAUFace(
        text_encoder=FrozenDict(),
        face_encoder=FrozenDict(),
        transformer=FrozenDict(
            layout=layout,
            grid=grid,
            num_quantizers=levels,
            codebook_size=CODES,
            d_model=WIDTH,
            num_layers=DEPTH,
            num_heads=HEADS,
            mlp_ratio=(HIDDEN + 0.5) / WIDTH,
            **transformer,
        ),
        tokens=(),
        features=("text",),
        dtype=jnp.dtype(dtype),
    )


def inputs_of(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "text_features": rng.normal(size=(rows, TEXT, WIDTH)).astype(np.float32),
        "text_mask": np.ones((rows, TEXT), bool),
    }


def forward_gflop(
    model: VQAUFace, rows: int, *, shown: float = 1.0, combined: bool = False
) -> float:
    """Counts the FLOPs of matrix products of one pass.

    Blocks run on every token, heads on a share of the tokens, and with `combined` on every other
    example: guidance combines two examples before their product with the codes."""
    t = model.transformer
    depth_layout, positions = t["layout"] == "depth", t["grid"] ** 2
    places = positions if depth_layout else positions * t["num_quantizers"]
    blocks = 12 * WIDTH**2 + 6 * WIDTH * HIDDEN + 4 * (places + TEXT) * WIDTH  # a place
    of_text = 4 * WIDTH**2 * TEXT  # its keys and values
    heads = 2 * WIDTH * CODES * positions * t["num_quantizers"] / (2 if combined else 1)
    if depth_layout:  # each level's feed-forward, twice as wide as the trunk
        heads += 12 * WIDTH**2 * positions * t["num_quantizers"]
    return rows * (DEPTH * (blocks * places + of_text) + shown * heads) / 1e9


def training(name, layout, grid, levels, rows, dtype, *, at_once=0, **transformer) -> Entry:
    """Makes the entry of a training step; `at_once` is the number of levels per position, or 0."""
    model = model_of(layout, grid, levels, dtype, **transformer)
    inputs, positions = inputs_of(rows), grid**2
    drops = {"drop_text": np.zeros(rows, bool), "drop_reference": np.zeros(rows, bool)}
    rng = np.random.default_rng(1)
    codes = rng.integers(0, CODES, (rows, positions, levels)).astype(np.int32)
    shape = {"positions": positions, "num_quantizers": levels, "layout": layout}
    most = masking.max_masked_tokens(rows, **shape)
    adam = optax.adam(3e-4)
    init = jax.jit(functools.partial(model.init, **inputs, **drops))
    params = init(jax.random.key(0), codes, codes == 0)["params"]

    def step(carried):
        params, state, key = carried
        key, mask_key, deal_key = jax.random.split(key, 3)
        masked = masking.training_mask(mask_key, rows, **shape, group=rows)
        places, hidden = masking.masked_token_indices(
            masked, group=rows, count=most, layout=layout, quantizers_per_step=at_once, rng=deal_key
        )

        def loss(params):
            apply = functools.partial(model.apply, {"params": params})
            context, _ = apply(**inputs, **drops, method="context")
            everywhere = most == rows * positions
            logits, targets = apply(
                codes, masked, context, None if everywhere else places, method="logits_at"
            )
            if everywhere:
                return masked_tokens.masked_cross_entropy(logits, targets, masked)[0]
            used = jnp.broadcast_to(hidden, targets.shape)
            return masked_tokens.masked_cross_entropy(logits, targets, used)[0]

        gradient = jax.grad(loss)(params)
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(params, updates), state, key

    carried = (params, adam.init(params), jax.random.key(1))
    shown = most / (rows * positions) * (at_once / levels if at_once else 1)
    return Entry(
        name,
        jax.jit(step, donate_argnums=0),
        carried,
        items=rows,
        tokens=codes.size,
        gflop=3 * forward_gflop(model, rows, shown=shown),
        gflop_of_all=3 * forward_gflop(model, rows),
    )


def drawing(name, layout, grid, levels, rows, dtype, **options) -> Entry:
    """Makes the entry of guided decoding and Stage I's decoder."""
    model, inputs, positions = model_of(layout, grid, levels, dtype), inputs_of(rows), grid**2
    drops = {"drop_text": np.zeros(rows, bool), "drop_reference": np.zeros(rows, bool)}
    codes = jnp.zeros((rows, positions, levels), jnp.int32)
    init = jax.jit(functools.partial(model.init, **inputs, **drops))
    params = init(jax.random.key(0), codes, codes == 0)["params"]
    vqgan = VQGAN(
        image_size=8 * grid,
        num_quantizers=levels,
        codebook_size=CODES,
        latent_dim=256,
        channels=(64, 128, 256),
        patch=2,
        num_res_blocks=1,
        attention=False,
        patch_skip=False,
        dtype=dtype,
    )
    z = jnp.zeros((1, grid, grid, 256))
    decoder = jax.jit(vqgan.decoder.init)(jax.random.key(2), z)["params"]
    books = jax.random.normal(jax.random.key(3), (levels, CODES, 256))
    given = fully_masked(rows, positions, levels)
    settings = {"guidance": 3.0, "temperature": 1.0, "choice_temperature": 1.0}
    settings |= {"steps": STEPS, "top_k": CODES // 10}  # theirs keeps a tenth of the codes
    decode_options = DecodeOptions(**settings | options)

    @jax.jit
    def draw(params, decoder, books, keys):
        codes = decode(model, params, inputs, given, keys, decode_options)
        z = sum(books[level][codes[..., level]] for level in range(levels))
        return vqgan.decoder.apply({"params": decoder}, z.reshape(rows, grid, grid, -1))

    keys = jax.random.split(jax.random.key(1), rows)

    def run(_):
        return draw(params, decoder, books, keys)

    passes = 2 * decode_options.steps  # guided and unguided
    context = DEPTH * 4 * WIDTH**2 * TEXT * rows / 1e9  # its keys and values, once
    halton = decode_options.order == "halton"
    shown = max_unmasked(decode_options.steps, positions) / positions if halton else 1.0
    a_pass = forward_gflop(model, rows, shown=shown, combined=True) - context
    gflop = passes * a_pass + 2 * context
    of_all = passes * forward_gflop(model, rows)
    return Entry(name, run, None, rows, rows * positions * levels, gflop, of_all)


# Name -> the entry. 2,048 tokens are 32 x 32 positions of two levels in comparisons with the peers
# (all tokens have 8,192 logits, and tables are smallest), and 16 x 16 of eight levels in depth.
ENTRIES = {
    "train_flat_256": lambda d: training("train_flat_256", "flat", 16, 1, 8, d, heads_per_step=2),
    "train_flat_2048": lambda d: training("train_flat_2048", "flat", 32, 2, 1, d, heads_per_step=1),
    "train_depth_2048": lambda d: training("train_depth_2048", "depth", 16, 8, 8, d),
    # One level of each position a step: an eighth of the heads' arithmetic.
    "train_depth_2048_by_turns": lambda d: training(
        "train_depth_2048_by_turns", "depth", 16, 8, 8, d, at_once=1
    ),
    "draw_flat_64": lambda d: drawing("draw_flat_64", "flat", 8, 1, 4, d),
    "draw_flat_256": lambda d: drawing("draw_flat_256", "flat", 16, 1, 4, d),
    "draw_flat_2048": lambda d: drawing("draw_flat_2048", "flat", 16, 8, 1, d),
    "draw_depth_2048": lambda d: drawing("draw_depth_2048", "depth", 16, 8, 1, d),
    # Logits are computed at unmasked positions alone: less work for the same tokens.
    "draw_flat_64_halton": lambda d: drawing(
        "draw_flat_64_halton", "flat", 8, 1, 4, d, order="halton"
    ),
    "draw_flat_256_halton": lambda d: drawing(
        "draw_flat_256_halton", "flat", 16, 1, 4, d, order="halton"
    ),
    "draw_depth_2048_halton": lambda d: drawing(
        "draw_depth_2048_halton", "depth", 16, 8, 1, d, order="halton"
    ),
    # The fewest iterations of equal quality by `layouts.py`; the flat layout has one a level.
    "draw_flat_2048_few": lambda d: drawing("draw_flat_2048_few", "flat", 16, 8, 1, d, steps=8),
    "draw_depth_2048_few": lambda d: drawing("draw_depth_2048_few", "depth", 16, 8, 1, d, steps=3),
    "draw_depth_2048_halton_few": lambda d: drawing(
        "draw_depth_2048_halton_few", "depth", 16, 8, 1, d, order="halton", steps=3
    ),
}


def compare(results: dict[str, dict], runs: list[dict[str, dict]]) -> list[dict]:
    """Compares with the peers by the means of their medians."""
    lines = []
    for name, theirs in PEERS.items():
        for peer in theirs:
            if name not in results or not runs or any(peer not in run for run in runs):
                continue
            ours = results[name]
            rate = statistics.mean(run[peer]["median_s"] for run in runs)
            items = 4 if name.startswith("draw") else 8 if "n256" in peer else 1
            faster = rate / items * ours["images_per_second"]
            gflop = runs[0][peer]["gflop"] / items
            images = ours["images_per_second"] * ours["seconds"]
            lines.append(
                {
                    "entry": name,
                    "peer": peer,
                    "times_as_fast_an_image": round(faster, 3),
                    "times_as_fast_a_flop": round(faster * ours["gflop"] / images / gflop, 3),
                    "peer_gflop_an_image": round(gflop, 1),
                }
            )
    for depth, flat in (
        ("train_depth_2048", "train_flat_2048"),
        ("train_depth_2048_by_turns", "train_flat_2048"),
        ("draw_depth_2048", "draw_flat_2048"),
        ("draw_depth_2048_halton", "draw_flat_2048"),
        ("draw_depth_2048_few", "draw_flat_2048_few"),
        ("draw_depth_2048_halton_few", "draw_flat_2048_few"),
    ):
        if {depth, flat} <= results.keys():
            rates = [results[name]["images_per_second"] for name in (depth, flat)]
            ratio = {"entry": depth, "peer": flat}
            lines.append(ratio | {"times_as_fast_an_image": round(rates[0] / rates[1], 2)})
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stage2", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--peers", metavar="FILE", help="a program to measure other packages")
    parser.add_argument("--peers-grep", default="", help="only entries of it that have this")
    options = parser.parse_args(arguments)

    def entries() -> list[Entry]:
        return [ENTRIES[name](options.dtype) for name in options.only]

    peers = [options.peers, "--only", "c,d", "--grep", options.peers_grep]
    side_by_side.measure(
        entries, compare, rounds=options.rounds, peers=peers if options.peers else ()
    )


if __name__ == "__main__":
    main()
