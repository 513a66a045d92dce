"""ICT-FaceKit at rest: the parts that are drawn, and muscles as sums of the kit's expressions."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from auface_jax.faces.mesh.face_model import EYE, GUM, LASH, MOUTH, PULLS, SKIN, TEETH
from auface_jax.faces.mesh.ict_files import FacekitArrays, FacekitError

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


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """The parts of the kit that are drawn, at rest: V vertices, fields as in `FaceModel`.

    Attributes:
        resting: the neutral mean face.
        identity: displacements of the identity modes.
        pulls: displacements at full contraction of each of `PULLS`.
        lips_apart: displacement that parts the lips by a centimetre.
        triangles: corners of each triangle.
        materials: index into `MATERIALS` of each triangle.
        landmarks: vertices of the 68 landmarks.
        is_part: whether each vertex belongs to the part of that name.
    """

    resting: Float32[np.ndarray, "V 3"]
    identity: Float32[np.ndarray, "I V 3"]
    pulls: Float32[np.ndarray, "P V 3"]
    lips_apart: Float32[np.ndarray, "V 3"]
    triangles: Int32[np.ndarray, "F 3"]
    materials: UInt8[np.ndarray, " F"]
    landmarks: Int32[np.ndarray, "68"]
    is_part: dict[str, Bool[np.ndarray, " V"]]

    @property
    def skin(self) -> Bool[np.ndarray, " V"]:
        """Mask of the vertices of skin, on the face and on the back of the head."""
        return self.is_part["face"] | self.is_part["back_head"]

    @property
    def eyeballs(self) -> tuple[Int32[np.ndarray, " E"], Int32[np.ndarray, " E"]]:
        """Vertices of the left and of the right eyeball."""
        left, right = (np.flatnonzero(self.is_part[f"{s}_eyeball"]) for s in ("left", "right"))
        return left.astype(np.int32), right.astype(np.int32)


def resting_scan(kit: FacekitArrays) -> Scan:
    """Puts the kit's mean face at rest, and keeps of it the parts that are drawn.

    Raises:
        FacekitError: the kit lacks an expression.
    """
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
    scan = Scan(
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


def _expression(
    kit: FacekitArrays, parts: Sequence[tuple[str, float, str]]
) -> Float32[np.ndarray, "V 3"]:
    """A weighted sum of expressions.

    Args:
        kit: the arrays of the kit.
        parts: name of an expression, its weight, and the axes that are taken of it.
    """
    total = np.zeros_like(kit.neutral)
    for name, weight, axes in parts:
        sides = [n for n in (name, f"{name}_L", f"{name}_R") if n in kit.expressions]
        if not sides:
            raise FacekitError(f"the face kit has no expression {name} (nor {name}_L)")
        keep = np.array([axis in axes for axis in "xyz"], np.float32)
        for side in sides:
            total += weight * keep * kit.expressions[side].astype(np.float32)
    return total


def _seal_lips(
    kit: FacekitArrays,
    resting: Float32[np.ndarray, "V 3"],
    identity: Float32[np.ndarray, "I V 3"],
    pulls: Float32[np.ndarray, "P V 3"],
) -> Float32[np.ndarray, "V 3"]:
    """Removes, in place, the opening of the mouth from the face at rest and from its fields.

    Identities, and the pulls of `_SEALED`, leave the lips closed: the lower lip follows the upper
    one, in the way in which the kit lowers it.

    Args:
        kit: the arrays of the kit.
        resting: the face at rest, changed in place.
        identity: displacements of the identity modes, changed in place.
        pulls: displacements of the pulls, changed in place.

    Returns:
        The displacement that parts the lips by a centimetre, mostly by raising the upper one.
    """
    lower = _expression(kit, [("mouthLowerDown", 1.0, "xyz")])
    upper = _expression(kit, [("mouthShrugUpper", 1.0, "xyz")])

    def gap(fields: Float32[np.ndarray, "*fields V 3"]) -> Float32[np.ndarray, "*fields"]:
        return (fields[..., kit.landmarks[[61, 62, 63]], 1].mean(-1)
                - fields[..., kit.landmarks[[67, 66, 65]], 1].mean(-1))  # fmt: skip

    unit = lower / gap(lower)
    resting -= (gap(resting) + 0.05) * unit  # touching, not just meeting
    identity -= gap(identity)[:, None, None] * unit
    for name in _SEALED:
        pull = pulls[PULLS.index(name)]
        pull -= max(float(gap(pull)), 0.0) * unit
    return 0.7 * upper / gap(upper) + 0.3 * unit


def _nod(fields: Float32[np.ndarray, "*fields 3"]) -> Float32[np.ndarray, "*fields 3"]:
    """Points or displacements, turned so that the face looks straight ahead."""
    cos, sin = np.float32(np.cos(_NOD)), np.float32(np.sin(_NOD))
    x, y, z = np.moveaxis(fields, -1, 0)
    return np.stack([x, cos * y - sin * z, sin * y + cos * z], -1)
