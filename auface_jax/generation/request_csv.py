"""A CSV of pictures to draw: one line a picture.

    reference,text,aus,seed,out
    me.png,The brows are raised.,,0,raised.png
    me.png,,"6C,12E",1,

`text` or `aus` says what the face does; the other columns may be empty or absent. `reference` is
an image file, from the CSV's folder, or a person of the run's data set; `out` is the picture's
name, by default the line's number.
"""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from auface_jax import facs
from auface_jax.generation.request import LARGEST_SEED

COLUMNS = ("reference", "text", "aus", "seed", "out")


@dataclasses.dataclass(frozen=True)
class Job:
    """One line: `reference` and `out` as they are named, `labels` None where a text is given."""

    reference: str
    text: str
    labels: np.ndarray | None
    seed: int
    out: str


def read_jobs(
    path: str,
    dictionary: facs.Dictionary | None = None,
    *,
    out: str | pathlib.Path,
    find_reference: Callable[[str], object] = str,
    also_read: Iterable[str] = (),
) -> list[Job]:
    """The jobs of a CSV.

    Args:
      path: the CSV, in UTF-8.
      dictionary: of the texts that are made from units.
      out: the folder of results.
      find_reference: called with each reference that a line names; raises a ValueError or an
        OSError for one that cannot be used.
      also_read: files beside the references that no picture may replace.

    Raises:
      ValueError: lines that cannot be read, names used twice or those of pictures that the jobs
        read; all of them are listed. Or the file is no CSV in UTF-8.
      OSError: there is no such file.
    """
    lines = _lines(path)
    jobs, faults, names = [], [], {}
    for number, (line_number, line) in enumerate(lines):
        try:
            job = _job(line, number, pathlib.Path(path).parent, dictionary)
            if job.reference:
                find_reference(job.reference)
        except (ValueError, OSError) as error:
            faults.append(f"line {line_number}: {error}")
            continue
        # One file on every system: Macs and Windows do not tell a.png from A.png.
        name = os.path.normpath(job.out).casefold()
        if name in names:
            faults.append(f"line {line_number}: out {job.out!r} is that of line {names[name]}")
        names[name] = line_number
        jobs.append((line_number, job))
    read = existing_files([*(job.reference for _, job in jobs), *also_read])
    for line_number, job in jobs:
        if existing_files([pathlib.Path(out) / job.out]) & read:
            faults.append(
                f"line {line_number}: out {job.out!r} in {out} is a picture that the jobs read and "
                "would be lost; give another name, or another --out"
            )
    if faults or not lines:
        raise ValueError(f"{path}: " + ("; ".join(faults) or "it has no line"))
    return [job for _, job in jobs]


def existing_files(paths: Iterable[str | pathlib.Path]) -> set[tuple[int, int]]:
    """Those of the paths that exist, by device and inode: a file is one, whatever it is called."""
    found = [os.stat(path) for path in paths if os.path.exists(path)]
    return {(file.st_dev, file.st_ino) for file in found}


def _lines(path: str) -> list[tuple[int, dict[str, str | None]]]:
    """The lines of the CSV with their numbers in the file; the header is checked."""
    try:
        content = pathlib.Path(path).read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(content, newline=""))
        columns = reader.fieldnames or ()
        lines = [(reader.line_num, line) for line in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error}); save it as UTF-8 text") from error
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV ({error}); write one line a picture") from error
    if set(columns) - set(COLUMNS) or not {"text", "aus"} & set(columns):
        cure = "; separate them by commas, not by semicolons" if ";" in "".join(columns) else ""
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or 'none'}; legal are "
            f"{', '.join(COLUMNS)}, with text or aus among them{cure}"
        )
    return lines


def _job(
    line: dict[str, str | None],
    number: int,
    folder: pathlib.Path,
    dictionary: facs.Dictionary | None,
) -> Job:
    if None in line:
        raise ValueError(f"more fields than columns: {line[None]} (quote what has a comma)")
    values = {name: (line.get(name) or "").strip() for name in COLUMNS}
    written = values["seed"] or "0"
    if not written.isdecimal() or int(written) > LARGEST_SEED:
        raise ValueError(f"seed {written!r} is not a whole number from 0 to {LARGEST_SEED}")
    seed = int(written)
    has_units = bool(values["aus"]) or line.get("text") is None
    if values["text"] and values["aus"]:
        raise ValueError("both text and aus; give one of them")
    if not values["text"] and not has_units:
        raise ValueError("neither text nor aus (a neutral face is a CSV without the column text)")
    text, labels = values["text"], None
    if has_units:
        text, labels = text_of_units(values["aus"], seed, dictionary)
    out = values["out"] or f"{number:04d}.png"
    where = pathlib.Path(out)
    if where.suffix.lower() != ".png" or where.is_absolute() or ".." in where.parts:
        raise ValueError(f"out {out!r} is not the name of a PNG in the folder of results")
    beside = folder / values["reference"]
    reference = str(beside) if values["reference"] and beside.is_file() else values["reference"]
    return Job(reference, text, labels, seed, out)


def text_of_units(
    units: str, seed: int, dictionary: facs.Dictionary | None = None
) -> tuple[str, np.ndarray]:
    """A description of units such as "6,12", or with FACS degrees "6C,12E", and their labels.

    Raises:
      ValueError: see `facs.parse_scores`.
    """
    numbers, intensities = facs.parse_scores(units)
    labels, rng = facs.labels_from_units(numbers), np.random.default_rng(seed)
    names = facs.constructs(labels)
    text = facs.describe_constructs(names, rng, dictionary, intensities=intensities)
    return text, labels
