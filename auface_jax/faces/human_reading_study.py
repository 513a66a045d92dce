"""Can a viewer tell each unit from its picture? Shuffled pictures, answers, a confusion matrix.

    python -m auface_jax.faces.human_reading_study draw --out DIR --key KEY.csv [--source ict ...]
    python -m auface_jax.faces.human_reading_study score --key KEY.csv --answers answers.csv
    python -m auface_jax.recognize DIR --out table.csv
    python -m auface_jax.faces.human_reading_study score --key KEY.csv --table table.csv

`draw` writes pictures of one unit each, alone, in random order and in files whose names say
nothing. Everyone in them is another person, so that no picture explains another. The key is
written where `--key` says, away from the pictures; who answers does not open it. Answers are a
CSV of `picture,answer`, the answer the number of a unit. `score` prints the matrix and how many
units were told: a unit counts as told when more than half of its pictures were named right.
A recogniser takes the same test with its table of probabilities: its answer is the likeliest unit.
"""

from __future__ import annotations

import argparse
import csv
import pathlib
import sys

import numpy as np
from PIL import Image

from auface_jax.faces.mesh.face_model import FaceModel
from auface_jax.faces.person import Scene
from auface_jax.faces.registry import MODELS, load_model
from auface_jax.faces.render.render import render
from auface_jax.faces.sampler import sample_person
from auface_jax.faces.sheet import synthetic
from auface_jax.facs import AU_NUMBERS, labels_from_units


def draw(
    model: FaceModel, out: pathlib.Path, key: pathlib.Path, each: int, size: int, seed: int
) -> None:
    """Writes `each` pictures of every unit into the folder `out`, and what they show into `key`.

    Raises:
        ValueError: the key exists, `out` holds something, or the size is bad.
    """
    if key.exists():
        raise ValueError(f"{key} exists: name another file, or remove it")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty: name another folder, or empty it")
    out.mkdir(parents=True, exist_ok=True)
    key.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    # Each model has an order of its own: answers to one test tell nothing of another.
    order = np.random.default_rng([seed, 3, *model.name.encode()])
    for place, number in enumerate(order.permutation(each * AU_NUMBERS)):
        person = sample_person(np.random.default_rng([seed, place, 0]), model)
        image, _ = render(model, person, labels_from_units([number]), Scene(), size)
        name = f"{place:03d}.png"
        Image.fromarray(image).save(out / name, pnginfo=synthetic())
        rows.append((name, number))
    with open(key, "w", newline="") as file:
        csv.writer(file).writerows([("picture", "unit"), *rows])


def read_table(path: pathlib.Path, column: str) -> dict[str, int]:
    """picture -> unit, from a CSV with the columns `picture` and `column`.

    Raises:
        ValueError: a column is missing, a picture is there twice, or an answer is no unit.
    """
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    table = {}
    for line, row in enumerate(rows, 2):
        if not row.get("picture") or not row.get(column):
            raise ValueError(f"{path}, line {line}: expected the columns picture,{column}")
        number = row[column].strip().upper().removeprefix("AU")
        if not number.isdigit() or int(number) not in AU_NUMBERS:
            raise ValueError(
                f"{path}, line {line}: {row[column]!r} is none of {', '.join(map(str, AU_NUMBERS))}"
            )
        if row["picture"] in table:
            raise ValueError(f"{path}, line {line}: {row['picture']} is there twice")
        table[row["picture"]] = int(number)
    return table


def read_probabilities(path: pathlib.Path) -> dict[str, int]:
    """picture -> likeliest unit, from a table of `auface_jax.recognize`.

    Raises:
        ValueError: a column is missing, a probability is no number, or a picture is there twice.
    """
    columns = [f"AU{number}" for number in AU_NUMBERS]
    table = {}
    with open(path, newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                picture = pathlib.Path(row["path"]).name
                read = np.array([float(row[column]) for column in columns])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {line}: expected path and numbers for {', '.join(columns)}"
                ) from error
            if picture in table:
                raise ValueError(f"{path}, line {line}: {picture} is there twice")
            table[picture] = AU_NUMBERS[int(read.argmax())]
    return table


def confusion(key: dict[str, int], answers: dict[str, int]) -> np.ndarray:
    """int [12, 12]: pictures of the unit of the row that were called the unit of the column.

    Raises:
        ValueError: pictures without an answer, or answers without a picture.
    """
    if stray := sorted(key.keys() ^ answers.keys()):
        raise ValueError(f"{len(stray)} pictures are in one table only, first {stray[0]}")
    matrix = np.zeros((len(AU_NUMBERS), len(AU_NUMBERS)), int)
    for picture, unit in key.items():
        matrix[AU_NUMBERS.index(unit), AU_NUMBERS.index(answers[picture])] += 1
    return matrix


def report(matrix: np.ndarray) -> str:
    """The matrix as a Markdown table, and how many pictures and units were told."""
    lines = [
        "| shown \\ read | " + " | ".join(f"{n}" for n in AU_NUMBERS) + " |",
        "|---" * (len(AU_NUMBERS) + 1) + "|",
    ]
    for number, row in zip(AU_NUMBERS, matrix, strict=True):
        lines.append(f"| AU{number} | " + " | ".join(str(n) if n else "" for n in row) + " |")
    right = np.diag(matrix)
    told = int((2 * right > matrix.sum(1)).sum())
    lines.append(
        f"\n{right.sum()} of {matrix.sum()} pictures right; {told} of {len(AU_NUMBERS)} units told"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw", help="write shuffled pictures and their key")
    drawing.add_argument("--out", type=pathlib.Path, required=True, help="an empty folder")
    drawing.add_argument("--key", type=pathlib.Path, required=True, help="CSV of what they show")
    drawing.add_argument("--source", choices=MODELS, default="builtin", help="the face model")
    drawing.add_argument("--facekit", help="ict: a clone of the ICT-FaceKit repository")
    drawing.add_argument("--each", type=int, default=3, help="pictures of each unit")
    drawing.add_argument("--size", type=int, default=256, help="pixels of a face")
    drawing.add_argument("--seed", type=int, default=0, help="who they are, and the order")
    scoring = commands.add_parser("score", help="compare answers with the key")
    scoring.add_argument("--key", type=pathlib.Path, required=True)
    given = scoring.add_mutually_exclusive_group(required=True)
    given.add_argument("--answers", type=pathlib.Path, help="CSV of picture,answer")
    given.add_argument("--table", type=pathlib.Path, help="what auface_jax.recognize made of DIR")
    args = parser.parse_args()
    try:
        if args.command == "draw":
            model = load_model(args.source, args.facekit)
            draw(model, args.out, args.key, args.each, args.size, args.seed)
            print(f"{args.each * len(AU_NUMBERS)} pictures -> {args.out}")
        else:
            answers = (
                read_probabilities(args.table) if args.table else read_table(args.answers, "answer")
            )
            print(report(confusion(read_table(args.key, "unit"), answers)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
