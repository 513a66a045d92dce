"""Reproduces the paper's tables and figures of generation on open faces, from one command.

    python -m auface_jax.reproduce --tables 2,5,6 --preset quickstart --seeds 3 --figures

trains everything that the tables take and that is not there yet, evaluates it, and writes
reproduction.md, its pictures and reproduction.json. After an interruption the same command goes on;
started twice, two processes share the work; `--dry-run` lists the work.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from auface_jax.reproduction import results, tuning
from auface_jax.reproduction.plan import SCALES, TABLES, Study, listing
from auface_jax.reproduction.runner import PAGE, reproduce
from auface_jax.runs.console import say
from auface_jax.training.preemption import Interrupted


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    study = _study(parser, options)
    try:
        earlier = results.load(Path(options.earlier), study) if options.earlier else None
        if earlier:
            settled = frozenset(tuning.best(study, earlier.trials))
            known = frozenset(earlier.scores)
            study = dataclasses.replace(study, known=known, settled=settled)
        if options.dry_run:
            tuned = tuning.best(study, results.of_runs(study, earlier).trials)
            print("\n".join(listing(study, {name: trial.rate for name, trial in tuned.items()})))
            return
        reproduce(study, Path(options.out), earlier=earlier, with_figures=options.figures)
    except Interrupted as stopped:
        say(str(stopped))
        sys.exit(os.EX_TEMPFAIL)
    except (ValueError, FloatingPointError, OSError) as error:
        parser.error(str(error))


def _study(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Study:
    """Returns the study that the options ask for, or stops with the parser's error."""
    asked = options.tables.split(",")
    if unknown := [name for name in asked if name not in map(str, TABLES)]:
        legal = "; ".join(f"{number}: {words}" for number, words in TABLES.items())
        parser.error(f"--tables {','.join(unknown)}: known are {legal}")
    for name, least in (("seeds", 1), ("samples", 2)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name)}: at least {least}")
    return Study(
        preset=options.preset,
        scale=SCALES[options.preset],
        tables=tuple(sorted({int(name) for name in asked})),
        seeds=options.seeds,
        samples=options.samples,
        runs=Path(options.runs or f"runs/reproduction-{options.preset}"),
        configs=Path(options.configs),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.reproduce",
        description="Trains and evaluates what the paper's tables of generation take, on open "
        "faces, and writes the tables; after an interruption the same command goes on.",
    )
    add = parser.add_argument
    legal = "; ".join(f"{number}: {words}" for number, words in TABLES.items())
    add("--tables", default="2,5,6", help=f"some of {legal} (default all)")
    add("--preset", choices=SCALES, default="quickstart")
    add("--seeds", type=int, default=3, help="number of seeds of both stages (default 3)")
    samples = "largest number of samples that each model is scored on (default 500)"
    add("--samples", type=int, default=500, help=samples)
    add("--figures", action="store_true", help="also the paper's Figures 4 to 7")
    add(
        "--earlier",
        metavar="FILE",
        help=f"{results.FILE} of this study from another machine; work whose figures it holds is "
        "not repeated",
    )
    add("--dry-run", action="store_true", help="list the work, its progress and the time left")
    add("--runs", help="folder of runs and evaluations (default runs/reproduction-PRESET)")
    add("--configs", default="configs", help="folder of the config files (default configs)")
    out = f"folder of {PAGE} and its pictures (default docs/results)"
    add("--out", default="docs/results", help=out)
    return parser


if __name__ == "__main__":
    main()
