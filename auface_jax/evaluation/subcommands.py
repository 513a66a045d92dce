"""Commands of `evaluate` beside the evaluation itself."""

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from auface_jax import facs
from auface_jax.evaluation import prompts
from auface_jax.evaluation.degrees import score_degrees
from auface_jax.evaluation.population import SPLITS, load_population
from auface_jax.evaluation.wording_agreement import compare_wordings
from auface_jax.images.files import save_png
from auface_jax.runs.console import say


def export_prompts(arguments: list[str]) -> None:
    """Writes the prompts that any other system can draw from."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.evaluate export-prompts",
        description="Writes texts, labels and reference faces for any other system to draw from.",
    )
    add = parser.add_argument
    add("--data", required=True, help="folder of a built data set")
    add("--split", choices=SPLITS, default="test")
    add("--limit", type=int, help="largest number of records, evenly over the split")
    add("--degrees", action="store_true", help="degree words in texts, where intensities exist")
    dictionary = "dictionary of the texts: a run's data.dictionary, to compare with that run"
    add("--dictionary", metavar="FILE", help=f"{dictionary} (default: the project's own)")
    add("--out", required=True, help="the folder to write")
    options = parser.parse_args(arguments)
    with _refusing(parser):
        population = load_population(
            options.data,
            options.split,
            limit=options.limit,
            degrees=options.degrees,
            dictionary=facs.load_dictionary(options.dictionary) if options.dictionary else None,
        )
        out = prompts.export_prompts(population, options.out)
    say(f"{population}")
    say(
        f"{out}: draw a {population.size} px picture for each line of manifest.csv, then\n"
        f"  python -m auface_jax.evaluate --prompts {out} --images FOLDER --scorer RUN --out REPORT"
    )


def degrees(arguments: list[str]) -> None:
    """Measures whether a stronger word gives a stronger movement."""
    parser = _parser("degrees", degrees.__doc__)
    parser.add_argument("--limit", type=int, default=240, help="most records (default 240)")
    parser.add_argument(
        "--pairs", type=int, default=12, help="pairs of trace and maximum a unit (default 12)"
    )
    options = parser.parse_args(arguments)
    with _refusing(parser):
        scores, sheet = score_degrees(
            options.run, records=options.limit, pairs=options.pairs, seed=options.seed
        )
        _write("degrees", options, scores.figures(), sheet)
    for name in ("spearman_generated", "spearman_real", "right_pairs"):
        say(f"  {name:20} {scores.figures()[name]:.4f}")


def wordings(arguments: list[str]) -> None:
    """Measures whether one label row in ten wordings gives the same face."""
    parser = _parser("wordings", wordings.__doc__)
    parser.add_argument("--rows", type=int, default=24, help="label rows (default 24)")
    options = parser.parse_args(arguments)
    with _refusing(parser):
        figures, sheet, texts = compare_wordings(options.run, rows=options.rows, seed=options.seed)
        _write("wordings", options, figures | {"texts": texts}, sheet)
    for name, value in figures.items():
        say(f"  {name:20} {value:.4f}")


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    """Makes the parser of a command that draws from a run and writes figures and a sheet."""
    parser = argparse.ArgumentParser(
        prog=f"python -m auface_jax.evaluate {name}", description=description
    )
    add = parser.add_argument
    add("--run", required=True, help="a finished Stage II run; its probe and data set must exist")
    add("--seed", type=int, default=0, help="seed of the pictures (default 0)")
    add("--out", required=True, type=Path, help=f"the folder to write: {name}.json and {name}.png")
    return parser


@contextlib.contextmanager
def _refusing(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Ends the command with a message where a run, a data set or a file cannot be used."""
    try:
        yield
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _write(
    name: str, options: argparse.Namespace, figures: dict[str, Any], sheet: Image.Image
) -> None:
    """Writes figures and sheet to the folder that the options name."""
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    save_png(sheet, options.out / f"{name}.png", synthetic="true", run=options.run)
    say(f"{options.out}")


SUBCOMMANDS = {"export-prompts": export_prompts, "degrees": degrees, "wordings": wordings}
