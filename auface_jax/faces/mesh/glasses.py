"""Glasses as geometry: rims, a bridge over the nose, arms to the ears, and lenses that glint.

Glasses are fitted to the resting face and do not move with it, so that they say nothing about the
labels. Rims are slim and lenses clear, so that lids and cheeks are seen through them.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int, Int32

from auface_jax.faces.mesh.face_model import PULLS, SKIN, FaceModel
from auface_jax.faces.person import Person

# Half width and half height of a lens in centimetres, the exponent of its superellipse (2 is an
# ellipse, more is squarer), the rise of its upper outer corner in centimetres, the share by which
# it is narrower at the bottom, and the thickness of the rim's lower half relative to the upper.
_SHAPES = {
    "round": (2.15, 2.10, 2.0, 0.0, 0.0, 1.0),
    "oval": (2.40, 1.75, 2.2, 0.0, 0.0, 1.0),
    "rectangle": (2.55, 1.60, 5.0, 0.0, 0.05, 1.0),
    "wayfarer": (2.55, 1.90, 3.6, 0.12, 0.14, 0.85),
    "cat_eye": (2.55, 1.70, 2.6, 0.50, 0.18, 0.7),
    "aviator": (2.60, 2.15, 2.5, -0.15, 0.28, 1.0),
    "half_rim": (2.55, 1.70, 4.0, 0.08, 0.08, 0.25),
}
GLASSES = ("none", *_SHAPES)
_RING = 40  # points of a rim
_SIDES = 6  # of a tube
_CLEARANCE = 0.30  # centimetres between lens and skin, raised cheeks included
_BROW_ROOM = 0.9  # centimetres over a lens from which brows come down to it
_WRAP = 0.028  # curvature of a frame around the face, 1 / (2 * radius in centimetres)
_LENS_CURVE = 7.0  # centimetres, radius of the front of a lens
_RINGS = np.array([0.0, 0.35, 0.7, 0.97])  # of the lens' mesh


@dataclasses.dataclass(frozen=True, eq=False)
class Glasses:
    """A frame and its lenses, in the space of the face.

    Attributes:
        frame: points of the frame.
        frame_triangles: corners of the frame's triangles.
        lens: points of both lenses.
        lens_normals: unit normals of the lenses' bulging front.
        lens_triangles: corners of the lenses' triangles.
    """

    frame: Float32[np.ndarray, "N 3"]
    frame_triangles: Int32[np.ndarray, "K 3"]
    lens: Float32[np.ndarray, "L 3"]
    lens_normals: Float32[np.ndarray, "L 3"]
    lens_triangles: Int32[np.ndarray, "J 3"]


# Points (distance from the middle, y) -> a value for each, such as z of the frame.
_Plane = Callable[[Float64[np.ndarray, "N 2"]], Float64[np.ndarray, " N"]]


def fitted(model: FaceModel, person: Person, neutral: Float32[np.ndarray, "V 3"]) -> Glasses | None:
    """Fits a person's glasses to their resting face.

    Args:
        model: the face model.
        person: the person.
        neutral: vertices of the person's resting face.

    Returns:
        The glasses; None for a person who wears none.
    """
    if person.glasses == "none":
        return None
    width, height, exponent, corner, taper, lower = _SHAPES[person.glasses]
    marks = neutral[model.landmarks].astype(float)
    eyes = marks[36:42].mean(0), marks[42:48].mean(0)
    apart = 0.5 * (eyes[1][0] - eyes[0][0])
    middle = 0.5 * (eyes[0] + eyes[1])
    scale = apart / 3.2
    turn = np.linspace(0.0, 2 * np.pi, _RING, endpoint=False)
    u, v = (np.sign(f) * np.abs(f) ** (2.0 / exponent) for f in (np.cos(turn), np.sin(turn)))
    x = scale * width * u * (1.0 + taper * (0.5 * v - 0.5))
    y = scale * (height * v + corner * np.clip(v, 0, 1) * np.clip(u, -0.2, 1))
    # A little outside of the pupils and under them, as opticians centre them.
    outline = np.stack([x + apart + 0.02 * scale, y + middle[1] - 0.28 * scale], 1)
    plane = _plane(model, neutral, outline, middle[0])

    def placed(flat: Float64[np.ndarray, "N 2"], sign: int) -> Float64[np.ndarray, "N 3"]:
        """Points on the frame's curved plane, on the left (+1) or the right (-1) side."""
        return np.stack([middle[0] + sign * flat[:, 0], flat[:, 1], plane(flat)], 1)

    radius = person.rim * scale
    parts, lenses = [], []
    slim = radius * np.where(v > 0, 1.0, lower + (1.0 - lower) * np.clip(1.0 + 3.0 * v, 0, 1))
    for sign in (1, -1):
        rim = placed(outline, sign)
        parts.append(_tube(rim, slim, closed=True))
        hinge = rim[np.argmax(outline[:, 0] + 0.9 * outline[:, 1])]
        ear = marks[16 if sign > 0 else 0]
        parts.append(_arm(hinge, ear, sign, max(radius, 0.09)))
        lenses.append(_lens(outline, lambda flat, sign=sign: placed(flat, sign), sign))
    nose_side = outline[np.argmin(outline[:, 0] - 0.25 * outline[:, 1])]
    parts.append(_tube(_bridge(neutral, placed, nose_side), max(radius, 0.08), closed=False))
    frame, frame_triangles = _joined([part[:2] for part in parts])
    lens, lens_triangles = _joined([part[:2] for part in lenses])
    return Glasses(
        frame, frame_triangles, lens,
        np.concatenate([part[2] for part in lenses]).astype(np.float32), lens_triangles,
    )  # fmt: skip


