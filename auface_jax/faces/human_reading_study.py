"""A study of whether viewers recognise each action unit from its picture.

    python -m auface_jax.faces.human_reading_study draw --out DIR --key KEY.csv [--source ict ...]
    python -m auface_jax.faces.human_reading_study score --key KEY.csv --answers answers.csv
    python -m auface_jax.recognize DIR --out table.csv
    python -m auface_jax.faces.human_reading_study score --key KEY.csv --table table.csv

`draw` writes pictures of one unit each, in random order and in files whose names say nothing.
Every picture shows another person, so that no picture explains another. The key, which says the
unit of each picture, is written where `--key` says, away from the pictures; viewers do not open it.
Viewers answer with a CSV of `picture,answer`, where the answer is the number of a unit. `score`
prints a confusion matrix and the number of recognised units: a unit counts as recognised when more
than half of its pictures were named right. A recogniser can take part with its table of
probabilities: its answer is the likeliest unit.
"""

import argparse
import csv
import pathlib
import sys

import numpy as np
from jaxtyping import Int
from PIL import Image

from auface_jax.faces.mesh.face_model import FaceModel
from auface_jax.faces.person import Scene
from auface_jax.faces.registry import MODELS, load_model
from auface_jax.faces.render.render import render
from auface_jax.faces.sampler import sample_person
from auface_jax.faces.sheet import synthetic_info
from auface_jax.facs import AU_NUMBERS, labels_from_units


def draw_pictures(
    model: FaceModel,
    out: pathlib.Path,
    key: pathlib.Path,
    *,
    pictures_per_unit: int,
    size: int,
    seed: int,
) -> None:
    """Writes the pictures of a study into a folder, and the unit of each into a key.

    Args:
        model: the face model.
        out: folder of the pictures; it must be empty or not exist.
        key: CSV of `picture,unit`; it must not exist.
        pictures_per_unit: number of pictures of each unit.
        size: pixels a side.
        seed: seed of the people and of the order.

    Raises:
        ValueError: the key exists, `out` is not empty, or the size is illegal.
    """
    if key.exists():
        raise ValueError(f"{key} exists: name another file, or remove it")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: name another folder, or empty it")
    out.mkdir(parents=True, exist_ok=True)
    key.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    # The order depends on the model: answers to one study say nothing about another.
    order = np.random.default_rng([seed, 3, *model.name.encode()])
    for index, number in enumerate(order.permutation(pictures_per_unit * AU_NUMBERS)):
        person = sample_person(np.random.default_rng([seed, index, 0]), model)
        image, _ = render(model, person, labels_from_units([number]), Scene(), size)
        name = f"{index:03d}.png"
        Image.fromarray(image).save(out / name, pnginfo=synthetic_info())
        rows.append((name, number))
    with open(key, "w", newline="") as file:
        csv.writer(file).writerows([("picture", "unit"), *rows])


def read_units(path: pathlib.Path, column: str) -> dict[str, int]:
    """Reads the unit of each picture from a key or from a viewer's answers.

    Args:
        path: a CSV with the columns `picture` and `column`.
        column: column of the units, such as "unit" or "answer".

    Raises:
        ValueError: a column is missing, a picture appears twice, or a unit is unknown.
    """
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    units = {}
    for line, row in enumerate(rows, 2):
        if not row.get("picture") or not row.get(column):
            raise ValueError(f"{path}, line {line}: expected the columns picture,{column}")
        number = row[column].strip().upper().removeprefix("AU")
        if not number.isdigit() or int(number) not in AU_NUMBERS:
            raise ValueError(
                f"{path}, line {line}: {row[column]!r} is none of {', '.join(map(str, AU_NUMBERS))}"
            )
        if row["picture"] in units:
            raise ValueError(f"{path}, line {line}: {row['picture']} appears twice")
        units[row["picture"]] = int(number)
    return units


