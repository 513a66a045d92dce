"""Measures a system that draws faces from descriptions: a run of this project, or any other.

    python -m auface_jax.evaluate --run RUN --scorer RUN --out FOLDER
    python -m auface_jax.evaluate export-prompts --data DATA --split test --out PROMPTS
    python -m auface_jax.evaluate --prompts PROMPTS --images FOLDER --scorer RUN --out FOLDER

The second command writes what the third wants pictures of: see `evaluation.prompts`. FOLDER gets
report.md, report.json, records.csv and plots. What the figures mean: docs/explanation/evaluation.md.
"""

import argparse
import hashlib
import sys
import time
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from auface_jax import facs
from auface_jax.evaluation import prompts, report, run_metrics
from auface_jax.evaluation.cache import cache_folder
from auface_jax.evaluation.draw_system import draw
from auface_jax.evaluation.extraction import Viewer
from auface_jax.evaluation.plots import write_plots
from auface_jax.evaluation.population import SPLITS, load_population, same_data
from auface_jax.evaluation.results import Findings
from auface_jax.evaluation.scorer import load_scorer
from auface_jax.generation.decode_arguments import add_decode_arguments, decode_arguments
from auface_jax.generation.generator import Generator
from auface_jax.generation.request import LARGEST_SEED
from auface_jax.metrics.lpips import load_lpips
from auface_jax.pretrained import convert
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.recognition.roles import loss_recognizers
from auface_jax.recognition.text_reader import load_text_reader
from auface_jax.runs import checkpoints
from auface_jax.runs.console import say

# Where converted weights are looked for when nothing else is said.
INCEPTION, LPIPS = "weights/inception", ("weights/alexnet", "weights/lpips-alexnet")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["export-prompts"]:
        export_prompts(arguments[1:])
        return
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    try:
        evaluate(options)
    except prompts.PicturesError as error:
        path = Path(options.out) / report.FAULTS
        path.write_text(error.listing)
        sys.exit(f"error: {error}\nall of them: {path}")
    except (ValueError, OSError) as error:
        parser.error(str(error))


def evaluate(options: argparse.Namespace) -> None:
    """Pictures, drawn or read; every network looks at them once; figures, plots, report."""
    out, began = Path(options.out), time.monotonic()
    generator, notes = None, []
    if options.run:
        generator = Generator.from_run(options.run)
        generator.config.decode.update(decode_arguments(options))
        config = generator.config.data
        population = load_population(
            options.data or config.dir,
            options.split,
            limit=options.limit,
            degrees=config.get("degrees", False),
            dictionary=facs.load_dictionary(config.get("dictionary") or None),
        )
        pleased = loss_recognizers(options.run)
        about = {"run": options.run, "decode": generator.config.decode.to_dict()}
        if options.data and not (Path(config.dir).exists() and same_data(population, config.dir)):
            notes.append(
                f"{options.data} is not the data set that the run's config names: whether it was "
                "trained on these people and label rows is not known."
            )
    else:
        population = prompts.load_prompts(options.prompts, options.data)
        pleased = {run: load_recognizer(run).fingerprint for run in options.loss_recognizer}
        about = {"images": options.images, "prompts": options.prompts}
    truth = population.seen_test()  # that C_min and C_max are of
    say(f"{population}")

    judge = load_scorer(options.scorer, pleased=pleased)
    inception = convert.load(options.inception, "inception") if options.inception else None
    perceptual = load_lpips(*options.lpips) if options.lpips else None
    reader = reads = None
    if options.text_reader:
        reader = load_text_reader(Path(options.text_reader))
        fingerprint = checkpoints.weights_fingerprint(reader.weights)
        reads = {"name": options.text_reader, "fingerprint": fingerprint}
    folder = None if options.no_cache else cache_folder()
    viewer = Viewer(judge, inception, folder)
    wanted, left_out = run_metrics.choose(
        options.metrics, population, viewer, perceptual, drawn=generator is not None
    )
    findings = Findings(
        name=options.name or Path(options.run or options.images).name,
        about=about,
        population=population,
        truth=truth,
        scorer={"name": judge.name, "kind": judge.kind, "fingerprint": judge.fingerprint},
        text_reader=reads,
        seed=options.seed,
        features=viewer.features_name,
        notes=notes + left_out,
    )
    beside = report.read_beside(options.beside, findings)
    report.make_folder(out)  # nothing that can be known before is wrong: now the long work

    if generator:
        made = draw(generator, population, seed=options.seed)
        say(f"{len(made):,} pictures drawn, {_since(began)}")
    else:
        made = prompts.read_pictures(population, options.images, resize=options.resize)
        (out / report.FAULTS).unlink(missing_ok=True)  # of an attempt before
        findings.notes += _twins(made)
        say(f"{len(made):,} pictures read, {_since(began)}")
    views = run_metrics.look(viewer, population, truth, made)
    say(f"every picture looked at, {_since(began)}")
    run_metrics.measure(findings, views, wanted, reader=reader, made=made, perceptual=perceptual)
    if "diversity" in wanted:
        run_metrics.measure_diversity(findings, viewer, generator, made)
    read = views.system.reading
    paths = write_plots(findings, out, made, read.units)
    report.write_records(out / report.RECORDS, findings, read.probabilities)
    report.write_report(findings, out, beside=beside, plots=paths)
    for line in report.summary(findings):
        say(line)
    say(f"{out / report.MARKDOWN}, {_since(began)}")


