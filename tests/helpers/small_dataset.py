"""A folder of tiny pictures with a table of labels, and the data set built from it."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from auface_jax import facs
from auface_jax.data.build.builder import build

COLUMNS = ("subject", "task", "frame", "path", *(f"AU{n}" for n in facs.AU_NUMBERS))


def write_folder(folder: Path, *, people: int = 6, frames: int = 5, size: int = 24) -> Path:
    """Writes random pictures and `labels.csv`; frames 0 and 1 of a person are neutral.

    Red is 10 times the person's number, green 10 times the frame's number, and blue is 200 in the
    left half, so that a test can identify a picture and its orientation.
    """
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for person in range(people):
        for frame in range(frames):
            image = np.zeros((size, size, 3), np.uint8)
            image[..., 0] = 10 * person
            image[..., 1] = 10 * frame
            image[:, : size // 2, 2] = 200
            path = f"images/{person}_{frame}.png"
            Image.fromarray(image).save(folder / path)
            labels = rng.integers(0, 2, len(facs.AU_NUMBERS)) if frame > 1 else [0] * 12
            if frame > 1:
                labels[frame % 12] = 1
            rows.append([f"S{person:02d}", "T1", frame, path, *(int(v) for v in labels)])
    return write_table(folder / "labels.csv", rows)


def write_table(path: Path, rows: list[list]) -> Path:
    """Writes rows under the columns that the folder source reads; returns the path."""
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return path


def read_table(path: Path) -> list[list[str]]:
    """Reads the rows of a CSV file below its header."""
    with open(path, newline="") as file:
        return list(csv.reader(file))[1:]


def build_folder(labels: Path, out: Path, **options) -> dict:
    """Builds the data set of a table, by default at 16 px in one process."""
    defaults = {"source": "folder", "labels": str(labels), "size": 16, "processes": 1}
    return build(out, **(defaults | options), progress=False)


def assert_same_sets(one: Path, two: Path) -> None:
    """Asserts that two folders have the same files, byte for byte."""
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in two.iterdir())
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes(), path.name
