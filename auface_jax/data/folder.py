"""The `folder` source: any images and a table of their action units.

The table is a CSV with the columns `subject,task,frame,path` and one `AU<number>` for each of
the 12 units; a path is relative to the table. Its values are 0/1 labels or, with a threshold,
intensities: `--threshold 2 --maximum 5` reads a six-step coding where 2 and more counts as
present. The faces should be cropped alike already: an image is only cut to its central square
and resized.
"""

import csv
import dataclasses
import functools
import hashlib
import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from auface_jax import facs
from auface_jax.data.samples import ONLY_IMAGE, Loaded, Sample, SourceError, listed

_KEYS = ("subject", "task", "frame", "path")
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


@dataclasses.dataclass(frozen=True)
class _Row:
    """A line of the table, checked."""

    task: str
    frame: int
    path: Path
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class FolderFaces:
    """The images that a table names.

    Attributes:
      labels: Path of the CSV.
      size: Side of the images made of them, in pixels.
      threshold: None: values are labels, 0 or 1. Else they are intensities, and a unit is
        present at `threshold` or more.
      maximum: The greatest intensity of the coding, which becomes 1.0.

    Raises:
      SourceError: Listing every fault of the table, when the object is made.
    """

    labels: str
    size: int
    threshold: float | None = None
    maximum: float = 1.0

    name = "folder"
    exact = False

    def __post_init__(self):
        if self.size < 16:
            raise SourceError(f"size is {self.size}, expected 16 or more")
        if self.threshold is None and self.maximum != 1.0:
            raise SourceError("a maximum belongs to intensities: give a threshold too")
        if self.threshold is not None and not 0 < self.threshold <= self.maximum:
            raise SourceError(
                f"threshold {self.threshold} is not above 0 and at most the maximum {self.maximum}"
            )
        _ = self._people  # read the table now, so that its faults show before any work

    @functools.cached_property
    def _people(self) -> dict[str, list[_Row]]:
        return _read_table(Path(self.labels), self.threshold, self.maximum)

    @functools.cached_property
    def options(self) -> dict:
        """The table's content and the files' sizes stand for the images themselves.

        So a moved folder is the same source, and an image replaced by another is noticed unless
        the two are of one length.
        """
        digest = hashlib.sha256(Path(self.labels).read_bytes())
        for rows in self._people.values():
            for row in rows:
                digest.update(b"%d," % row.path.stat().st_size)
        return {
            "content": digest.hexdigest(),
            "threshold": self.threshold,
            "maximum": self.maximum,
        }

    @property
    def left_out(self) -> dict[str, int]:
        alone = sum(len(rows) == 1 for rows in self._people.values())
        return {ONLY_IMAGE: alone} if alone else {}

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(subject for subject, rows in self._people.items() if len(rows) > 1)

    def load_person(self, subject: str) -> Loaded:
        samples, faults = [], []
        for row in self._people[subject]:
            try:
                image = read_square(row.path, self.size)
            except SourceError as error:
                faults.append(str(error))
                continue
            values = np.asarray(row.values, np.float32)
            coded = self.threshold is not None
            samples.append(
                Sample(
                    image=image,
                    subject=subject,
                    task=row.task,
                    frame=row.frame,
                    labels=(values >= (self.threshold if coded else 1)).astype(np.int8),
                    intensities=values / np.float32(self.maximum) if coded else None,
                    landmarks=None,
                )
            )
        return Loaded(samples=samples, faults=faults)


def read_square(path: str | Path, size: int) -> UInt8[np.ndarray, "S S 3"]:
    """An image file as `size` x `size` RGB: upright (EXIF), cut to its central square, resized.

    Reducing averages over the pixels it leaves out (Lanczos, antialiased).

    Raises:
      SourceError: No such file, not an image, damaged, too large to be safe, or not 8 bit.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in _EIGHT_BIT_MODES:
                raise SourceError(
                    f"{path}: pixels of mode {picture.mode!r}; save it with 8 bits a channel"
                )
            picture = ImageOps.exif_transpose(picture).convert("RGB")
    except SourceError:
        raise
    except Exception as error:  # a damaged picture raises almost anything in Pillow
        raise SourceError(f"{path}: cannot be read as an image ({error})") from error
    return np.array(ImageOps.fit(picture, (size, size), method=Image.Resampling.LANCZOS))


def _read_table(path: Path, threshold: float | None, maximum: float) -> dict[str, list[_Row]]:
    """People in the table's order, each with rows sorted by task and frame."""
    columns = (*_KEYS, *(f"AU{number}" for number in facs.AU_NUMBERS))
    try:
        file = open(path, newline="", encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path}: the table of labels cannot be opened ({error})") from error
    with file:
        try:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            if missing := [name for name in columns if name not in header]:
                raise SourceError(
                    f"{path}: the columns {', '.join(missing)} are missing; "
                    f"its first line must name {','.join(columns)}"
                )
            lines = [(reader.line_num, line) for line in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not lines:
        raise SourceError(f"{path}: no line below the header")

    faults, people, seen = [], {}, {}
    for number, line in lines:
        where = f"line {number}"
        found, row = _read_line(line, path.parent, threshold, maximum)
        faults += [f"{where}: {fault}" for fault in found]
        if row is None:
            continue
        subject = line["subject"].strip()
        key = (subject, row.task, row.frame)
        if key in seen:
            faults.append(f"{where}: subject, task and frame as in line {seen[key]}: {key}")
        seen[key] = number
        people.setdefault(subject, []).append(row)
    if faults:
        raise SourceError(listed(faults, str(path)))
    for rows in people.values():
        rows.sort(key=lambda row: (row.task, row.frame))
    return people


def _read_line(
    line: dict, folder: Path, threshold: float | None, maximum: float
) -> tuple[list[str], _Row | None]:
    """The faults of a line, and its row when it has none."""
    if None in line or None in line.values():
        return ["more or fewer fields than the first line names"], None
    line = {name: text.strip() for name, text in line.items()}
    faults = [f"{name} is empty" for name in _KEYS if not line[name]]
    if line["frame"] and not line["frame"].isdecimal():
        faults.append(f"frame {line['frame']!r} is not a number of 0 or more")
    if line["path"] and not (folder / line["path"]).is_file():
        faults.append(f"no such image: {line['path']}")
    values = []
    for unit in facs.AU_NUMBERS:
        text = line[f"AU{unit}"]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if threshold is None and value not in (0, 1):
            cure = " (intensities need --threshold)" if 0 < value else ""
            faults.append(f"AU{unit} is {text!r}, expected 0 or 1{cure}")
        elif threshold is not None and not 0 <= value <= maximum:
            cure = " (set --maximum)" if value > maximum else ""
            faults.append(f"AU{unit} is {text!r}, expected 0 to {maximum:g}{cure}")
        values.append(value)
    if faults:
        return faults, None
    return [], _Row(line["task"], int(line["frame"]), folder / line["path"], tuple(values))
