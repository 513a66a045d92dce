"""Comparison of the flat and the depth layout: learning over time, and iterations of decoding.

    python -m benchmarks.layouts --out runs/layouts --stage1 runs/stage1-quickstart \
        --probe runs/au_probe-quickstart --scorer runs/au_image-quickstart

trains the quickstart's Stage II on one Stage I in every layout for several numbers of steps, each
as a run with its own decay of the learning rate, and scores the images of each run. Then it
generates images with the longest run of each layout in fewer iterations. It writes `table.md`,
`table.json` and `layouts.png` to the folder after each run, and resumes when it is started again.

Accuracy is measured on held-out records with some positions masked at all levels. For the first
level it is the share of tokens that the most probable token equals; both layouts predict these from
the same visible tokens. For all levels the tokens of coarser levels are given: in the depth layout
those of the position, in the flat layout those of all positions.
"""

import argparse
import functools
import json
import pathlib
import statistics
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from auface_jax import evaluate
from auface_jax.data.loading import pipeline
from auface_jax.data.loading.example_selection import spread_examples
from auface_jax.evaluation import report
from auface_jax.generation import masking
from auface_jax.generation.decode_arguments import add_decode_arguments, decode_arguments
from auface_jax.generation.generator import Generator, Request
from auface_jax.generation.stages import tokenize_batch
from auface_jax.parallel.map_batches import map_batches
from auface_jax.runs import checkpoints
from auface_jax.runs.config_files import load_config_file
from auface_jax.runs.json_files import read_object, write_object
from auface_jax.training import loop
from auface_jax.training.tasks.maskgit_evaluation import MASK_RATIOS, TEXT_INPUTS

# Name -> leaves of the quickstart's config that differ.
LAYOUTS = {
    "flat": {"model.transformer.layout": "flat"},
    "depth": {},
    "by turns": {"speed.mask_group": 16, "speed.quantizers_per_step": 1},
}
STEPS = {"flat": (75, 150, 300), "depth": (150, 300, 600, 1200), "by turns": (300, 600, 1200)}
# Decoding options of the longest run of a layout, besides the 12 steps of its config.
DRAWS = {
    "flat": [
        *(("--steps", steps) for steps in ("24", "6")),
        *(("--level-steps", steps) for steps in ("9,6,5,4", "5,3,2,2", "3,1,1,1")),
    ],
    "depth": [
        *(("--steps", steps) for steps in ("6", "3", "1")),
        *(("--steps", steps, "--order", "halton") for steps in ("12", "6", "4", "3", "2")),
    ],
}
DRAWN_AT_ONCE = 16


def train(layout: str, steps: int, options) -> pathlib.Path:
    """Trains a run until it is finished, and returns it."""
    run = pathlib.Path(options.out, f"{layout.replace(' ', '_')}-{steps}-seed{options.seed}")
    if checkpoints.has_export(run):
        return run
    stage1 = checkpoints.load_config(pathlib.Path(options.stage1))
    config = load_config_file(pathlib.Path("configs/stage2.py"), "quickstart")
    leaves = LAYOUTS[layout] | {"num_steps": steps, "seed": options.seed, "log_every": 25}
    leaves |= {"sample_every": 0, "eval_images": 64}
    leaves |= {"optimizer.learning_rate": options.rate}
    leaves |= {"requires.stage1.run": options.stage1, "requires.au_probe.run": options.probe}
    with config.unlocked():
        del config.preset_reason
        config.data = stage1.data
        config.update_from_flattened_dict(leaves)
    loop.train(config, run)
    jax.clear_caches()
    return run


def training_seconds(run: pathlib.Path, steps: int) -> float:
    """Returns the seconds of the steps without compilation and evaluation: number times median."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    found = [line["seconds_per_step"] for line in lines if "seconds_per_step" in line]
    return statistics.median(found) * steps


def accuracies(generator: Generator, count: int) -> dict[str, float]:
    """Computes the cross-entropies of the module's docstring, as means over `MASK_RATIOS`."""
    config, vqgan = generator.config, generator.vqgan
    model, layout = generator.model, config.model.transformer.layout
    test = pipeline.load_split(
        config.data.dir, "test", generator.tokenizer, tuple(config.data.buckets)
    )
    test = spread_examples(test, count)
    shape = {"positions": vqgan.grid**2, "levels": 1, "layout": "depth"}
    hidden = [
        masking.random_mask(jax.random.key(number), jnp.full(count, ratio), **shape)
        for number, ratio in enumerate(MASK_RATIOS)
    ]
    hidden = np.stack([np.asarray(mask) for mask in hidden], axis=1)  # [M, ratios, N, 1]

    @jax.jit
    def hits(weights, image, reference, texts, hidden):
        batch = {"image": image, "reference": reference, **texts}
        codes, inputs = tokenize_batch(vqgan, generator.encoders, weights, batch)
        no = jnp.zeros(len(codes), bool)
        apply = functools.partial(model.apply, {"params": weights["params"]})
        context, _ = apply(**inputs, drop_text=no, drop_reference=no, method="context")

        def predicted(hidden, level):
            first = level if layout == "flat" else 0  # depth gives its heads the coarser codes
            masked = hidden & (jnp.arange(vqgan.num_quantizers) >= first)
            logits = apply(codes, masked, context, method="logits")
            return logits[:, :, level].argmax(-1)

        def of_ratio(hidden):
            hit = [
                predicted(hidden, level) == codes[..., level]
                for level in range(vqgan.num_quantizers)
            ]
            return (jnp.stack(hit, -1) & hidden).sum(1), hidden.sum(1)  # [B, Q], [B, 1]

        sums, counts = jax.lax.map(of_ratio, jnp.moveaxis(hidden, 1, 0))
        return {"sums": jnp.moveaxis(sums, 0, 1), "counts": jnp.moveaxis(counts, 0, 1)}

    texts = {name: test[name] for name in TEXT_INPUTS}
    arguments = (test["image"], test["reference"], texts, hidden)
    out = map_batches(hits, generator.weights, *arguments, batch_size=16)
    share = (out["sums"].sum(0) / out["counts"].sum(0)).mean(0)  # [Q]
    return {"accuracy_level0": float(share[0]), "accuracy": float(share.mean())}


