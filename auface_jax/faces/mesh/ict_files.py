"""Reads the arrays of ICT-FaceKit Light from a user's clone of that public repository.

The clone holds one OBJ file for the neutral face, one for each of 100 identity modes and one for
each expression, all with the same vertices in the same order, and the numbers of the landmarks in
`vertex_indices.json`. Reading them takes seconds; the arrays are then kept in a cache
folder, so that it happens once. A file of such arrays (.npz) can be named in the clone's place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

VERTICES = 26719  # of every mesh of the Light model
IDENTITIES = 100
_FOLDER = "FaceXModel"
_NEUTRAL = "generic_neutral_mesh"
_LANDMARKS = "vertex_indices.json"
_KEYS = ("neutral", "tri", "ident", "expr", "exprnames", "lmk68")


class FacekitError(ValueError):
    """The path is no ICT-FaceKit; the message says what is missing and where to get it."""


@dataclasses.dataclass(frozen=True, eq=False)
class FacekitArrays:
    """V = 26,719 vertices, in the order of the repository.

    Attributes:
        neutral: float32 [V, 3].
        triangles: int32 [F, 3].
        identity: float16 [100, V, 3], displacement of each mode.
        expressions: name -> float16 [V, 3], displacement of each expression.
        landmarks: int32 [68].
    """

    neutral: np.ndarray
    triangles: np.ndarray
    identity: np.ndarray
    expressions: dict[str, np.ndarray]
    landmarks: np.ndarray

    def fingerprint(self) -> str:
        """16 hex digits that depend on the arrays alone, not on where they were read."""
        digest = hashlib.sha256()
        for array in (self.neutral, self.triangles, self.identity, self.landmarks):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name in sorted(self.expressions):
            digest.update(name.encode() + np.ascontiguousarray(self.expressions[name]).tobytes())
        return digest.hexdigest()[:16]


def read_facekit(path: str | Path, cache: str | Path | None = None) -> FacekitArrays:
    """Reads the face model.

    Args:
        path: the clone, its folder FaceXModel, or an .npz file of the arrays.
        cache: folder for the arrays of a clone; None is `auface_jax` in the user's cache folder.

    Raises:
        FacekitError: when `path` is none of these, or files are missing or damaged.
    """
    path = Path(path).expanduser()
    if path.is_file() and path.suffix == ".npz":
        return _load(path)
    folder = next((f for f in (path / _FOLDER, path) if (f / f"{_NEUTRAL}.obj").is_file()), None)
    if folder is None:
        what = "does not exist" if not path.exists() else f"has no {_FOLDER}/{_NEUTRAL}.obj"
        raise FacekitError(
            f"--facekit {path} {what}; give the folder of a clone of the ICT-FaceKit repository "
            "(git clone https://github.com/ICT-VGL/ICT-FaceKit)"
        )
    modes = [folder / f"identity{k:03d}.obj" for k in range(IDENTITIES)]
    wanted = [*modes, folder / _LANDMARKS]
    if missing := [file.name for file in wanted if not file.is_file()]:
        raise FacekitError(
            f"{folder} lacks {len(missing)} files, first {missing[0]}: clone the repository anew"
        )
    shapes = sorted(
        file
        for file in folder.glob("*.obj")
        if file.stem != _NEUTRAL and not file.stem.startswith("identity")
    )
    stamp = hashlib.sha256()
    for file in [*modes, *shapes, folder / f"{_NEUTRAL}.obj", folder / _LANDMARKS]:
        stat = file.stat()
        stamp.update(f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(cache) if cache else home / "auface_jax"
    kept = cache / f"ict-facekit-{stamp.hexdigest()[:16]}.npz"
    if kept.is_file():
        return _load(kept)
    arrays = _read_clone(folder, modes, shapes)
    _keep(kept, arrays)
    return _load(kept) if kept.is_file() else _checked(arrays, folder)


def _read_clone(folder, modes, shapes):
    neutral, triangles = read_obj(folder / f"{_NEUTRAL}.obj")

    def differences(files):
        return np.stack([(read_obj(f, faces=False)[0] - neutral).astype(np.float16) for f in files])

    marks = json.loads((folder / _LANDMARKS).read_text())["idx_to_landmark_verts"]
    return {
        "neutral": neutral,
        "tri": triangles,
        "ident": differences(modes),
        "expr": differences(shapes),
        "exprnames": np.array([file.stem for file in shapes]),
        "lmk68": np.array(marks, np.int32),
    }


def read_obj(path: Path, faces: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float32 [V, 3] and, when asked for, triangles int32 [F, 3] of an OBJ file.

    Raises:
        FacekitError: when the file has not the vertices of the Light model.
    """
    points, triangles = [], []
    with open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("v "):
                points.append(line[2:])
            elif points and not faces:
                break  # vertices come first, and all in one block
            elif line.startswith("f "):
                corner = [int(word.split("/", 1)[0]) - 1 for word in line.split()[1:]]
                for k in range(1, len(corner) - 1):
                    triangles.append((corner[0], corner[k], corner[k + 1]))
    vertices = np.array(" ".join(points).split(), np.float32)
    if vertices.size != 3 * VERTICES:
        raise FacekitError(
            f"{path} has {len(points)} vertices, the Light model has {VERTICES}: take the branch "
            "that holds the Light model, and fetch large files if git left them out"
        )
    return vertices.reshape(-1, 3), np.array(triangles, np.int32).reshape(-1, 3)


def _keep(path, arrays):
    """Writes the cache whole or not at all; without room or leave for it, every run reads anew."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez_compressed(file, **arrays)
        os.replace(file.name, path)
    except OSError:
        return


def _load(path):
    try:
        with np.load(path) as stored:
            missing = [key for key in _KEYS if key not in stored]
            if missing:
                raise FacekitError(f"{path} has no array {', '.join(missing)}")
            return _checked({key: stored[key] for key in _KEYS}, path)
    except (OSError, EOFError) as error:
        raise FacekitError(f"{path} cannot be read: {error}") from error


def _checked(arrays, where):
    names = [str(name) for name in arrays["exprnames"]]
    expected = {
        "neutral": (VERTICES, 3),
        "ident": (IDENTITIES, VERTICES, 3),
        "expr": (len(names), VERTICES, 3),
        "lmk68": (68,),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise FacekitError(f"{where}: {key} has shape {arrays[key].shape}, not {shape}")
    return FacekitArrays(
        neutral=np.asarray(arrays["neutral"], np.float32),
        triangles=np.asarray(arrays["tri"], np.int32),
        identity=np.asarray(arrays["ident"], np.float16),
        expressions=dict(zip(names, np.asarray(arrays["expr"], np.float16), strict=True)),
        landmarks=np.asarray(arrays["lmk68"], np.int32),
    )