def _plane(
    model: FaceModel,
    neutral: Float32[np.ndarray, "V 3"],
    outline: Float64[np.ndarray, "R 2"],
    middle_x: float,
) -> _Plane:
    """The function that gives z of the frame, just clear of the face and of raised cheeks."""
    raised = np.maximum(0.0, model.pulls[PULLS.index("cheek_up"), :, 2])
    off = np.abs(neutral[:, 0] - middle_x)
    low, high = outline.min(0), outline.max(0)
    near = (off > low[0] + 0.5) & (off < high[0])
    near &= (neutral[:, 1] > low[1]) & (neutral[:, 1] < high[1] + _BROW_ROOM)
    skin = np.zeros(len(neutral), bool)
    skin[model.triangles[model.materials == SKIN]] = True  # hair lies over the frame
    near &= skin & (neutral[:, 2] > 4.0)
    front = (neutral[near, 2] + 0.6 * raised[near] + _WRAP * off[near] ** 2).max() + _CLEARANCE
    return lambda flat: front - _WRAP * flat[:, 0] ** 2


def _bridge(
    neutral: Float32[np.ndarray, "V 3"],
    placed: Callable[[Float64[np.ndarray, "N 2"], int], Float64[np.ndarray, "N 3"]],
    inner: Float64[np.ndarray, "2"],
) -> Float64[np.ndarray, "N 3"]:
    """A bow over the nose, between the inner sides of the rims."""
    t = np.linspace(-1.0, 1.0, 11)
    flat = np.stack([np.abs(t) * inner[0], inner[1] + 0.22 * (1 - t * t)], 1)
    bow = np.where(t[:, None] < 0, placed(flat, -1), placed(flat, 1))
    near = (np.abs(neutral[:, 0] - bow[5, 0]) < 0.4) & (np.abs(neutral[:, 1] - bow[5, 1]) < 0.35)
    nose = neutral[near, 2].max() if near.any() else -np.inf
    bow[:, 2] += max(nose + 0.15 - bow[5, 2], 0.0) * (1 - t * t)
    return bow


def _arm(
    hinge: Float64[np.ndarray, "3"], ear: Float64[np.ndarray, "3"], sign: int, radius: float
) -> tuple[Float64[np.ndarray, "N 3"], Int[np.ndarray, "K 3"]]:
    """A tube from the hinge out and back to the top of the ear: points and triangles."""
    t = np.linspace(0.0, 1.0, 9)[:, None]
    end = np.array([ear[0] + sign * 0.25, hinge[1] + 0.1, ear[2] - 2.0])
    line = hinge + t * (end - hinge) + sign * 0.9 * t * (1 - t) * np.array([1.0, 0.0, 0.0])
    line[0, 0] += sign * 0.05
    return _tube(line, radius, closed=False)


def _tube(
    path: Float64[np.ndarray, "N 3"], radius: Float64[np.ndarray, " N"] | float, closed: bool
) -> tuple[Float64[np.ndarray, "M 3"], Int[np.ndarray, "K 3"]]:
    """A round tube along a path: `_SIDES` points for each of the path's, and triangles."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    # Across the tube: as far to the front as may be, so that a rim does not twist.
    side = np.cross(ahead, [0.0, 0.3, 1.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    front = np.cross(side, ahead)
    angle = np.arange(_SIDES) / _SIDES * 2 * np.pi
    spoke = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * front[:, None]
    points = path[:, None] + np.broadcast_to(radius, len(path))[:, None, None] * spoke
    ring = np.arange(len(path) if closed else len(path) - 1)[:, None] * _SIDES
    following = (ring + _SIDES) % (len(path) * _SIDES)
    k = np.arange(_SIDES)[None, :]
    a, b = ring + k, ring + (k + 1) % _SIDES
    d, e = following + k, following + (k + 1) % _SIDES
    corners = [np.stack([p.ravel() for p in corner], 1) for corner in ((a, e, b), (a, d, e))]
    return points.reshape(-1, 3), np.concatenate(corners)


def _lens(
    outline: Float64[np.ndarray, "R 2"],
    placed: Callable[[Float64[np.ndarray, "N 2"]], Float64[np.ndarray, "N 3"]],
    sign: int,
) -> tuple[Float64[np.ndarray, "N 3"], Int[np.ndarray, "K 3"], Float64[np.ndarray, "N 3"]]:
    """A lens: points, triangles that face the viewer, unit normals of its bulging front."""
    centre = outline.mean(0)
    flat = centre + (_RINGS[:, None, None] * (outline - centre)).reshape(-1, 2)
    off = flat - centre
    normals = np.stack([sign * off[:, 0], off[:, 1], np.full(len(off), _LENS_CURVE)], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    r, c = np.arange(len(_RINGS) - 1)[:, None] * _RING, np.arange(_RING)[None, :]
    a, b = (r + c).ravel(), (r + (c + 1) % _RING).ravel()
    triangles = np.concatenate(
        [np.stack([a, a + _RING, b + _RING], 1), np.stack([a, b + _RING, b], 1)]
    )
    return placed(flat), triangles if sign > 0 else triangles[:, ::-1], normals


def _joined(
    parts: Sequence[tuple[Float64[np.ndarray, "N 3"], Int[np.ndarray, "K 3"]]],
) -> tuple[Float32[np.ndarray, "M 3"], Int32[np.ndarray, "J 3"]]:
    """Joins meshes, each points and triangles, to one."""
    starts = np.cumsum([0, *(len(points) for points, _ in parts)])
    triangles = [corners + start for (_, corners), start in zip(parts, starts, strict=False)]
    points = np.concatenate([points for points, _ in parts])
    return points.astype(np.float32), np.concatenate(triangles).astype(np.int32)
