"""The `folder` source: any images and a table of their action units.

The table is a CSV with the columns `subject,task,frame,path` and one `AU<number>` for each of
the 12 units; a path is relative to the table. Its values are 0/1 labels or, with a threshold,
intensities: `--threshold 2 --maximum 5` reads a six-step coding where 2 and more counts as
present. An empty field is an unknown code, and drops its image; a unit that no line codes is one
that the source does not code, which `uncoded_units` must allow.

With a column `landmarks`, a file of points for each image, faces are brought to the template of
`align`. Without it they are expected to be cropped alike, and an image is only cut to its
central square; or a detector looks for them.
"""

import csv
import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from auface_jax import facs
from auface_jax.data.sources.base import SourceError, format_faults
from auface_jax.data.sources.landmark_files import read_points
from auface_jax.data.sources.options import FolderOptions
from auface_jax.data.sources.photographs import (
    Album,
    Photograph,
    PhotographSource,
    find_uncoded_units,
    group_by_person,
)

_KEYS = ("subject", "task", "frame", "path")
_LANDMARKS = "landmarks"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderFaces(FolderOptions, PhotographSource):
    """A source of the images that a table names.

    Attributes:
      size: side of the crops, in pixels.

    Raises:
      OptionError: an option is illegal.
      SourceError: the table has faults; the message lists all of them.
    """

    size: int

    name = "folder"

    def __post_init__(self):
        super().__post_init__()
        self.check_detector()
        _ = self._album  # The table is read here, so that its faults show before any work.

    @functools.cached_property
    def _table(self) -> tuple[Album, bool]:
        return _read_table(Path(self.labels), self.threshold, self.maximum, self.uncoded_units)

    @property
    def _album(self) -> Album:
        return self._table[0]

    @functools.cached_property
    def _framing(self) -> str:
        has_landmarks = self._table[1]
        if self.align == "landmarks" and not has_landmarks:
            raise SourceError(
                f"{self.labels}: has no column {_LANDMARKS}; name a file of points in it, or "
                "align by the detector, or not at all (off)"
            )
        if self.align == "auto":
            return "landmarks" if has_landmarks else "off"
        return self.align

    @functools.cached_property
    def options(self) -> dict:
        """The options that `dataset.json` records, and a digest of the content."""
        return {
            **self.content_options(),
            "threshold": self.threshold,
            "maximum": self.maximum,
        }

    def _landmarks(self, row: Photograph) -> Float32[np.ndarray, "M 2"] | None:
        return None if row.landmarks is None else read_points(row.landmarks)


def _read_table(
    path: Path, threshold: float | None, maximum: float, uncoded_units: str
) -> tuple[Album, bool]:
    """Reads a table of labels.

    Args:
      path: the CSV.
      threshold: intensity from which a unit is present; None where the values are labels.
      maximum: the greatest intensity of the coding.
      uncoded_units: "refuse" or "absent", as in `PhotographOptions`.

    Returns:
      People in the table's order, each with photographs by task and frame; and True where the table
      has a column of landmarks.
    """
    header, lines = _read_lines(path)
    codes = [f"AU{number}" for number in facs.AU_NUMBERS]
    missing = [name for name in (*_KEYS, *codes) if name not in header]
    if missing and (uncoded_units == "refuse" or not set(missing) < set(codes)):
        cure = "; or pass --uncoded-units absent" if set(missing) < set(codes) else ""
        if ";" in "".join(header):
            cure = "; separate them by commas, not by semicolons"
        raise SourceError(
            f"{path}: the columns {', '.join(missing)} are missing; "
            f"its first line must name {','.join((*_KEYS, *codes))}{cure}"
        )
    if not lines:
        raise SourceError(f"{path}: no line below the header")

    faults, rows, seen = [], [], {}
    for number, line in lines:
        where = f"line {number}"
        found, row = _read_line(line, path.parent, threshold, maximum)
        faults += [f"{where}: {fault}" for fault in found]
        if row is None:
            continue
        subject, photograph = row
        key = (subject, photograph.task, photograph.frame)
        if key in seen:
            faults.append(f"{where}: subject, task and frame as in line {seen[key]}: {key}")
        seen[key] = number
        rows.append(row)
    if faults:
        raise SourceError(format_faults(faults, str(path)))

    uncoded = find_uncoded_units(rows)
    if uncoded and uncoded_units == "refuse":
        raise SourceError(
            f"{path}: no line codes {', '.join(f'AU{unit}' for unit in uncoded)}; if nobody coded "
            "these units, pass --uncoded-units absent: they are then described as absent and left "
            "out of every figure"
        )
    people, left_out = group_by_person(rows, uncoded)
    for photographs in people.values():
        photographs.sort(key=lambda photograph: (photograph.task, photograph.frame))
    total = sum(map(len, people.values()))
    lines = (f"{path}: {len(rows)} images, {total} of them with every code, {len(people)} people",)
    return Album(people, left_out, uncoded, lines), _LANDMARKS in header


def _read_lines(path: Path) -> tuple[list[str], list[tuple[int, dict]]]:
    """Reads a CSV: its column names, and line number and fields of each line below them."""
    try:
        file = open(path, newline="", encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path}: the table of labels cannot be opened ({error})") from error
    with file:
        try:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            return header, [(reader.line_num, line) for line in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"{path}: not a CSV file in UTF-8 ({error})") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for one, for example
        return False


def _read_line(
    line: dict, folder: Path, threshold: float | None, maximum: float
) -> tuple[list[str], tuple[str, Photograph] | None]:
    """Parses a line of the table.

    Returns:
      Its faults; and subject and photograph, or None where there is a fault.
    """
    if None in line or None in line.values():
        return ["more or fewer fields than the first line names"], None
    line = {name: text.strip() for name, text in line.items()}
    faults = [f"{name} is empty" for name in _KEYS if not line[name]]
    if line["frame"] and not (line["frame"].isdecimal() and len(line["frame"]) < 19):
        faults.append(f"frame {line['frame']!r:.40} is not a number of 0 or more, in 64 bits")
    for name in ("path", _LANDMARKS):
        if line.get(name) and not _is_file(folder / line[name]):
            faults.append(f"no such {'image' if name == 'path' else 'file'}: {line[name]}")
    labels, intensities = [], []
    for unit in facs.AU_NUMBERS:
        text = line.get(f"AU{unit}", "")
        if not text:
            labels.append(-1)
            intensities.append(0.0)
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if threshold is None and value not in (0, 1):
            cure = " (intensities need --threshold)" if 0 < value else ""
            faults.append(f"AU{unit} is {text!r}, expected 0, 1 or nothing{cure}")
        elif threshold is not None and not 0 <= value <= maximum:
            cure = " (set --maximum)" if value > maximum else ""
            faults.append(f"AU{unit} is {text!r}, expected 0 to {maximum:g} or nothing{cure}")
        labels.append(int(value >= (1 if threshold is None else threshold)))
        intensities.append(float(np.float32(value) / np.float32(maximum)))
    if faults:
        return faults, None
    landmarks = line.get(_LANDMARKS)
    return [], (
        line["subject"],
        Photograph(
            task=line["task"],
            frame=int(line["frame"]),
            path=str(folder / line["path"]),
            labels=tuple(labels),
            intensities=None if threshold is None else tuple(intensities),
            landmarks=str(folder / landmarks) if landmarks else None,
        ),
    )
