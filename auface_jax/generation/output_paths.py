"""Names of the files that generation writes, and checks of them before anything is drawn."""

import os
import pathlib
from collections.abc import Iterable

from PIL import Image

from auface_jax.generation.request_csv import existing_files
from auface_jax.images.frames import VIDEOS

_ENDINGS = (*VIDEOS, ".heic", ".svg")  # beside those that Pillow knows


def ending(name: str | pathlib.Path) -> str:
    """Returns the ending of a picture's or video's name in small letters, "" for a folder's name.

    A name is a folder's unless its ending is known: "at-0.5" names a folder.
    """
    found = pathlib.Path(name).suffix.lower()
    return found if found in (*Image.registered_extensions(), *_ENDINGS) else ""


def picture_name(number: int) -> str:
    """Returns the file name of a numbered picture."""
    return f"{number:04d}.png"


def write_faults(places: dict[str, pathlib.Path | None]) -> list[str]:
    """Finds reasons why outputs cannot be written.

    Args:
      places: option -> file or folder that it names, or None.

    Returns:
      One line for each fault, with its cure.
    """
    faults = []
    for option, place in places.items():
        if place is None:
            continue
        there = next(path for path in (place, *place.absolute().parents) if os.path.exists(path))
        if there == place and place.is_dir() == bool(ending(place)):
            found = "folder" if ending(place) else "file (a name without an ending is a folder's)"
            faults.append(f"{option} {place} is a {found}; name another")
        elif there != place and not there.is_dir():
            faults.append(f"{option} {place} cannot be made: {there} is no folder; name another")
        elif not os.access(there, os.W_OK):
            faults.append(f"{option} {place}: {there} may not be written; name another")
    return faults


def overwrite_faults(
    out: pathlib.Path, explain: pathlib.Path | None, num: int, read: Iterable[str]
) -> list[str]:
    """Finds outputs that would replace each other or a file that is read.

    Args:
      out: a picture, a GIF, or a folder of pictures.
      explain: picture of the attention maps, or None.
      num: number of pictures.
      read: files that are read.

    Returns:
      One line for each fault, with its cure.
    """
    inputs = existing_files(read)
    made = [out] if ending(out) else [out / picture_name(number) for number in range(num)]
    faults = []
    if explain is not None and explain.resolve() in (path.resolve() for path in made):
        faults.append(f"--explain and --out are both {explain}; name two")
    for path in filter(None, (*made, explain)):
        if existing_files([path]) & inputs:
            faults.append(f"{path} is read by this command and would be lost; name another place")
    return faults
