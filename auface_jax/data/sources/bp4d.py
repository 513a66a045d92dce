"""The `bp4d` source: BP4D and BP4D+ as they are published, either of them or both.

These files are looked for below the root of a corpus, up to two folders down, in upper or lower
case:

    <person>/<task>/<frame>.jpg                      2D frames
    AU_OCC/<person>_<task>.csv                       occurrence of units
    AU_INT/AU<nn>/<person>_<task>_AU<nn>.csv         intensity of some of them
    2DFeatures/<person>_<task>.mat                   landmarks

Releases differ. The build prints the number of files of each kind; a malformed file is an error
that names it, and a frame that is in no record is counted with the reason. The two corpora give the
same ids to different people, so a subject carries the name of its corpus.
"""

import csv
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from auface_jax import facs
from auface_jax.data.record import record_id
from auface_jax.data.sources.base import SourceError, format_faults
from auface_jax.data.sources.landmark_files import read_sequence
from auface_jax.data.sources.options import BP4DOptions
from auface_jax.data.sources.photographs import (
    Album,
    Photograph,
    PhotographSource,
    find_uncoded_units,
    group_by_person,
)

CORPORA = {"bp4d": "BP4D", "bp4d_plus": "BP4D+"}
NOT_CODED = "a picture that nobody coded"
NO_PICTURE = "a code without its picture"

_PERSON = re.compile(r"[FM]\d{3}", re.IGNORECASE)
_TASK = re.compile(r"T\d{1,2}", re.IGNORECASE)
_SEQUENCE_FILE = re.compile(r"([FM]\d{3})_(T\d{1,2})(?:_.*)?\.(csv|mat)", re.IGNORECASE)
_PICTURES = (".jpg", ".jpeg")
_HIGHEST_CODE = 5  # of an intensity; 9 is unknown

Sequence = tuple[str, str]  # person and task, in capitals


@dataclasses.dataclass(frozen=True, kw_only=True)
class BP4DFaces(BP4DOptions, PhotographSource):
    """A source of the coded frames of BP4D, of BP4D+, or of both.

    Attributes:
      size: side of the crops, in pixels.

    Raises:
      OptionError: an option is illegal.
      SourceError: files are missing or malformed; the message lists all of them.
    """

    size: int

    name = "bp4d"

    def __post_init__(self):
        super().__post_init__()
        self.check_detector()
        _ = self._album  # All files are looked at here, so that faults show before any work.

    @property
    def _framing(self) -> str:
        return "landmarks" if self.align == "auto" else self.align

    @functools.cached_property
    def _album(self) -> Album:
        roots = {name: getattr(self, name) for name in CORPORA if getattr(self, name) is not None}
        albums = [
            _read_corpus(
                CORPORA[name],
                Path(root),
                need_landmarks=self._framing == "landmarks",
                uncoded_units=self.uncoded_units,
            )
            for name, root in roots.items()
        ]
        people = {subject: rows for album in albums for subject, rows in album.people.items()}
        uncoded = {unit for album in albums for unit in album.uncoded}
        return Album(
            people=people,
            left_out=[item for album in albums for item in album.left_out],
            uncoded=tuple(sorted(uncoded)),
            lines=tuple(line for album in albums for line in album.lines),
        )

    @functools.cached_property
    def options(self) -> dict:
        """The options that `dataset.json` records, and a digest of the content."""
        return self.content_options()

    def _landmarks(self, row: Photograph) -> Float32[np.ndarray, "M 2"] | None:
        if row.landmarks is None:
            return None
        directory = Path(row.path).parent
        points, numbers = _sequence_landmarks(row.landmarks)
        if numbers is None:
            numbers = np.array(sorted(_list_frames(str(directory))))
        if len(numbers) != len(points):
            raise SourceError(
                f"{row.landmarks}: landmarks of {len(points)} frames, and {directory} has "
                f"{len(numbers)} pictures; they cannot be matched"
            )
        matches = np.flatnonzero(numbers == row.frame)
        return points[matches[0]] if len(matches) else None


# The frames of a sequence follow each other, so a small cache reads each file once.
_sequence_landmarks = functools.lru_cache(maxsize=4)(read_sequence)


@functools.lru_cache(maxsize=4)
def _list_frames(directory: str) -> dict[int, str]:
    """Lists the pictures of a sequence: frame number -> file name.

    Raises:
      SourceError: two pictures have the same number.
    """
    frames = {}
    for path in sorted(Path(directory).iterdir()):
        if path.suffix.lower() not in _PICTURES or not path.stem.isdecimal():
            continue
        if int(path.stem) in frames:
            raise SourceError(f"{path}: a second picture of frame {int(path.stem)}")
        frames[int(path.stem)] = path.name
    return frames


