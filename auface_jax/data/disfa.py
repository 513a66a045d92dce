"""DISFA -> the table that the `folder` source reads.

    python -m auface_jax.data.disfa --labels DISFA/ActionUnit_Labels --frames FRAMES --out disfa.csv

The codes lie as the owners publish them (Mavadati et al., 2013, doi:10.1109/T-AFFC.2013.4), a file
for each person and unit with a line `frame,intensity` for each frame, intensities 0 to 5:

    ActionUnit_Labels/SN001/SN001_au1.txt

The corpus has videos; FRAMES has a folder of pictures for each, with the person's id in its name
and the frame's number, from 1, at the end of each picture's:

    FRAMES/SN001/00001.jpg

This was written from descriptions of the corpus, which was never at hand: look at what is printed.
"""

import argparse
import csv
import os
import re
import sys
from pathlib import Path

from auface_jax import facs
from auface_jax.data.sources.base import SourceError, format_faults

TASK = "video"  # everybody watches one film
_PERSON = re.compile(r"SN\d{3}", re.IGNORECASE)
_CODE_FILE = re.compile(r"SN\d{3}_au(\d+)\.txt", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)$")
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_HIGHEST_CODE = 5


def write_table(labels: str | Path, frames: str | Path, out: str | Path) -> dict[str, int]:
    """Writes the CSV; a code outside 0 to 5 is left empty, which the build takes as unknown.

    Args:
      labels: The folder `ActionUnit_Labels`.
      frames: The folder of the pictures.
      out: The table; its paths are relative to it, so that it may move along with the pictures.

    Returns:
      What was found -> how often: people, lines written, codes without a picture, pictures without
      a code.

    Raises:
      SourceError: A folder without codes or pictures; or lists every file that does not fit.
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
    found = {"people": 0, "lines": 0, "codes without a picture": 0, "pictures without a code": 0}
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
            found["people"] += bool(both)
            found["lines"] += len(both)
            found["codes without a picture"] += len(numbers) - len(both)
            found["pictures without a code"] += len(of_person) - len(both)
    writing.rename(out)
    return found


def _read_codes(folder: Path) -> tuple[dict[str, dict[int, dict[int, int | str]]], list[str]]:
    """Person -> unit -> frame -> code, "" where it is unknown; and what does not fit."""
    coded, faults = {}, []
    for path in sorted(folder.glob("*/*.txt")):
        match = _CODE_FILE.fullmatch(path.name)
        person = _PERSON.fullmatch(path.parent.name)
        if not match or not person or int(match[1]) not in facs.AU_NUMBERS:
            continue
        if path.name[:5].upper() != person[0].upper():
            faults.append(f"{path}: a file of another person")
            continue
        codes = coded.setdefault(person[0].upper(), {}).setdefault(int(match[1]), {})
        for place, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                frame, code = (int(float(field)) for field in line.split(","))
            except ValueError:
                faults.append(f"{path}, line {place}: {line!r}, expected frame,intensity")
                continue
            if frame in codes:
                faults.append(f"{path}, line {place}: frame {frame} is there twice")
            codes[frame] = code if 0 <= code <= _HIGHEST_CODE else ""
    return coded, faults


def _find_pictures(folder: Path, faults: list[str]) -> dict[str, dict[int, Path]]:
    """Person -> number of the frame -> picture; adds to `faults` what is there twice."""
    pictures = {}
    for path in sorted(folder.glob("*/*")):
        person, number = _PERSON.search(path.parent.name), _NUMBER.search(path.stem)
        if path.suffix.lower() not in _PICTURES or not person or not number:
            continue
        of_person = pictures.setdefault(person[0].upper(), {})
        if other := of_person.get(int(number[1])):
            faults.append(f"{path}: the frame of {other} again (one camera alone)")
        of_person[int(number[1])] = path
    return pictures


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.disfa",
        description="Writes the table of the folder source for DISFA's codes and frames.",
    )
    parser.add_argument("--labels", required=True, help="the folder ActionUnit_Labels")
    parser.add_argument("--frames", required=True, help="a folder of pictures for each person")
    parser.add_argument("--out", required=True, help="the table to write")
    options = parser.parse_args(arguments)
    try:
        found = write_table(options.labels, options.frames, options.out)
    except (SourceError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{options.out}: {', '.join(f'{count} {what}' for what, count in found.items())}")


if __name__ == "__main__":
    main()
