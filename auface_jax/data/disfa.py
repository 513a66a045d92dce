"""Writes the table of labels that the `folder` source reads, for the corpus DISFA.

    python -m auface_jax.data.disfa --labels DISFA/ActionUnit_Labels --frames FRAMES --out disfa.csv

LABELS has the layout that the owners publish (Mavadati et al., 2013, doi:10.1109/T-AFFC.2013.4): a
file for each person and unit, with a line `frame,intensity` for each frame, intensities 0 to 5:

    ActionUnit_Labels/SN001/SN001_au1.txt

The corpus has videos. FRAMES has a folder of pictures for each video, with the person's id in the
folder's name and the number of the frame, from 1, at the end of each picture's name:

    FRAMES/SN001/00001.jpg

This module was written from descriptions of the corpus and never run on it: check the printed
counts.
"""

import argparse
import csv
import os
import re
import sys
from pathlib import Path

from auface_jax import facs
from auface_jax.data.sources.base import SourceError, format_faults

TASK = "video"  # All people watch the same film.
_PERSON = re.compile(r"SN\d{3}", re.IGNORECASE)
_CODE_FILE = re.compile(r"SN\d{3}_au(\d+)\.txt", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)$")
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_HIGHEST_CODE = 5


def write_table(labels: str | Path, frames: str | Path, out: str | Path) -> dict[str, int]:
    """Writes the CSV; a code outside 0 to 5 is left empty, which the build reads as unknown.

    Args:
      labels: the folder `ActionUnit_Labels`.
      frames: the folder of the pictures.
      out: the table; its paths are relative to it, so that table and pictures can be moved
        together.

    Returns:
      Number of people, of lines written, of codes without a picture, and of pictures without a
      code.

    Raises:
      SourceError: a folder has no codes or pictures, or files are malformed; the message lists all
        faults.
    """
    coded, faults = _read_codes(Path(labels))
    pictures = _find_pictures(Path(frames), faults)
    if not coded:
        faults.append(f"{labels}: no codes (SN001/SN001_au1.txt)")
    if not pictures:
        faults.append(f"{frames}: no pictures (SN001/00001.jpg)")
    if faults:
        raise SourceError(format_faults(faults, "DISFA"))
    units = [unit for unit in facs.AU_NUMBERS if any(unit in of for of in coded.values())]
    counts = {"people": 0, "lines": 0, "codes without a picture": 0, "pictures without a code": 0}
    out = Path(out).absolute()
    writing = out.with_name(out.name + ".writing")
    with open(writing, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["subject", "task", "frame", "path", *(f"AU{unit}" for unit in units)])
        for person in sorted(coded.keys() | pictures.keys()):
            codes, of_person = coded.get(person, {}), pictures.get(person, {})
            numbers = set().union(*codes.values())
            both = sorted(numbers & of_person.keys())
            for number in both:
                row = [codes.get(unit, {}).get(number, "") for unit in units]
                path = Path(os.path.relpath(of_person[number], out.parent)).as_posix()
                table.writerow([person, TASK, number, path, *row])
            counts["people"] += bool(both)
            counts["lines"] += len(both)
            counts["codes without a picture"] += len(numbers) - len(both)
            counts["pictures without a code"] += len(of_person) - len(both)
    writing.rename(out)
    return counts


def _read_codes(folder: Path) -> tuple[dict[str, dict[int, dict[int, int | str]]], list[str]]:
    """Reads all codes.

    Returns:
      Person -> unit -> frame -> code, "" where it is unknown; and the faults.
    """
    coded, faults = {}, []
    for path in sorted(folder.glob("*/*.txt")):
        match = _CODE_FILE.fullmatch(path.name)
        person = _PERSON.fullmatch(path.parent.name)
        if not match or not person or int(match[1]) not in facs.AU_NUMBERS:
            continue
        if path.name[:5].upper() != person[0].upper():
            faults.append(f"{path}: the file of another person")
            continue
        codes = coded.setdefault(person[0].upper(), {}).setdefault(int(match[1]), {})
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                frame, code = (int(float(field)) for field in line.split(","))
            except ValueError:
                faults.append(f"{path}, line {number}: {line!r}, expected frame,intensity")
                continue
            if frame in codes:
                faults.append(f"{path}, line {number}: frame {frame} is there twice")
            codes[frame] = code if 0 <= code <= _HIGHEST_CODE else ""
    return coded, faults


def _find_pictures(folder: Path, faults: list[str]) -> dict[str, dict[int, Path]]:
    """Lists all pictures: person -> number of the frame -> path.

    Args:
      folder: the folder of the pictures.
      faults: messages, to which pictures of one frame are added.
    """
    pictures = {}
    for path in sorted(folder.glob("*/*")):
        person, number = _PERSON.search(path.parent.name), _NUMBER.search(path.stem)
        if path.suffix.lower() not in _PICTURES or not person or not number:
            continue
        of_person = pictures.setdefault(person[0].upper(), {})
        if other := of_person.get(int(number[1])):
            faults.append(f"{path}: the same frame as {other} (use one camera alone)")
        of_person[int(number[1])] = path
    return pictures


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; `arguments` replaces `sys.argv[1:]`."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.disfa",
        description="Writes the table of the folder source for DISFA's codes and frames.",
    )
    parser.add_argument("--labels", required=True, help="the folder ActionUnit_Labels")
    parser.add_argument("--frames", required=True, help="a folder of pictures for each person")
    parser.add_argument("--out", required=True, help="the table to write")
    options = parser.parse_args(arguments)
    try:
        counts = write_table(options.labels, options.frames, options.out)
    except (SourceError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{options.out}: {', '.join(f'{count} {name}' for name, count in counts.items())}")


if __name__ == "__main__":
    main()
