"""The ICT-FaceKit face as a `FaceModel`: scanned people, sculpted expressions, our skin and hair.

Source: ICT-FaceKit Light, github.com/ICT-VGL/ICT-FaceKit (MIT licence), which the user clones.
Shape and motion come from there. Colours, brows, wrinkles and hair are those of the built-in
face: its mean head has the same size and place, and its 68 landmarks tell how the scan's surface
is laid over the unrolled plane in which skin is painted. So lips are red where lips are.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from auface_jax.faces.mesh import builtin, hair_shape
from auface_jax.faces.mesh import head_shape as shape
from auface_jax.faces.mesh.builtin_fields import crease_directions
from auface_jax.faces.mesh.face_model import (
    EYE,
    GUM,
    HAIR,
    LASH,
    MOUTH,
    PULLS,
    SKIN,
    TEETH,
    FaceModel,
)
from auface_jax.faces.mesh.ict_files import FacekitError, read_facekit
from auface_jax.faces.render.occlusion import ambient_light

# The first vertex of each part of the Light model's topology; what is not named is not drawn.
_PARTS = {
    "face": (0, 9409), "back_head": (9409, 11248), "mouth_socket": (11248, 13294),
    "eye_sockets": (13294, 14062), "gums": (14062, 17039), "teeth": (17039, 21451),
    "left_eyeball": (21451, 22221), "right_eyeball": (23021, 23791),
}  # fmt: skip
_MATERIAL = {
    "face": SKIN, "back_head": SKIN, "mouth_socket": MOUTH, "eye_sockets": LASH, "gums": GUM,
    "teeth": TEETH, "left_eyeball": EYE, "right_eyeball": EYE,
}  # fmt: skip
# Each pull as a sum of expressions (both sides of a shape with sides), found by looking at each.
# A shape that two pulls share is split by direction: x is sideways, yz the rest.
_PULLS = {
    "brow_inner_up": [("browInnerUp", 1.15, "xyz")],
    "brow_outer_up": [("browOuterUp", 0.95, "yz")],
    "brow_down": [("browDown", 1.40, "yz")],
    "brow_together": [("browDown", 1.70, "x")],
    "cheek_up": [("cheekRaiser", 0.95, "xyz"), ("cheekSquint", 0.50, "xyz")],
    "lid_tight": [("eyeSquint", 1.55, "xyz"), ("eyeBlink", 0.20, "xyz")],
    "lip_up": [
        ("mouthUpperUp", 0.52, "xyz"), ("mouthShrugUpper", 0.28, "xyz"), ("noseSneer", 0.12, "xyz")
    ],
    "corner_up": [("mouthSmile", 0.85, "yz")],
    "corner_wide": [("mouthSmile", 0.85, "x")],
    "corner_tuck": [
        ("mouthDimple", 0.75, "xyz"), ("mouthPress", 0.45, "xyz"), ("mouthFrown", 0.22, "xyz")
    ],
    "corner_down": [("mouthFrown", 1.50, "xyz")],
    "chin_up": [("mouthShrugLower", 0.85, "xyz")],
    "lips_roll": [
        ("mouthRollLower", 0.54, "xyz"), ("mouthRollUpper", 0.50, "xyz"),
        ("mouthPucker", 0.10, "xyz"),
    ],
    "lips_press": [
        ("mouthPress", 1.40, "xyz"), ("mouthRollLower", 0.16, "xyz"),
        ("mouthRollUpper", 0.08, "xyz"),
    ],
    "mouth_narrow": [("mouthPucker", 0.34, "xyz")],
}  # fmt: skip
# The mean scan looks a little tired and sad.
_AT_REST = [("eyeWide", 0.25, "xyz"), ("mouthSmile", 0.06, "xyz")]
_SEALED = ("cheek_up", "corner_tuck", "chin_up", "lips_roll", "lips_press", "mouth_narrow")
_NOD = np.radians(4.0)  # by which the scans look up
_MIDDLE = np.array([0.0, 4.5, 1.0])  # of the skull, from which hair is fitted

_LID_RINGS = 2  # from a socket to the edge of its lids, on which the landmarks lie
_EAR, _SHOULDER = 7.55, -6.0  # what is further from the middle, and higher than this, is an ear


@functools.lru_cache(maxsize=2)
def face_model(path: str | Path, cache: str | Path | None = None) -> FaceModel:
    """The ICT face (about 30,000 vertices), made once a process.

    Args:
        path, cache: see `ict_files.read_facekit`.

    Raises:
        FacekitError: when the files cannot be had or lack a shape.
    """
    scan = _scan(read_facekit(path, cache))
    bare = len(scan.resting)
    hair, hair_triangles, hair_uv, styles = _hair(scan.resting, scan.skin)
    near, share = _near_skin(scan.resting, scan.skin, hair)
    scalp = sum(scan.identity[:, near[:, k]] * share[:, k, None] for k in range(near.shape[1]))
    points = np.concatenate([scan.resting, hair]).astype(np.float32)
    uv = np.concatenate([_unrolled(scan.resting, scan.skin, scan.landmarks), hair_uv])
    crease, reach = np.zeros((len(points), 2)), np.ones(len(points), np.float32)
    crease[:bare] = _creases(scan, uv[:bare])
    reach[:bare] = _light_reach(scan)

    def padded(fields):
        still = np.zeros((len(fields), len(hair), 3))
        return np.concatenate([fields, still], 1, dtype=np.float32)

    return FaceModel(
        name="ict",
        vertices=points,
        triangles=np.concatenate([scan.triangles, hair_triangles + bare]).astype(np.int32),
        materials=np.concatenate([scan.materials, np.full(len(hair_triangles), HAIR, np.uint8)]),
        uv=uv.astype(np.float32),
        identity=np.concatenate([scan.identity, scalp], 1).astype(np.float32),
        identity_names=tuple(f"scan_{k:03d}" for k in range(len(scan.identity))),
        pulls=padded(scan.pulls),
        left=shape.ramp(points[:, 0], -0.9, 0.9).astype(np.float32),
        hair=np.concatenate([np.zeros((len(styles), bare, 3)), styles], 1, dtype=np.float32),
        hair_names=hair_shape.STYLES,
        eyeballs=scan.eyeballs,
        lids=tuple(_lid(scan, scan.landmarks[first : first + 6]) for first in (42, 36)),
        crease=crease.astype(np.float32),
        landmarks=scan.landmarks,
        regions=_regions(scan),
        light_reach=reach,
        lips_apart=padded(scan.lips_apart[None])[0],
        least_opening=0.42,
        sculpted=True,
        fold_rounds=6,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Scan:
    """What is drawn of the kit, at rest: V vertices, fields [..., V, 3] as in `FaceModel`."""

    resting: np.ndarray
    identity: np.ndarray
    pulls: np.ndarray
    lips_apart: np.ndarray
    triangles: np.ndarray
    materials: np.ndarray
    landmarks: np.ndarray
    is_part: dict[str, np.ndarray]  # bool [V] for each of _PARTS

    @property
    def skin(self) -> np.ndarray:
        return self.is_part["face"] | self.is_part["back_head"]

    @property
    def eyeballs(self) -> tuple[np.ndarray, np.ndarray]:
        left, right = (np.flatnonzero(self.is_part[f"{s}_eyeball"]) for s in ("left", "right"))
        return left.astype(np.int32), right.astype(np.int32)


def _scan(kit) -> _Scan:
    resting = kit.neutral + _expression(kit, _AT_REST)
    pulls = np.stack([_expression(kit, _PULLS[name]) for name in PULLS])
    identity = kit.identity.astype(np.float32)
    lips_apart = _seal_lips(kit, resting, identity, pulls)

    part = np.full(len(resting), -1)
    for k, (first, end) in enumerate(_PARTS.values()):
        part[first:end] = k
    # A strip that sews a socket to the face counts as socket: the later part of its corners.
    owner = part[kit.triangles].max(1)
    drawn = part[kit.triangles].min(1) >= 0
    used = np.flatnonzero(part >= 0)
    new = np.full(len(resting), -1, np.int32)
    new[used] = np.arange(len(used))
    scan = _Scan(
        resting=_nod(resting[used]),
        identity=_nod(identity[:, used]),
        pulls=_nod(pulls[:, used]),
        lips_apart=_nod(lips_apart[used]),
        triangles=new[kit.triangles[drawn]],
        materials=np.array([_MATERIAL[name] for name in _PARTS], np.uint8)[owner[drawn]],
        landmarks=new[kit.landmarks],
        is_part={name: part[used] == k for k, name in enumerate(_PARTS)},
    )
    for ball in scan.eyeballs:  # moves with its person as a whole, and with no muscle
        scan.identity[:, ball] = scan.identity[:, ball].mean(1, keepdims=True)
        scan.pulls[:, ball] = 0.0
    # Lips that turn in lie over the teeth; ours have no jaw to make room, so the teeth give way.
    scan.pulls[PULLS.index("lips_roll"), scan.is_part["teeth"], 2] -= 0.7
    return scan


def _creases(scan, uv):
    """Direction [V, 2] across the wrinkles, zeros where none can form."""
    folding = scan.is_part["face"] & (scan.resting[:, 2] > 1.5) & (scan.resting[:, 1] > -8.0)
    crease = np.zeros_like(uv)
    crease[folding] = crease_directions(uv[folding])
    # Lines above the lip are upright: they follow the narrowing of a mouth, not its rise.
    philtrum = (np.abs(uv[:, 0]) < 1.7) & (uv[:, 1] > -2.8) & (uv[:, 1] < -1.4)
    crease[philtrum & folding] = [1.0, 0.0]
    return crease


def _light_reach(scan):
    """Share [V] of the light from all around: reckoned for the skin, set for what lies inside."""
    outside = scan.triangles[scan.materials == SKIN]
    dome = ambient_light(scan.resting.astype(np.float32), outside)
    reach = np.ones(len(dome), np.float32)
    reach[scan.skin] = np.clip(0.16 + 0.92 * dome[scan.skin], 0.25, 1.0)
    reach[scan.is_part["teeth"] | scan.is_part["gums"]] = 0.75
    reach[scan.is_part["mouth_socket"]] = 0.35
    return reach


def _expression(kit, parts):
    """A weighted sum of expressions, float32 [V, 3]."""
    total = np.zeros_like(kit.neutral)
    for name, weight, axes in parts:
        sides = [n for n in (name, f"{name}_L", f"{name}_R") if n in kit.expressions]
        if not sides:
            raise FacekitError(f"the face kit has no expression {name} (nor {name}_L)")
        keep = np.array([axis in axes for axis in "xyz"], np.float32)
        for side in sides:
            total += weight * keep * kit.expressions[side].astype(np.float32)
    return total


def _seal_lips(kit, resting, identity, pulls):
    """Takes out of identities, and of pulls that part no lips, what opens the mouth. In place.

    The lower lip follows the upper one, in the way in which the kit lowers it.

    Returns:
        float32 [V, 3], what parts the lips by a centimetre, mostly by raising the upper one.
    """
    lower = _expression(kit, [("mouthLowerDown", 1.0, "xyz")])
    upper = _expression(kit, [("mouthShrugUpper", 1.0, "xyz")])

    def gap(fields):
        return (fields[..., kit.landmarks[[61, 62, 63]], 1].mean(-1)
                - fields[..., kit.landmarks[[67, 66, 65]], 1].mean(-1))  # fmt: skip

    unit = lower / gap(lower)
    resting -= (gap(resting) + 0.05) * unit  # touching, not just meeting
    identity -= gap(identity)[:, None, None] * unit
    for name in _SEALED:
        pull = pulls[PULLS.index(name)]
        pull -= max(float(gap(pull)), 0.0) * unit
    return 0.7 * upper / gap(upper) + 0.3 * unit


def _nod(fields):
    """Points or displacements [..., 3] turned so that the face looks straight ahead."""
    cos, sin = np.float32(np.cos(_NOD)), np.float32(np.sin(_NOD))
    x, y, z = np.moveaxis(fields, -1, 0)
    return np.stack([x, cos * y - sin * z, sin * y + cos * z], -1)


def _lid(scan, corners):
    """Vertices of the skin around one eye, given its 6 landmarks."""
    off = scan.resting - scan.resting[corners].mean(0)
    width = np.ptp(scan.resting[corners, 0])
    near = (np.abs(off[:, 0]) < 0.62 * width) & (np.abs(off[:, 1]) < 0.45 * width)
    near &= np.abs(off[:, 2]) < 1.5
    return np.flatnonzero(scan.is_part["face"] & near).astype(np.int32)


def _regions(scan):
    at = {
        "right_corner": [48], "left_corner": [54],
        "upper_lip_edge": [61, 62, 63], "lower_lip_edge": [67, 66, 65],
        "right_upper_lid": [37, 38], "right_lower_lid": [41, 40],
        "left_upper_lid": [43, 44], "left_lower_lid": [47, 46],
    }  # fmt: skip
    regions = {name: scan.landmarks[points] for name, points in at.items()}
    for name, inside in scan.is_part.items():
        regions[name] = np.flatnonzero(inside).astype(np.int32)
    regions["lash_line"] = _lash_line(scan)
    return regions


def _lash_line(scan):
    """The edges of the upper lids, a few rings out from where skin is sewn to a socket.

    Lashes of the lower lids are finer than a pixel of the usual sizes: they would be loose dots.
    """
    skin = scan.triangles[scan.materials == SKIN]
    ring = inside = np.intersect1d(skin, scan.triangles[scan.materials == LASH])
    for _ in range(_LID_RINGS):
        ring = np.setdiff1d(skin[np.isin(skin, inside).any(1)], inside)
        inside = np.union1d(inside, ring)
    upper = np.zeros(len(ring), bool)
    for first, end in ((36, 39), (42, 45)):  # the corners of an eye, from left to right
        a, b = scan.resting[scan.landmarks[[first, end]]]
        here = (scan.resting[ring, 0] > a[0]) & (scan.resting[ring, 0] < b[0])
        share = (scan.resting[ring, 0] - a[0]) / (b[0] - a[0])
        upper |= here & (scan.resting[ring, 1] > a[1] + share * (b[1] - a[1]))
    return ring[upper].astype(np.int32)


def _near_skin(points, skin, wanted, count=24):
    """Vertices [N, count] of skin near each wanted point, and float32 weights that sum to 1."""
    places = np.flatnonzero(skin & (np.abs(points[:, 0]) < _EAR))
    held = np.stack([wanted[:, 0], np.maximum(wanted[:, 1], -1.0), wanted[:, 2]], 1)
    gap, near = cKDTree(points[places]).query(held, count)
    weight = np.exp(-0.5 * ((gap - gap[:, :1]) / 0.9) ** 2)
    return places[near], (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def _distance(points, directions, count=60):
    """How far from `_MIDDLE` the surface through points lies in some directions, smoothed."""
    away = points - _MIDDLE
    far = np.linalg.norm(away, axis=1)
    gap, near = cKDTree(away / far[:, None]).query(directions, count)
    weight = np.exp(-0.5 * ((gap - gap[:, :1]) / 0.08) ** 2)
    return (far[near] * weight).sum(1) / weight.sum(1)


def _directions(points):
    away = points - _MIDDLE
    return away / np.linalg.norm(away, axis=1, keepdims=True)


def _hair(resting, skin):
    """The built-in head's hair on this skull: points, triangles, uv, and offsets of the styles."""
    points, triangles, uv = hair_shape.shell()
    # Where hair hangs below the skull it keeps the width that it has at the skull's lower edge.
    held = np.stack([points[:, 0], np.maximum(points[:, 1], 1.0), points[:, 2]], 1)
    skull = resting[skin & (resting[:, 1] > -1.5) & (np.abs(resting[:, 0]) < _EAR)]
    ratio = _distance(skull, _directions(held)) / np.linalg.norm(held - _MIDDLE, axis=1)
    fitted = points + (ratio - 1.0)[:, None] * (held - _MIDDLE)
    offsets = hair_shape.style_offsets(uv)
    # What a style does not have goes into the skull: behind this neck it would be seen.
    absent = shape.ramp(-offsets[..., 2:], 2.2, 3.5)
    return fitted, triangles, uv, offsets + absent * (_MIDDLE - fitted - offsets)


