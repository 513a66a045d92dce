"""Ablation of Stage I's losses: runs of equal length and seed, and a table of their figures.

    python -m benchmarks.stage1_ablation --steps 800 --out runs/stage1-ablation \
        --teacher runs/au_image_loss-quickstart --scorer runs/au_image-quickstart

trains the quickstart's Stage I once for every row and writes `table.md` and `table.json` to the
folder after each run. When it is started again it resumes: finished runs are not trained again.
`--teacher` is the recogniser of the losses (`configs/au_image_loss.py`), `--scorer` the one of the
scores (`configs/au_image.py`). `--runs RUN...` measures finished Stage I runs instead of the rows.
"""

import argparse
import functools
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np

from auface_jax.data import tokenizer
from auface_jax.data.loading import pipeline
from auface_jax.evaluation import reconstruction
from auface_jax.generation.stage1 import level_previews, load_vqgan
from auface_jax.images import pixels
from auface_jax.parallel.map_batches import map_batches
from auface_jax.pretrained import lpips
from auface_jax.recognition.image_recognizer import Recognizer, load_recognizer, recognizer_input
from auface_jax.runs import checkpoints

L1 = {"loss.l2": 0, "loss.gradient": 0, "loss.commit": 0}
COMMIT = L1 | {"loss.commit": 0.25}
PERCEPTUAL = COMMIT | {"loss.perceptual": "{perceptual}", "perceptual.network": "{teacher}"}
GAN = PERCEPTUAL | {"gan.weight": "{gan}", "gan.start_step": "{half}"}
ANATOMICAL = {"loss.anatomical": "{anatomical}", "anatomical.run": "{teacher}"}
# Rows of the table, each with the leaves of the quickstart's config that differ.
VARIANTS = {
    "l1": L1,
    "commit": COMMIT,
    "commit_1": L1 | {"loss.commit": 1},
    "commit_shared": COMMIT | {"model.shared_codebook": "true"},
    "commit_scales": COMMIT | {"model.num_quantizers": 7, "model.scales": "(4,4,4,4,8,8,8)"},
    "perceptual": PERCEPTUAL,
    "gan": GAN,
    "anatomical": GAN | ANATOMICAL,
    "commit_anatomical": COMMIT | ANATOMICAL,
    "quickstart": {},
    "quickstart_anatomical": ANATOMICAL,
}


def picture_map(recognizer: Recognizer, variables, images):
    """Computes a recogniser's map of the whole image, with vectors of length 1."""
    seen = recognizer_input(pixels.to_float(images), recognizer.size, recognizer.crop)
    found = recognizer.module.apply(variables, seen, method="unit_maps")[0].astype("float32")
    return lpips.unit_length(found[:, None])[:, 0]


def figures(
    run: pathlib.Path, scorer: Recognizer, teacher: Recognizer, count: int
) -> dict[str, float]:
    """Computes figures as means over held-out images of the run's data set."""
    vqgan, weights = load_vqgan(run)
    records = pipeline.load_split(
        pathlib.Path(checkpoints.load_config(run).data.dir),
        "test",
        limit=count,
        tokenizer=tokenizer.load_tokenizer(),
        buckets=(128, 256, 512, 1024),
    )
    images = records["image"]
    previews = functools.partial(level_previews, vqgan)
    levels = map_batches(previews, weights, images, batch_size=32)
    made = levels[:, -1]
    measured = reconstruction.measure(images, levels)
    of_map = jax.jit(functools.partial(picture_map, scorer))
    maps = [map_batches(of_map, scorer.variables, one, batch_size=32) for one in (images, made)]
    distance = np.square(maps[0] - maps[1]).sum(-1).reshape(len(images), -1).mean(-1)
    return {
        "bits": vqgan.bits_per_image,
        "psnr": float(measured["psnr"].mean()),
        "ssim": float(measured["ssim"].mean()),
        "feature_distance": float(distance.mean()),
        "au_agreement": float(reconstruction.agreement(scorer, images, made).mean()),
        "au_agreement_teacher": float(reconstruction.agreement(teacher, images, made).mean()),
    }


def train(name: str, options) -> pathlib.Path:
    """Trains the run of a row until it is finished, and returns it."""
    run = pathlib.Path(options.out, name)
    if checkpoints.has_export(run):
        return run
    values = vars(options) | {"half": options.steps // 2}
    leaves = {leaf: str(value).format(**values) for leaf, value in VARIANTS[name].items()}
    leaves |= {"num_steps": options.steps, "log_every": 50, "sample_every": 0}
    command = [sys.executable, "-m", "auface_jax.train", "--workdir", str(run)]
    command += ["--config", "configs/stage1.py:quickstart"]
    command += [f"--config.{leaf}={value}" for leaf, value in leaves.items()]
    subprocess.run(command + options.options, check=True)
    return run


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stage1_ablation", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", required=True, help="folder of the runs and the table")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--teacher", required=True, metavar="RUN", help="recogniser for losses")
    parser.add_argument("--scorer", required=True, metavar="RUN", help="recogniser for scores")
    parser.add_argument("--rows", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--runs", nargs="+", type=pathlib.Path, help="finished runs to measure")
    for name, weight in (("perceptual", 0.1), ("gan", 0.1), ("anatomical", 0.015)):
        parser.add_argument(f"--{name}", type=float, default=weight, help=f"weight ({weight})")
    parser.add_argument("--images", type=int, default=256, help="held-out pictures")
    parser.add_argument("options", nargs="*", help="for every training, after --: --config.LEAF=…")
    options = parser.parse_args(arguments)
    teacher = load_recognizer(options.teacher, role="loss")
    scorer = load_recognizer(
        options.scorer, role="score", forbidden={options.teacher: teacher.fingerprint}
    )
    rows, out = {}, pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for name in options.runs or options.rows:
        run = name if options.runs else train(name, options)
        rows[str(name)] = figures(run, scorer, teacher, options.images)
        (out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
        (out / "table.md").write_text(markdown(rows))
        print(json.dumps({"row": str(name)} | rows[str(name)]), flush=True)


def markdown(rows: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(rows.values())))
    lines = ["| run | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[n]:.4g}" for n in names) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
