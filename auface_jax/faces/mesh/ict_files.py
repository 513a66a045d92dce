"""Reads the arrays of ICT-FaceKit Light from a user's clone of that public repository.

The clone holds one OBJ file for the neutral face, one for each of 100 identity modes and one for
each expression, all with the same vertices in the same order, and the vertices of the landmarks in
`vertex_indices.json`. Reading them takes seconds; the arrays are then kept in a cache folder, so
that it happens once. An .npz file of such arrays can be given in place of the clone.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Float32, Int32

VERTICES = 26719  # of every mesh of the Light model
IDENTITIES = 100
_FOLDER = "FaceXModel"
_NEUTRAL = "generic_neutral_mesh"
_LANDMARKS = "vertex_indices.json"
_KEYS = ("neutral", "tri", "ident", "expr", "exprnames", "lmk68")


class FacekitError(ValueError):
    """The path holds no ICT-FaceKit; the message says what is missing and how to get it."""


@dataclasses.dataclass(frozen=True, eq=False)
class FacekitArrays:
    """Arrays of the kit, with the V = 26,719 vertices in the order of the repository.

    Attributes:
        neutral: the neutral mean face.
        triangles: corners of each triangle.
        identity: displacement of each identity mode.
        expressions: displacement of each expression, by its name.
        landmarks: vertices of the 68 landmarks.
    """

    neutral: Float32[np.ndarray, "V 3"]
    triangles: Int32[np.ndarray, "F 3"]
    identity: Float16[np.ndarray, "100 V 3"]
    expressions: dict[str, Float16[np.ndarray, "V 3"]]
    landmarks: Int32[np.ndarray, "68"]

    def fingerprint(self) -> str:
        """A digest of the arrays in 16 hex digits, which does not depend on their path."""
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
        FacekitError: `path` is none of these, or files are missing or damaged.
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
            f"{folder} lacks {len(missing)} files, first {missing[0]}: clone the repository again"
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


def _read_clone(
    folder: Path, modes: Sequence[Path], shapes: Sequence[Path]
) -> dict[str, np.ndarray]:
    """Reads the OBJ files of identity modes and of expressions into arrays by their `_KEYS`."""
    neutral, triangles = read_obj(folder / f"{_NEUTRAL}.obj")

    def differences(files: Sequence[Path]) -> Float16[np.ndarray, "N V 3"]:
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


def read_obj(
    path: Path, faces: bool = True
) -> tuple[Float32[np.ndarray, "V 3"], Int32[np.ndarray, "F 3"]]:
    """Reads the vertices and the triangles of an OBJ file.

    Args:
        path: the file.
        faces: whether triangles are read; without them F is 0.

    Raises:
        FacekitError: the file does not have the vertices of the Light model.
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


def _keep(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes the cache whole or not at all; where it cannot be written, runs read the clone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
            np.savez_compressed(file, **arrays)
        os.replace(file.name, path)
    except OSError:
        return


def _load(path: Path) -> FacekitArrays:
    """Reads arrays from an .npz file.

    Raises:
        FacekitError: the file is damaged, or an array is missing or has another shape.
    """
    try:
        with np.load(path) as stored:
            missing = [key for key in _KEYS if key not in stored]
            if missing:
                raise FacekitError(f"{path} has no array {', '.join(missing)}")
            return _checked({key: stored[key] for key in _KEYS}, path)
    except (OSError, EOFError) as error:
        raise FacekitError(f"{path} cannot be read: {error}") from error


def _checked(arrays: dict[str, np.ndarray], where: Path) -> FacekitArrays:
    """Checks the shapes of arrays; `where` is their path for messages."""
    names = [str(name) for name in arrays["exprnames"]]
    expected = {
        "neutral": (VERTICES, 3),
        "ident": (IDENTITIES, VERTICES, 3),
        "expr": (len(names), VERTICES, 3),
        "lmk68": (68,),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise FacekitError(f"{where}: {key} has shape {arrays[key].shape}, expected {shape}")
    return FacekitArrays(
        neutral=np.asarray(arrays["neutral"], np.float32),
        triangles=np.asarray(arrays["tri"], np.int32),
        identity=np.asarray(arrays["ident"], np.float16),
        expressions=dict(zip(names, np.asarray(arrays["expr"], np.float16), strict=True)),
        landmarks=np.asarray(arrays["lmk68"], np.int32),
    )