@dataclasses.dataclass(frozen=True)
class _Files:
    """Paths of a corpus.

    Attributes:
      pictures: folder of the frames of each sequence.
      occurrence: CSV of the codes of each sequence.
      intensity: CSV of the intensities of each sequence and unit.
      landmarks: MATLAB file of each sequence.
    """

    pictures: dict[Sequence, Path]
    occurrence: dict[Sequence, Path]
    intensity: dict[tuple[str, str, int], Path]
    landmarks: dict[Sequence, Path]


def _read_corpus(name: str, root: Path, *, need_landmarks: bool, uncoded_units: str) -> Album:
    """Reads all coded frames of a corpus that have a picture and every code.

    Args:
      name: name of the corpus.
      root: its folder.
      need_landmarks: refuse a corpus without landmarks.
      uncoded_units: "refuse" or "absent", as in `PhotographOptions`.
    """
    files = _find_files(name, root, need_landmarks)
    faults, left_out, rows = [], [], []
    for sequence in sorted(files.pictures.keys() | files.occurrence.keys()):
        try:
            codes = {}
            if sequence in files.occurrence:
                codes = _read_occurrence(files.occurrence[sequence])
            pictures = {}
            if sequence in files.pictures:
                pictures = _list_frames(str(files.pictures[sequence]))
            intensities = {
                unit: _read_intensity(files.intensity[(*sequence, unit)], unit)
                for unit in facs.AU_NUMBERS
                if (*sequence, unit) in files.intensity
            }
        except SourceError as error:
            faults.append(str(error))
            continue
        subject, task = f"{name}-{sequence[0]}", sequence[1]
        for frame in sorted(codes.keys() | pictures.keys()):
            if frame not in codes or frame not in pictures:
                reason = NO_PICTURE if frame in codes else NOT_CODED
                left_out.append((record_id(subject, task, frame), reason))
                continue
            scores = [intensities.get(unit, {}).get(frame, 0.0) for unit in facs.AU_NUMBERS]
            photograph = Photograph(
                task=task,
                frame=frame,
                path=str(files.pictures[sequence] / pictures[frame]),
                labels=codes[frame],
                intensities=tuple(scores) if files.intensity else None,
                landmarks=str(path) if (path := files.landmarks.get(sequence)) else None,
            )
            rows.append((subject, photograph))
    if faults:
        raise SourceError(format_faults(faults, f"{root} ({name})"))
    if not rows:
        raise SourceError(
            f"{root} ({name}): no frame has both a picture and a code; "
            f"{len(left_out)} have one of the two"
        )
    uncoded = find_uncoded_units(rows)
    if uncoded and uncoded_units == "refuse":
        raise SourceError(
            f"{root} ({name}): nothing codes {', '.join(f'AU{unit}' for unit in uncoded)}; if "
            "nobody coded these units, pass --uncoded-units absent: they are then described as "
            "absent and left out of every figure"
        )
    people, without_codes = group_by_person(rows, uncoded)
    scored = sorted({unit for *_, unit in files.intensity})
    total = sum(map(len, people.values()))
    lines = (
        f"{name}: {len(files.pictures)} sequences of pictures, {len(files.occurrence)} of codes, "
        f"{len(files.landmarks)} of landmarks",
        f"{name}: {len(rows)} coded frames, {total} of them with every code, {len(people)} people; "
        f"intensities of {', '.join(f'AU{unit}' for unit in scored) or 'no unit'}",
    )
    return Album(people, left_out + without_codes, uncoded, lines)