def scores(run: pathlib.Path, options, draw: Sequence[str] = ()) -> dict[str, float]:
    """Returns AAAD and AU-F1 of the images of a run, cached in a file beside it."""
    words = [word.lstrip("-") for word in draw]
    folder = run.with_name("-".join([run.name, "drawn", *words, f"of-{options.samples}"]))
    if not (folder / report.JSON).exists():
        command = ["--run", str(run), "--scorer", options.scorer, "--metrics", "aaad,units"]
        command += ["--limit", str(options.samples), "--out", str(folder)]
        evaluate.main([*command, *draw])
        jax.clear_caches()
    row = read_object(folder / report.JSON, ValueError)["table"][0]
    return {"aaad": row["AAAD (labels)"], "au_f1": row["AU-F1"]}


def drawing_seconds(generator: Generator, draw: Sequence[str]) -> float:
    """Measures seconds per image of a batch: the median of three calls after the first."""
    parser = argparse.ArgumentParser()
    add_decode_arguments(parser)
    decode = decode_arguments(parser.parse_args(draw))
    size = generator.vqgan.image_size
    reference = np.zeros((size, size, 3), np.uint8)
    requests = [Request(reference, "The brows are raised.", i) for i in range(DRAWN_AT_ONCE)]
    taken = []
    for _ in range(4):
        began = time.perf_counter()
        generator.generate(requests, batch_size=DRAWN_AT_ONCE, **decode)
        taken.append((time.perf_counter() - began) / DRAWN_AT_ONCE)
    return statistics.median(taken[1:])


def learned(layout: str, steps: int, options) -> dict:
    """Returns the table row of a run of `steps` steps."""
    run = train(layout, steps, options)
    row = {"layout": layout, "steps": steps, "seconds": training_seconds(run, steps)}
    kept = run.with_name(f"{run.name}-accuracies-of-{options.samples}.json")
    if not kept.exists():
        write_object(kept, accuracies(Generator.from_run(run), options.samples))
    return row | read_object(kept, ValueError) | scores(run, options)


def drawn(layout: str, draw: Sequence[str], options) -> dict:
    """Returns the table row of the longest run of a layout with these decoding options."""
    run = train(layout, max(getattr(options, layout)), options)
    seconds = drawing_seconds(Generator.from_run(run), draw)
    row = {"layout": layout, "draw": " ".join(draw), "seconds": seconds}
    return row | scores(run, options, draw)


def plot(rows: list[dict]) -> Figure:
    """Plots quality over the seconds of training, a line for each layout."""
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    titles = {"aaad": "AAAD", "accuracy_level0": "accuracy of the first level's codes"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for layout in LAYOUTS:
            of_layout = [row for row in rows if row["layout"] == layout]
            x, y = ([row[key] for row in of_layout] for key in ("seconds", name))
            axes.plot(x, y, "o-", label=layout)
        axes.set(xscale="log", xlabel="seconds of training", ylabel=title)
        axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def markdown(rows: list[dict]) -> str:
    if not rows:
        return ""
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    for row in rows:
        cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.layouts", description=__doc__.split("\n\n")[0]
    )
    add = parser.add_argument
    add("--out", required=True, help="folder of the runs and the table")
    add("--stage1", required=True, metavar="RUN", help="Stage I that all build on")
    add("--probe", required=True, metavar="RUN", help="of the held-out figures in training")
    add("--scorer", required=True, metavar="RUN", help="recogniser for scores")
    for layout, steps in STEPS.items():
        name = layout.replace(" ", "-")
        add(f"--{name}", type=int, nargs="*", default=steps, help=f"numbers of steps ({steps})")
    add("--samples", type=int, default=500, help="to score each on (default 500)")
    add("--seed", type=int, default=0)
    add("--rate", type=float, default=2e-3, help="of learning, at its highest (default 2e-3)")
    options = parser.parse_args(arguments)
    out = pathlib.Path(options.out)
    table = {"learned": [], "drawn": []}

    def note(part: str, row: dict) -> None:
        table[part].append(row)
        write_object(out / "table.json", table)
        (out / "table.md").write_text("\n".join(markdown(rows) for rows in table.values()))
        if table["learned"]:
            plot(table["learned"]).savefig(out / "layouts.png")
        print(json.dumps(row), flush=True)

    for layout in LAYOUTS:
        for steps in getattr(options, layout.replace(" ", "_")):
            note("learned", learned(layout, steps, options))
    for layout, draws in DRAWS.items():
        for draw in draws if getattr(options, layout) else ():
            note("drawn", drawn(layout, draw, options))


if __name__ == "__main__":
    main()
