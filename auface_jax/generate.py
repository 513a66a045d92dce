"""Draws faces: a reference face and a description of action units -> pictures of that person.

    python -m auface_jax.generate --run RUN --aus 6,12 --reference face.png --out faces.png
    python -m auface_jax.generate --run RUN --text "The brows are raised." --num 4
    python -m auface_jax.generate --run RUN --aus 12 --change mouth --reference face.png
    python -m auface_jax.generate --run RUN --aus 4 --to-aus 6,12 --out from_frown_to_smile.gif
    python -m auface_jax.generate --run RUN --jobs jobs.csv --out folder

Every picture says in its metadata that it is synthetic, with the text, the seed and the run.
"""

import argparse
import pathlib

from auface_jax import facs
from auface_jax.faces.template import EDIT_REGIONS
from auface_jax.generation.decode_arguments import add_decode_arguments, decode_arguments
from auface_jax.generation.option_faults import csv_faults, out_faults
from auface_jax.generation.output_paths import ending, overwrite_faults, write_faults
from auface_jax.generation.request import LARGEST_SEED
from auface_jax.generation.write_pictures import GenerationOptions, generate
from auface_jax.recognition.understanding import say_disagreement, say_what_is_read


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.generate",
        description="Draws faces from a reference face and a description of action units.",
    )
    add = parser.add_argument
    add("--run", required=True, help="a finished Stage II run, runs/stage2-quickstart")
    what = parser.add_mutually_exclusive_group(required=True)
    units = "active units to make a text of, such as 6,12, or with FACS degrees, 6C,12E"
    what.add_argument("--aus", help=units)
    what.add_argument("--text", help="a description in words")
    columns = "one picture a line; see auface_jax/generation/request_csv.py"
    what.add_argument("--jobs", metavar="CSV", help=columns)
    reference = "an image file with one face, or a person of the run's data set"
    add("--reference", default="", help=f"{reference} (default: its first test person)")
    aligned = "the image file is framed as the training faces are: take its middle as it is"
    add("--reference-aligned", action="store_true", help=aligned)
    regions = f"some of {', '.join(EDIT_REGIONS)}, joined by commas"
    change = f"draw only {regions}, and keep the rest of the reference; or a mask, white to draw"
    add("--change", metavar="REGIONS", help=change)
    add("--num", type=int, help="number of pictures (default 4); a GIF shows one")
    add("--seed", type=int, help="seed of text and pictures (default 0)")
    to = parser.add_mutually_exclusive_group()
    to.add_argument("--to-aus", help="with --out X.gif: from the first description to these units")
    to.add_argument("--to-text", help="the same in words")
    where = "also show where on the reference each sentence looks (AU attention)"
    add("--explain", metavar="PNG", help=where)
    add(
        "--out",
        help="one PNG with the reference and all pictures (default faces.png); a folder (a name "
        "without an ending) for a PNG each; or a GIF of the first picture as it appears",
    )
    add_decode_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = make_parser()
    options = _options(parser, parser.parse_args(arguments))
    try:
        for units in (options.aus, options.to_aus):
            if units is not None:
                facs.parse_scores(units)  # finds a mistake before the run is loaded
        stated = say_what_is_read(options.text)
        say_what_is_read(options.to_text)
        drawn = generate(options)
        if stated is not None and drawn is not None:
            say_disagreement(options.run, stated, drawn.pictures, drawn.reference)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> GenerationOptions:
    """Refuses options that do not go together, and fills in defaults that depend on others."""
    out = given.out or ("" if given.jobs is not None else "faces.png")
    faults = csv_faults(given, out) if given.jobs is not None else out_faults(given, out)
    if given.text is not None and not given.text.strip():
        faults.append("--text is empty; describe what the face does, or use --aus")
    if given.num is not None and given.num < 1:
        faults.append(f"--num {given.num}: at least 1")
    if given.seed is not None and not 0 <= given.seed <= LARGEST_SEED:
        faults.append(f"--seed {given.seed}: a whole number from 0 to {LARGEST_SEED}")
    if given.explain is not None and ending(given.explain) != ".png":
        faults.append(f"--explain {given.explain}: the name of a PNG ends in .png")
    num, path = 4 if given.num is None else given.num, pathlib.Path(out)
    if not faults:
        explain = pathlib.Path(given.explain) if given.explain else None
        faults += write_faults({"--out": path, "--explain": explain})
        if given.jobs is None:  # `read_request_csv` checks the pictures of a CSV
            read = filter(None, (given.reference, given.change))
            faults += overwrite_faults(path, explain, num, read)
    if faults:
        parser.error("; ".join(faults))
    same = ("run", "text", "aus", "reference", "reference_aligned", "change")
    return GenerationOptions(
        **{name: getattr(given, name) for name in (*same, "to_text", "to_aus", "explain")},
        csv=given.jobs,
        out=path,
        num=num,
        seed=given.seed or 0,
        decode=decode_arguments(given),
    )


if __name__ == "__main__":
    main()
