"""Commands of `evaluate` beside the evaluation itself."""

import argparse
import json
from pathlib import Path

from auface_jax import facs
from auface_jax.evaluation import prompts
from auface_jax.evaluation.degrees import score_degrees
from auface_jax.evaluation.population import SPLITS, load_population
from auface_jax.evaluation.wordings import compare_wordings
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


def degrees(arguments: list[str]) -> None:
    """Measures whether a stronger word gives a stronger movement."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.evaluate degrees",
        description="Measures whether a stronger word gives a stronger movement.",
    )
    add = parser.add_argument
    add("--run", required=True, help="a finished Stage II run; its probe and data set must exist")
    add("--limit", type=int, default=240, help="largest number of records (default 240)")
    add("--pairs", type=int, default=12, help="pairs of trace and maximum a unit (default 12)")
    add("--seed", type=int, default=0, help="seed of the pictures (default 0)")
    add("--out", required=True, help="the folder to write: degrees.json and degrees.png")
    options = parser.parse_args(arguments)
    out = Path(options.out)
    try:
        scores, sheet = score_degrees(
            options.run, records=options.limit, pairs=options.pairs, seed=options.seed
        )
        out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    figures = scores.figures()
    (out / "degrees.json").write_text(json.dumps(figures, indent=1) + "\n")
    save_png(sheet, out / "degrees.png", synthetic="true", run=options.run)
    for name in ("spearman_generated", "spearman_real", "right_pairs"):
        say(f"  {name:20} {figures[name]:.4f}")
    say(f"{out}")


def wordings(arguments: list[str]) -> None:
    """Measures whether one label row in ten wordings gives the same face."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.evaluate wordings",
        description="Measures whether one label row in ten wordings gives the same face.",
    )
    add = parser.add_argument
    add("--run", required=True, help="a finished Stage II run; its probe and data set must exist")
    add("--rows", type=int, default=24, help="number of label rows (default 24)")
    add("--seed", type=int, default=0, help="seed of the pictures (default 0)")
    add("--out", required=True, help="the folder to write: wordings.json and wordings.png")
    options = parser.parse_args(arguments)
    out = Path(options.out)
    try:
        figures, sheet, texts = compare_wordings(options.run, rows=options.rows, seed=options.seed)
        out.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    (out / "wordings.json").write_text(json.dumps(figures | {"texts": texts}, indent=1) + "\n")
    save_png(sheet, out / "wordings.png", synthetic="true", run=options.run)
    for name, value in figures.items():
        say(f"  {name:20} {value:.4f}")
    say(f"{out}")


SUBCOMMANDS = {"export-prompts": export_prompts, "degrees": degrees, "wordings": wordings}
