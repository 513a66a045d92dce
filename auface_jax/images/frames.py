"""Frames of image files, folders, animations and videos, as squares, one at a time."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageSequence

from auface_jax.images.files import ImageFileError, central_square, upright_rgb

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


class FrameError(ValueError):
    """A file cannot be read as pictures; the message names the file, the reason and the cure."""


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a file.

    Attributes:
      path: the file.
      number: index of the frame in the file; 0 for a still picture.
      still: whether the file is neither an animation nor a video.
      image: the upright central square, resized.
    """

    path: Path
    number: int
    still: bool
    image: UInt8[np.ndarray, "S S 3"]


def find_files(paths: Sequence[str | Path]) -> list[Path]:
    """Finds the pictures and videos among paths and, recursively, in folders.

    Args:
      paths: files and folders.

    Returns:
      Files in the order of `paths`, those of a folder sorted by name, each once.

    Raises:
      FrameError: a path does not exist, has an unknown suffix, or is a folder without pictures;
        the message lists all such paths.
    """
    files, faults = [], []
    known = PICTURES + VIDEOS
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in known)
            if not inside:
                faults.append(f"{path}: a folder without pictures or videos")
            files += inside
        elif not path.is_file():
            faults.append(f"{path}: no such file or folder")
        elif path.suffix.lower() not in known:
            faults.append(f"{path}: not one of {' '.join(known)}")
        else:
            files.append(path)
    if faults:
        raise FrameError("\n".join(faults))
    return list(dict.fromkeys(files))


def unique_stems(files: Sequence[Path]) -> list[str]:
    """A different name for each file's results: its stem, numbered where stems repeat."""
    own, used, numbers = {path.stem for path in files}, set(), collections.Counter()
    stems = []
    for path in files:
        stem = path.stem
        while stem in used or (numbers[path.stem] and stem in own):
            numbers[path.stem] += 1
            stem = f"{path.stem}-{numbers[path.stem] + 1}"
        used.add(stem)
        stems.append(stem)
    return stems


def read_frames(path: Path, size: int, *, every: int = 1) -> Iterator[Frame]:
    """Reads the frames of a picture, an animation (GIF, WebP) or a video.

    Args:
      path: the file.
      size: side of the squares, which are resized with an antialiased filter.
      every: step between the frames that are read.

    Yields:
      Frames in order.

    Raises:
      FrameError: the file is damaged or not a picture, or it is a video and PyAV is not installed.
    """
    pictures = _video(path) if path.suffix.lower() in VIDEOS else _pictures(path)
    number = -1
    try:
        for number, (picture, still) in enumerate(pictures):
            if number % every == 0:
                yield Frame(path, number, still, central_square(picture, size))
    except FrameError:
        raise
    except Exception as error:  # damaged files raise almost anything
        raise FrameError(f"{path}: cannot be read after frame {number} ({error})") from error
    if number < 0:
        raise FrameError(f"{path}: has no frames")


def _pictures(path: Path) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], bool]]:
    """Yields the pixels of each frame, and whether the file has only one."""
    try:
        opened = Image.open(path)
    except Exception as error:  # a damaged picture raises almost anything in Pillow
        raise FrameError(f"{path}: cannot be read as an image ({error})") from error
    with opened:
        # The further images of an MPO file are a preview or a depth map beside a photograph.
        frames = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
        for picture in itertools.islice(ImageSequence.Iterator(opened), frames):
            try:
                yield upright_rgb(picture, path), frames == 1
            except ImageFileError as error:
                raise FrameError(str(error)) from error


def _video(path: Path) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], bool]]:
    """Yields the pixels of each frame of a video, and False: none is the only one."""
    try:
        import av
    except ImportError as error:
        raise FrameError(
            f"{path}: videos need PyAV (.venv/bin/python -m pip install -c constraints.txt -e "
            "'.[video]'), or save its frames as pictures"
        ) from error
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            # Telephones store pictures in the orientation of the sensor, with the rotation.
            yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)), False