def export_prompts(arguments: list[str]) -> None:
    """The command `export-prompts`."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.evaluate export-prompts",
        description="Writes texts, labels and reference faces for any other system to draw from.",
    )
    parser.add_argument("--data", required=True, help="folder of a built data set")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--limit", type=int, help="at most so many, evenly over the split")
    parser.add_argument(
        "--degrees", action="store_true", help="degree words in the texts, where intensities exist"
    )
    parser.add_argument(
        "--dictionary",
        metavar="FILE",
        help="of the texts: the run's data.dictionary, to compare with a run that has one "
        "(default: the project's own)",
    )
    parser.add_argument("--out", required=True, help="the folder to write")
    options = parser.parse_args(arguments)
    try:
        population = load_population(
            options.data,
            options.split,
            limit=options.limit,
            degrees=options.degrees,
            dictionary=facs.load_dictionary(options.dictionary) if options.dictionary else None,
        )
        out = prompts.export_prompts(population, options.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    say(f"{population}")
    say(
        f"{out}: draw a {population.size} px picture for each line of manifest.csv, then\n"
        f"  python -m auface_jax.evaluate --prompts {out} --images FOLDER --scorer RUN --out REPORT"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.evaluate",
        description="Measures a run, or the pictures that another system made of exported prompts.",
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", default="", help="a finished Stage II run")
    what.add_argument("--images", default="", help="folder of another system's pictures")
    add("--prompts", default="", help="with --images: the folder that export-prompts wrote")
    add("--data", default="", help="the data set, where it is not in its place or is another")
    add("--split", choices=SPLITS, help="with --run: which records (default test)")
    add("--limit", type=int, help="with --run: at most so many records, evenly over the split")
    add("--resize", action="store_true", help="with --images: take squares of one other size")
    add(
        "--loss-recognizer",
        action="append",
        default=[],
        metavar="RUN",
        help="with --images: a recogniser that a loss of the system used; it may not judge",
    )
    add("--scorer", required=True, help="what judges: a run of au_image, or a quickstart's probe")
    add("--text-reader", default="", metavar="RUN", help="a run of au_text, beside the labels")
    add(
        "--metrics",
        default="",
        help=f"of {','.join(run_metrics.METRICS)} (default: all that can be had)",
    )
    add("--inception", help=f"converted weights for FID, KID, IS (default {INCEPTION}, if there)")
    add(
        "--lpips",
        nargs=2,
        metavar=("BACKBONE", "HEADS"),
        help=f"converted weights for LPIPS (default {' '.join(LPIPS)}, if there)",
    )
    add("--name", default="", help="of the system, in tables")
    add("--beside", nargs="+", default=[], metavar="FOLDER", help="earlier reports, in one table")
    add("--seed", type=int, default=0, help="of pictures, shuffled texts, intervals (default 0)")
    add("--no-cache", action="store_true", help="read real pictures anew and keep nothing")
    add("--out", required=True, help="the folder to write")
    add_decode_arguments(parser)
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuses options that do not go together, and fills in defaults that depend on others."""
    faults = []
    if options.run:
        given = {"--prompts": options.prompts, "--resize": options.resize}
        given["--loss-recognizer"] = options.loss_recognizer
        faults += [f"{name} goes with --images, not with --run" for name in given if given[name]]
        options.split = options.split or "test"
    else:
        if not options.prompts:
            faults.append("--images needs --prompts, the folder that export-prompts wrote")
        faults += [
            f"--{name.replace('_', '-')} goes with --run, not with --images"
            for name in decode_arguments(options)
        ]
        given = {"--split": options.split, "--limit": options.limit}
        faults += [
            f"{name} was settled when the prompts were exported"
            for name in given
            if given[name] is not None
        ]
    if not 0 <= options.seed <= LARGEST_SEED:
        faults.append(f"--seed {options.seed}: give a whole number from 0 to {LARGEST_SEED}")
    if (Path(options.out) / report.JSON).exists():
        faults.append(f"{options.out} holds a report already; name another folder or remove it")
    options.metrics = [name for name in options.metrics.split(",") if name]
    if unknown := [name for name in options.metrics if name not in run_metrics.METRICS]:
        faults.append(f"--metrics {','.join(unknown)}: known are {', '.join(run_metrics.METRICS)}")
    if faults:
        parser.error("; ".join(faults))
    if options.inception is None and Path(INCEPTION).is_dir():
        options.inception = INCEPTION
    if options.lpips is None and all(Path(part).is_dir() for part in LPIPS):
        options.lpips = LPIPS


def _twins(made: UInt8[np.ndarray, "M S S 3"]) -> list[str]:
    """A note where pictures of several records are the same to the last pixel."""
    different = len({hashlib.sha256(picture.tobytes()).digest() for picture in made})
    if different == len(made):
        return []
    return [f"Of the {len(made):,} pictures only {different:,} differ from each other."]


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s since the start"


if __name__ == "__main__":
    main()
