"""Measures a system that draws faces from descriptions: a run of this project, or any other.

    python -m auface_jax.evaluate --run RUN --scorer RUN --out FOLDER
    python -m auface_jax.evaluate export-prompts --data DATA --split test --out PROMPTS
    python -m auface_jax.evaluate degrees --run RUN --out FOLDER
    python -m auface_jax.evaluate wordings --run RUN --out FOLDER
    python -m auface_jax.evaluate --prompts PROMPTS --images FOLDER --scorer RUN --out FOLDER

`export-prompts` writes the prompts that the last command needs pictures of (`evaluation.prompts`).
`degrees` asks whether a stronger word gives a stronger movement (`evaluation.degrees`). `wordings`
asks whether one label row in ten wordings gives one face (`evaluation.wording_agreement`). The
first and the last command write report.md, report.json, records.csv and plots.
docs/explanation/evaluation.md explains the figures.
"""

import argparse
import sys
from pathlib import Path

from auface_jax.evaluation import prompts, report, run, run_metrics, subcommands
from auface_jax.evaluation.population import SPLITS
from auface_jax.evaluation.wording import DICTIONARY, WORDINGS
from auface_jax.generation.decode_arguments import add_decode_arguments, decode_arguments
from auface_jax.generation.request import LARGEST_SEED


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in subcommands.SUBCOMMANDS:
        subcommands.SUBCOMMANDS[arguments[0]](arguments[1:])
        return
    parser = _parser()
    options = _options(parser, parser.parse_args(arguments))
    try:
        run.evaluate(options)
    except prompts.PicturesError as error:
        sys.exit(f"error: {error}\nall of them: {options.out / report.FAULTS}")
    except (ValueError, OSError) as error:
        parser.error(str(error))


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
    add("--data", default="", help="the data set, if it was moved or another one is wanted")
    add("--split", choices=SPLITS, help="with --run: split of the records (default test)")
    add("--limit", type=int, help="with --run: largest number of records, evenly over the split")
    add("--resize", action="store_true", help="with --images: accept squares of one other size")
    recognizer = "with --images: a recogniser that trained the system; it must not be the scorer"
    add("--loss-recognizer", action="append", default=[], metavar="RUN", help=recognizer)
    add("--scorer", required=True, help="reads the units: a run of au_image or au_probe")
    add("--text-reader", default="", metavar="RUN", help="a run of au_text, beside the labels")
    known = ",".join(run_metrics.METRICS)
    add("--metrics", default="", help=f"some of {known} (default: all that can be measured)")
    add(
        "--inception",
        help=f"converted weights for FID, KID, IS (default {run.INCEPTION}, if there)",
    )
    backbone = f"converted weights for LPIPS (default {' '.join(run.LPIPS)}, if there)"
    add("--lpips", nargs=2, metavar=("BACKBONE", "HEADS"), help=backbone)
    words = f"words of the texts: {', '.join(WORDINGS)}, or a CSV with the columns codes and text"
    add("--wording", default=DICTIONARY, help=f"{words} (default {DICTIONARY})")
    add("--degrees", action="store_true", help="with --run: degree words, where intensities exist")
    add("--name", default="", help="name of the system in tables")
    add("--beside", nargs="+", default=[], metavar="FOLDER", help="earlier reports, in one table")
    add("--seed", type=int, default=0, help="seed of pictures, shuffles, intervals (default 0)")
    add("--no-cache", action="store_true", help="read real pictures anew and keep no readings")
    add("--out", required=True, help="the folder to write")
    add_decode_arguments(parser)
    return parser


def _options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> run.EvaluationOptions:
    """Refuses options that do not go together, and fills in defaults that depend on others."""
    faults, decode = [], decode_arguments(given)
    if given.run:
        of_images = {"--prompts": given.prompts, "--resize": given.resize}
        of_images["--loss-recognizer"] = given.loss_recognizer
        faults += [f"{n} goes with --images, not with --run" for n in of_images if of_images[n]]
    else:
        if not given.prompts:
            faults.append("--images needs --prompts, the folder that export-prompts wrote")
        if given.wording != DICTIONARY:
            faults.append("--wording goes with --run; other systems read what was exported")
        options = [f"--{name.replace('_', '-')}" for name in decode]
        faults += [f"{option} goes with --run, not with --images" for option in options]
        if given.degrees:
            faults.append("--degrees was settled when the prompts were exported")
        for name, value in {"--split": given.split, "--limit": given.limit}.items():
            if value is not None:
                faults.append(f"{name} was settled when the prompts were exported")
    if not 0 <= given.seed <= LARGEST_SEED:
        faults.append(f"--seed {given.seed}: give a whole number from 0 to {LARGEST_SEED}")
    if (Path(given.out) / report.JSON).exists():
        faults.append(f"{given.out} holds a report already; name another folder or remove it")
    metrics = tuple(name for name in given.metrics.split(",") if name)
    if unknown := [name for name in metrics if name not in run_metrics.METRICS]:
        faults.append(f"--metrics {','.join(unknown)}: known are {', '.join(run_metrics.METRICS)}")
    if faults:
        parser.error("; ".join(faults))
    unchanged = (
        "scorer",
        "run",
        "images",
        "prompts",
        "resize",
        "data",
        "limit",
        "text_reader",
        "wording",
        "degrees",
    )
    return run.EvaluationOptions(
        **{name: getattr(given, name) for name in (*unchanged, "name", "seed")},
        out=Path(given.out),
        decode=decode,
        loss_recognizers=tuple(given.loss_recognizer),
        split=given.split or "test",
        metrics=metrics,
        inception=given.inception or run.default_inception(),
        lpips=tuple(given.lpips) if given.lpips else run.default_lpips(),
        beside=tuple(given.beside),
        cache=not given.no_cache,
    )


if __name__ == "__main__":
    main()