def read_likeliest_units(path: pathlib.Path) -> dict[str, int]:
    """Reads the likeliest unit of each picture from a table of `auface_jax.recognize`.

    Raises:
        ValueError: a column is missing, a probability is not a number, or a picture appears twice.
    """
    columns = [f"AU{number}" for number in AU_NUMBERS]
    units = {}
    with open(path, newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                picture = pathlib.Path(row["path"]).name
                probabilities = np.array([float(row[column]) for column in columns])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {line}: expected path and numbers for {', '.join(columns)}"
                ) from error
            if picture in units:
                raise ValueError(f"{path}, line {line}: {picture} appears twice")
            units[picture] = AU_NUMBERS[int(probabilities.argmax())]
    return units


def confusion_matrix(key: dict[str, int], answers: dict[str, int]) -> Int[np.ndarray, "A A"]:
    """Counts the pictures of each shown unit (row) by the unit that was answered (column).

    Raises:
        ValueError: a picture has no answer, or an answer has no picture.
    """
    if unmatched := sorted(key.keys() ^ answers.keys()):
        raise ValueError(
            f"{len(unmatched)} pictures are in one table only, first {unmatched[0]}: give the key "
            "and the answers of one study"
        )
    matrix = np.zeros((len(AU_NUMBERS), len(AU_NUMBERS)), int)
    for picture, unit in key.items():
        matrix[AU_NUMBERS.index(unit), AU_NUMBERS.index(answers[picture])] += 1
    return matrix


def report(matrix: Int[np.ndarray, "A A"]) -> str:
    """A Markdown table of a confusion matrix, with the numbers of right pictures and units."""
    lines = [
        "| shown \\ read | " + " | ".join(f"{n}" for n in AU_NUMBERS) + " |",
        "|---" * (len(AU_NUMBERS) + 1) + "|",
    ]
    for number, row in zip(AU_NUMBERS, matrix, strict=True):
        lines.append(f"| AU{number} | " + " | ".join(str(n) if n else "" for n in row) + " |")
    right = np.diag(matrix)
    recognised = int((2 * right > matrix.sum(1)).sum())
    lines.append(
        f"\n{right.sum()} of {matrix.sum()} pictures right; "
        f"{recognised} of {len(AU_NUMBERS)} units recognised"
    )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    draw = commands.add_parser("draw", help="write the pictures of a study and their key")
    draw.add_argument("--out", type=pathlib.Path, required=True, help="empty folder for pictures")
    draw.add_argument("--key", type=pathlib.Path, required=True, help="CSV file for the units")
    draw.add_argument("--source", choices=MODELS, default="builtin", help="face model")
    draw.add_argument("--facekit", help="ict: clone of the ICT-FaceKit repository")
    draw.add_argument("--each", type=int, default=3, help="number of pictures of each unit")
    draw.add_argument("--size", type=int, default=256, help="pixels a side")
    draw.add_argument("--seed", type=int, default=0, help="seed of the people and the order")
    score = commands.add_parser("score", help="compare a viewer's answers with the key")
    score.add_argument("--key", type=pathlib.Path, required=True, help="key that draw wrote")
    given = score.add_mutually_exclusive_group(required=True)
    given.add_argument("--answers", type=pathlib.Path, help="CSV of picture,answer")
    given.add_argument("--table", type=pathlib.Path, help="table of auface_jax.recognize")
    return parser


def main() -> None:
    """Draws or scores a study, as the command line asks."""
    args = _parser().parse_args()
    try:
        if args.command == "draw":
            draw_pictures(
                load_model(args.source, args.facekit),
                args.out,
                args.key,
                pictures_per_unit=args.each,
                size=args.size,
                seed=args.seed,
            )
            print(f"{args.each * len(AU_NUMBERS)} pictures -> {args.out}")
        else:
            answers = (
                read_likeliest_units(args.table)
                if args.table
                else read_units(args.answers, "answer")
            )
            print(report(confusion_matrix(read_units(args.key, "unit"), answers)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
