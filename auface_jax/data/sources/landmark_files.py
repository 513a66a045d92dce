"""Reads landmark files: a text file for each picture, or a MATLAB file for each sequence."""

import re
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Float32

from auface_jax.data.sources.base import SourceError
from auface_jax.faces.template import POINTS

_PTS_FRAME = re.compile(r"(version\s*:.*|n_points\s*:.*|\{|\}|)", re.IGNORECASE)


def read_points(path: str | Path) -> Float32[np.ndarray, "M 2"]:
    """Reads the points of one picture: a line `x y` or `x,y` for each.

    The header and the braces of a `.pts` file are skipped.

    Raises:
      SourceError: the file cannot be read, has no point, or has another line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: landmarks cannot be read ({error})") from error
    points = []
    for number, line in enumerate(lines, start=1):
        if _PTS_FRAME.fullmatch(line.strip()):
            continue
        try:
            x, y = map(float, line.replace(",", " ").split())
        except ValueError as error:
            raise SourceError(f"{path}, line {number}: {line!r}, expected a point 'x y'") from error
        points.append((x, y))
    if not points:
        raise SourceError(f"{path}: no landmarks")
    return np.array(points, np.float32)


def read_sequence(path: str | Path) -> tuple[list[np.ndarray | None], np.ndarray | None]:
    """Reads the points of a sequence from a MATLAB file (format 7 or older).

    The points are the first variable that is an array [F, M, 2], [M, 2, F] or [F, 2 M], or a
    structure array of F frames with a field [M, 2] or [2, M]. A field `frame` of the structure
    numbers the frames. A frame has no points where the field `isTracked` is 0, or where the points
    are not finite or all 0.

    Returns:
      M points or None for each of F frames; and the numbers of the frames, or None.

    Raises:
      SourceError: the file cannot be read or has no such variable; the message lists its variables.
    """
    try:
        content = scipy.io.loadmat(path, squeeze_me=False, struct_as_record=True)
    except Exception as error:  # A file of another format may raise almost any error in scipy.
        raise SourceError(f"{path}: not a MATLAB file of landmarks ({error})") from error
    variables = {name: value for name, value in content.items() if not name.startswith("__")}
    for value in variables.values():
        if value.dtype.names and (sequence := _from_structure(value.ravel())) is not None:
            return sequence
        if value.dtype.kind in "fiu" and (points := _from_array(value)) is not None:
            return [_tracked(frame) for frame in points], None
    content_text = ", ".join(
        f"{name} {value.shape} {value.dtype.names or value.dtype}"
        for name, value in variables.items()
    )
    sets = ", ".join(map(str, POINTS))
    raise SourceError(
        f"{path}: no array of {sets} landmarks a frame (the file has: {content_text})"
    )


def _from_array(value: np.ndarray) -> np.ndarray | None:
    """Reshapes an array to [F, M, 2]; None where its shape is another."""
    value = np.asarray(value, np.float64)
    if value.ndim == 3 and value.shape[2] == 2 and value.shape[1] in POINTS:
        return value
    if value.ndim == 3 and value.shape[1] == 2 and value.shape[0] in POINTS:
        return value.transpose(2, 0, 1)
    if value.ndim == 2 and value.shape[1] in [2 * points for points in POINTS]:
        return value.reshape(len(value), -1, 2)
    return None


def _from_structure(
    frames: np.ndarray,
) -> tuple[list[np.ndarray | None], np.ndarray | None] | None:
    """Points and frame numbers of a structure array with one entry for each frame, or None."""
    for name in frames.dtype.names:
        points = [_from_cell(cell) for cell in frames[name]]
        if not any(cell is not None for cell in points):
            continue
        if "isTracked" in frames.dtype.names:
            tracked = [np.any(cell) for cell in frames["isTracked"]]
            points = [p if seen else None for p, seen in zip(points, tracked, strict=True)]
        numbers = None
        if "frame" in frames.dtype.names:
            numbers = np.array([int(np.ravel(cell)[0]) for cell in frames["frame"]])
        return [None if cell is None else _tracked(cell) for cell in points], numbers
    return None


def _from_cell(cell: np.ndarray) -> np.ndarray | None:
    """Reshapes a field's value to [M, 2]; None where its shape is another."""
    if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "fiu" or cell.ndim != 2:
        return None
    if cell.shape[1] == 2 and cell.shape[0] in POINTS:
        return cell
    if cell.shape[0] == 2 and cell.shape[1] in POINTS:
        return cell.T
    return None


def _tracked(points: np.ndarray) -> np.ndarray | None:
    """The points as float32; None where they are not finite or all 0."""
    points = np.asarray(points, np.float32)
    return points if np.isfinite(points).all() and points.any() else None