def _find_files(name: str, root: Path, need_landmarks: bool) -> _Files:
    """Finds the files of a corpus in its upper folders."""
    if not root.is_dir():
        raise SourceError(f"{root} ({name}): no such folder")
    pictures, occurrence, intensity, landmarks, faults = {}, {}, {}, {}, []

    def add(table: dict, key: tuple, path: Path) -> None:
        if key in table:
            faults.append(f"{path}: a second one of {' '.join(map(str, key))}, as {table[key]}")
        table[key] = path

    for folder in _upper_folders(root):
        kind = folder.name.lower()
        if _PERSON.fullmatch(folder.name):
            for task in sorted(folder.iterdir()):
                if _TASK.fullmatch(task.name) and _has_frames(task):
                    add(pictures, (folder.name.upper(), task.name.upper()), task)
        elif kind in ("au_occ", "2dfeatures"):
            suffix, table = (".csv", occurrence) if kind == "au_occ" else (".mat", landmarks)
            for path, sequence in _sequence_files(folder, suffix):
                add(table, sequence, path)
        elif kind == "au_int":
            for unit_folder in sorted(folder.iterdir()):
                if not (number := re.fullmatch(r"AU0*(\d+)", unit_folder.name, re.IGNORECASE)):
                    continue
                unit = int(number[1])
                if unit in facs.AU_NUMBERS:
                    for path, sequence in _sequence_files(unit_folder, ".csv"):
                        add(intensity, (*sequence, unit), path)
    if faults:
        raise SourceError(format_faults(faults, f"{root} ({name})"))
    if not pictures:
        faults.append("no pictures (<person>/<task>/<frame>.jpg)")
    if not occurrence:
        faults.append("no codes (AU_OCC/<person>_<task>.csv)")
    if not landmarks and need_landmarks:
        faults.append(
            "no landmarks (2DFeatures/<person>_<task>.mat): align by the detector, or not at all "
            "(--align detector, --align off)"
        )
    if faults:
        raise SourceError(format_faults(faults, f"{root} ({name}), looked at two folders deep"))
    return _Files(pictures, occurrence, intensity, landmarks)


def _upper_folders(folder: Path, depth: int = 3) -> Iterator[Path]:
    """Yields the folders below, in order, without descending into folders of people and codes."""
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            continue
        yield path
        known = _PERSON.fullmatch(path.name) or path.name.lower() in (
            "au_occ",
            "au_int",
            "2dfeatures",
        )
        if depth > 1 and not known:
            yield from _upper_folders(path, depth - 1)


def _has_frames(folder: Path) -> bool:
    """True where a sequence's folder holds a 2D frame; some such folders hold 3D data."""
    return folder.is_dir() and any(
        path.suffix.lower() in _PICTURES and path.stem.isdecimal() for path in folder.iterdir()
    )


def _sequence_files(folder: Path, suffix: str) -> Iterator[tuple[Path, Sequence]]:
    """Yields the files that are named after a sequence, with person and task."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == suffix and (match := _SEQUENCE_FILE.fullmatch(path.name)):
            yield path, (match[1].upper(), match[2].upper())


def _read_numbers(path: Path) -> list[tuple[int, list[int]]]:
    """Reads a CSV of integers: line number and values of each line that is not empty."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            return [
                (reader.line_num, [int(float(field)) for field in line])
                for line in reader
                if any(field.strip() for field in line)
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError(f"{path}: not a CSV of numbers ({error})") from error


def _read_occurrence(path: Path) -> dict[int, tuple[int, ...]]:
    """Reads occurrence codes: frame -> labels of the 12 units, -1 for a code other than 0 and 1."""
    (_, header), *lines = _read_numbers(path) or [(1, [])]
    if header.count(0) != 1 or not set(header) & set(facs.AU_NUMBERS):
        raise SourceError(
            f"{path}: the first line is {header[:8]}..., expected the numbers of units and one 0 "
            "over the column of frames"
        )
    columns = [header.index(u) if u in header else None for u in facs.AU_NUMBERS]
    codes = {}
    for number, line in lines:
        if len(line) != len(header):
            raise SourceError(
                f"{path}, line {number}: {len(line)} fields, the first line has {len(header)}"
            )
        frame = line[header.index(0)]
        if frame < 0 or frame in codes:
            raise SourceError(f"{path}, line {number}: frame {frame} is negative or there twice")
        found = [-1 if column is None else line[column] for column in columns]
        codes[frame] = tuple(code if code in (0, 1) else -1 for code in found)
    return codes


def _read_intensity(path: Path, unit: int) -> dict[int, float]:
    """Reads the intensities of one unit: frame -> value in [0, 1], where the value is known."""
    lines = _read_numbers(path)
    if lines and lines[0][1] == [0, unit]:  # a header like that of occurrence
        lines = lines[1:]
    known = {}
    for number, line in lines:
        if len(line) != 2 or line[0] < 0:
            raise SourceError(f"{path}, line {number}: {line}, expected a frame and a code")
        if 0 <= line[1] <= _HIGHEST_CODE:
            known[line[0]] = line[1] / _HIGHEST_CODE
    return known
