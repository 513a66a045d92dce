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
import pathlib
from collections.abc import Callable

import numpy as np

from auface_jax import facs

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
    find_reference: Callable[[str], object] = str,
) -> list[Job]:
    """The jobs of a CSV.

    Args:
      dictionary: of the texts that are made from units.
      find_reference: called with each reference that a line names; raises a ValueError or an
        OSError for one that cannot be used.

    Raises:
      ValueError: lines that cannot be read or names used twice; all of them are listed.
      OSError: there is no such file.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        unknown = [name for name in reader.fieldnames or () if name not in COLUMNS]
        if unknown or not {"text", "aus"} & set(reader.fieldnames or ()):
            raise ValueError(
                f"{path} has the columns {', '.join(reader.fieldnames or ()) or 'none'}; legal are "
                f"{', '.join(COLUMNS)}, with text or aus among them"
            )
        lines = [(reader.line_num, line) for line in reader]
    jobs, faults, names = [], [], {}
    for number, (line_number, line) in enumerate(lines):
        try:
            job = _job(line, number, pathlib.Path(path).parent, dictionary)
            if job.reference:
                find_reference(job.reference)
        except (ValueError, OSError) as error:
            faults.append(f"line {line_number}: {error}")
            continue
        if job.out in names:
            faults.append(f"line {line_number}: out {job.out!r} is that of line {names[job.out]}")
        names[job.out] = line_number
        jobs.append(job)
    if faults or not lines:
        raise ValueError(f"{path}: " + ("; ".join(faults) or "it has no line"))
    return jobs


def _job(
    line: dict[str, str | None],
    number: int,
    folder: pathlib.Path,
    dictionary: facs.Dictionary | None,
) -> Job:
    if None in line:
        raise ValueError(f"more fields than columns: {line[None]} (quote what has a comma)")
    values = {name: (line.get(name) or "").strip() for name in COLUMNS}
    if not values["seed"].isdecimal() and values["seed"]:
        raise ValueError(f"seed {values['seed']!r} is not a number of 0 or more")
    seed = int(values["seed"] or 0)
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