def _unrolled(points, skin, landmarks):
    """Where each vertex lies in the plane of the textures: [V, 2], zeros off the skin."""
    shell = hair_shape.shell()[0]
    shell = shell[shell[:, 1] > 1.0]
    # The scalp is taken to the built-in skull along rays, as the hair was taken from there.
    on_shell = _distance(shell, _directions(points))
    ratio = on_shell / np.linalg.norm(points - _MIDDLE, axis=1)
    blend = shape.ramp(points[:, 1], 7.0, 9.5)[:, None]
    placed = points + blend * (ratio - 1.0)[:, None] * (points - _MIDDLE)
    x, y, z = placed.T
    held = np.clip(y, -7.5, 13.2)
    ahead = z - shape.side_z(held)
    depth = np.where(ahead > 0, shape.front_z(held) - shape.side_z(held), shape.back_z(held))
    turned = shape.unroll(np.arctan2(x / shape.half_width(held), ahead / depth), held)
    under = shape.ramp(-y, 4.5, 7.0)  # under the chin, where the built-in head ends
    plane = np.stack([turned + under * (x - turned), y], 1)
    # Landmarks go exactly where the built-in head has them; far from the face nothing moves.
    model = builtin.face_model()
    source, target = plane[landmarks], model.uv[model.landmarks].astype(float)
    source = 0.5 * (source + source[_MIRRORED] * [-1, 1])
    target = 0.5 * (target + target[_MIRRORED] * [-1, 1])
    fixed = np.array([(x, y) for x in (-10.0, 0.0, 10.0) for y in (-9.5, 8.5, 12.5)]
                     + [(-9.5, 2.0), (9.5, 2.0)])  # fmt: skip
    warp = RBFInterpolator(
        np.concatenate([source, fixed]), np.concatenate([target - source, 0 * fixed]),
        kernel="thin_plate_spline", smoothing=1e-3,
    )  # fmt: skip
    moved = plane + warp(plane)
    ears = (np.abs(points[:, 0]) > _EAR) & (points[:, 1] > _SHOULDER)
    moved[ears] = np.sign(points[ears, :1]) * [5.0, 0.0] + [0.0, 2.0]  # plain skin of the cheek
    # Rounded, so that no picture depends on how a library sums.
    return np.where(skin[:, None], np.round(moved, 3), 0.0)


# For each of the 68 landmarks the one on the other side of the face.
_MIRRORED = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip
