"""CSV of requests: one line an image.

    reference,text,aus,seed,out
    me.png,The brows are raised.,,0,raised.png
    me.png,,"6C,12E",1,

`text` or `aus` describes the face; the other columns may be empty or absent. `reference` is an
image file, relative to the CSV's folder, or a person of the run's data set; `out` is the name of
the image, by default the number of the line.
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
class RequestRow:
    """One row of the CSV.

    Attributes:
      reference: an image file or a person; "" for the default.
      text: description of the face.
      labels: label vector of the units; None where the row has a text.
      seed: seed of the image.
      out: name of the image file.
    """

    reference: str
    text: str
    labels: np.ndarray | None
    seed: int
    out: str


def read_request_csv(
    path: str,
    dictionary: facs.Dictionary | None = None,
    *,
    out: str | pathlib.Path,
    find_reference: Callable[[str], object] = str,
    also_read: Iterable[str] = (),
) -> list[RequestRow]:
    """Reads and checks a CSV of requests.

    Args:
      path: a CSV in UTF-8.
      dictionary: dictionary of the texts that are written for units; None is the default.
      out: folder of the results.
      find_reference: function that is called with each reference, and raises a ValueError or an
        OSError for one that cannot be used.
      also_read: files besides the references that no image may overwrite.

    Raises:
      ValueError: the file is not a CSV in UTF-8, a row is not legal, an output is named twice, or
        an output would overwrite a file that is read; all faults are listed.
      OSError: the file does not exist.
    """
    lines = _lines(path)
    rows, faults, names = [], [], {}
    for number, (line_number, line) in enumerate(lines):
        try:
            row = _parse_row(line, number, pathlib.Path(path).parent, dictionary)
            if row.reference:
                find_reference(row.reference)
        except (ValueError, OSError) as error:
            faults.append(f"line {line_number}: {error}")
            continue
        # Names must differ on every system: macOS and Windows do not tell a.png from A.png.
        name = os.path.normpath(row.out).casefold()
        if name in names:
            faults.append(f"line {line_number}: out {row.out!r} is that of line {names[name]}")
        names[name] = line_number
        rows.append((line_number, row))
    read = existing_files([*(row.reference for _, row in rows), *also_read])
    for line_number, row in rows:
        if existing_files([pathlib.Path(out) / row.out]) & read:
            faults.append(
                f"line {line_number}: out {row.out!r} in {out} is a file that this command reads "
                "and would overwrite; give another name, or another --out"
            )
    if faults or not lines:
        raise ValueError(f"{path}: " + ("; ".join(faults) or "it has no rows"))
    return [row for _, row in rows]


def existing_files(paths: Iterable[str | pathlib.Path]) -> set[tuple[int, int]]:
    """Returns device and inode of the paths that exist, which identify a file by any name."""
    found = [os.stat(path) for path in paths if os.path.exists(path)]
    return {(file.st_dev, file.st_ino) for file in found}


def _lines(path: str) -> list[tuple[int, dict[str, str | None]]]:
    """Returns the lines of the CSV with their numbers in the file; the header is checked."""
    try:
        content = pathlib.Path(path).read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(content, newline=""))
        columns = reader.fieldnames or ()
        lines = [(reader.line_num, line) for line in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error}); save it as UTF-8 text") from error
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV ({error}); write one line an image") from error
    if set(columns) - set(COLUMNS) or not {"text", "aus"} & set(columns):
        cure = "; separate them by commas, not by semicolons" if ";" in "".join(columns) else ""
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or 'none'}; legal are "
            f"{', '.join(COLUMNS)}, with text or aus among them{cure}"
        )
    return lines


def _parse_row(
    line: dict[str, str | None],
    number: int,
    folder: pathlib.Path,
    dictionary: facs.Dictionary | None,
) -> RequestRow:
    """Parses a line of the CSV; `number` names its image by default."""
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
    return RequestRow(reference, text, labels, seed, out)


def text_of_units(
    units: str, seed: int, dictionary: facs.Dictionary | None = None
) -> tuple[str, np.ndarray]:
    """Describes units such as "6,12", or with FACS degrees "6C,12E", in words.

    Args:
      units: active units.
      seed: seed of the choice of words.
      dictionary: dictionary of the words; None is the default.

    Returns:
      The text, and the label vector of the units.

    Raises:
      ValueError: see `facs.parse_scores`.
    """
    numbers, intensities = facs.parse_scores(units)
    labels, rng = facs.labels_from_units(numbers), np.random.default_rng(seed)
    names = facs.constructs(labels)
    text = facs.describe_constructs(names, rng, dictionary, intensities=intensities)
    return text, labels
