"""Action units -> muscle contractions -> a moved face.

A unit drives one or several muscles, each of which pulls the skin, and pulls that meet compete.
Three steps:

1. Each intensity saturates: the first half of an effort moves the skin more than the second.
2. Antagonists compete: each takes a share of the other's contraction away, never all of it, so
   that the outcome stays monotone in both and lies between the two alone. Pulls that add up at
   one place (lids under AU6 and AU7, lips under AU23 and AU24) share one range of motion.
3. Contractions weigh the model's displacement fields; lips that meet push each other on, and
   lids that would sink into an eyeball slide over it.
"""

import numpy as np
from jaxtyping import Float, Float32, Num

from auface_jax.faces.mesh.face_model import PULLS, FaceModel
from auface_jax.facs import AU_NUMBERS

_LIDS = PULLS.index("lid_tight")
_LIP_SOFTNESS = 0.08  # centimetres by which closed lips sink into each other
_LID_CLEARANCE = 0.09  # centimetres between the eyeball and the skin of a lid


def check_intensities(intensities: Num[np.ndarray, "A"]) -> Float32[np.ndarray, "A"]:
    """Returns intensities as float32, after a check of their number and their range.

    Args:
        intensities: one for each unit, in the order of `AU_NUMBERS`; any sequence of numbers.

    Raises:
        ValueError: the number of values is wrong, or one of them is outside of [0, 1] or NaN.
    """
    values = np.asarray(intensities, np.float32)
    names = ", ".join(f"AU{n}" for n in AU_NUMBERS)
    if values.shape != (len(AU_NUMBERS),):
        raise ValueError(
            f"intensities have shape {values.shape}; give {len(AU_NUMBERS)} numbers: {names}"
        )
    for number, value in zip(AU_NUMBERS, values, strict=True):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"AU{number} has intensity {value}; it must be from 0 to 1")
    return values


def saturate(intensity: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Contraction of a muscle for an intensity: 0 at 0, 1 at 1, rising ever more slowly."""
    return (1.0 - np.exp(-1.2 * intensity)) / (1.0 - np.exp(-1.2))


def contractions(intensities: Num[np.ndarray, "A"]) -> Float32[np.ndarray, " P"]:
    """Contraction of each pull, 0 to 1, in the order of `face_model.PULLS`.

    Args:
        intensities: intensity of each unit, 0 to 1, in the order of `AU_NUMBERS`.

    Raises:
        ValueError: see `check_intensities`.
    """
    c = dict(zip(AU_NUMBERS, saturate(check_intensities(intensities).astype(float)), strict=True))
    lift, droop = c[12] * (1 - 0.55 * c[15]), c[15] * (1 - 0.15 * c[12])
    pull = {
        # Frontalis against the depressors: 1+4 oblique, 1+2+4 raised but drawn together and flat.
        "brow_inner_up": c[1] * (1 - 0.15 * c[4]),
        "brow_outer_up": c[2] * (1 - 0.35 * c[4]),
        "brow_down": c[4] * (1 - 0.35 * c[1]) * (1 - 0.30 * c[2]),
        "brow_together": c[4] * (1 - 0.10 * c[2]),
        "cheek_up": 1 - (1 - c[6]) * (1 - 0.30 * lift),
        "lid_tight": 0.95 * c[7] * (1 - 0.15 * c[6]) + 0.10 * c[6],
        "lip_up": c[10] * (1 - 0.25 * c[24]) * (1 - 0.2 * c[17]),
        "corner_up": lift,
        "corner_wide": c[12] * (1 - 0.35 * max(c[23], c[24])),
        "corner_tuck": c[14],
        "corner_down": droop,
        "chin_up": c[17],
        "lips_roll": c[23] * (1 - 0.35 * c[24]),
        "lips_press": c[24] * (1 - 0.35 * c[23]),
        "mouth_narrow": 1 - (1 - 0.20 * c[23]) * (1 - 0.85 * c[24]),
    }
    return np.array([pull[name] for name in PULLS], np.float32)


def displaced(
    model: FaceModel,
    neutral: Float32[np.ndarray, "V 3"],
    intensities: Num[np.ndarray, "A"],
    asymmetry: float = 0.0,
) -> Float32[np.ndarray, "V 3"]:
    """The vertices of a resting face, moved by its muscles.

    Args:
        model: the face model.
        neutral: the person's resting face.
        intensities: intensity of each unit, 0 to 1.
        asymmetry: -0.3 to 0.3; the left side contracts 1 + asymmetry times as much, the right
            side 1 - asymmetry times.

    Raises:
        ValueError: an intensity or the asymmetry is out of range.
    """
    if not -0.3 <= asymmetry <= 0.3:
        raise ValueError(f"asymmetry is {asymmetry}; it must be from -0.3 to 0.3")
    pull = contractions(intensities)
    pull[_LIDS] *= _eye_room(model, neutral)
    # A plain sum in a fixed order: the bytes of a picture must not depend on a threaded BLAS.
    moved = np.zeros_like(neutral)
    for strength, field in zip(pull, model.pulls, strict=True):
        if strength:
            moved += strength * field
    if model.least_opening:
        moved -= _excess_of_lids(model, neutral, moved, pull) * model.pulls[_LIDS]
    side = 1.0 + np.float32(asymmetry) * (2.0 * model.left - 1.0)
    vertices = neutral + moved * side[:, None]
    if model.lips_apart is not None:
        vertices += _overlap(model, vertices) * model.lips_apart
    return rest_lids(model, vertices)


def _overlap(model: FaceModel, vertices: Float32[np.ndarray, "V 3"]) -> np.float32:
    """Centimetres by which the lips have passed each other, beyond their softness."""
    upper, lower = (vertices[model.regions[f"{lip}_lip_edge"], 1] for lip in ("upper", "lower"))
    return np.float32(max(float((lower - upper).mean()) - _LIP_SOFTNESS, 0.0))


def _eye_room(model: FaceModel, neutral: Float32[np.ndarray, "V 3"]) -> np.float32:
    """Opening of the person's eyes relative to the mean face, which lids can close."""
    return np.clip(_opening(model, neutral) / _opening(model, model.vertices), 0.4, 1.3)


def _opening(model: FaceModel, points: Float32[np.ndarray, "V 3"]) -> np.float32:
    """Height of both eye openings together, in centimetres."""
    return sum(
        (points[model.regions[f"{side}_upper_lid"], 1].max()
         - points[model.regions[f"{side}_lower_lid"], 1].min())
        for side in ("left", "right")
    )  # fmt: skip


def _excess_of_lids(
    model: FaceModel,
    neutral: Float32[np.ndarray, "V 3"],
    moved: Float32[np.ndarray, "V 3"],
    pull: Float32[np.ndarray, " P"],
) -> np.float32:
    """Contraction of the lids that has no effect, since raised cheeks have half closed the eyes.

    Args:
        model: the face model.
        neutral: the person's resting face.
        moved: displacement of the vertices by all pulls.
        pull: contraction of each pull.
    """
    least = model.least_opening * _opening(model, neutral)
    missing = least - _opening(model, neutral + moved)
    closing = _opening(model, neutral) - _opening(model, neutral + model.pulls[_LIDS])
    return np.float32(np.clip(missing / closing, 0.0, pull[_LIDS]))


def rest_lids(model: FaceModel, vertices: Float[np.ndarray, "V 3"]) -> Float32[np.ndarray, "V 3"]:
    """Moves lid vertices that lie inside of their eyeball forward onto its surface."""
    vertices = vertices.copy()
    for eyeball, lid in zip(model.eyeballs, model.lids, strict=True):
        centre, radius = eyeball_sphere(vertices[eyeball])
        radius += _LID_CLEARANCE
        away = vertices[lid] - centre
        across = away[:, 0] ** 2 + away[:, 1] ** 2
        surface = np.sqrt(np.clip(radius**2 - across, 0.0, None))
        vertices[lid, 2] = centre[2] + np.where(
            across < radius**2, np.maximum(away[:, 2], surface), away[:, 2]
        )
    return vertices.astype(np.float32)


def eyeball_sphere(
    points: Float[np.ndarray, "N 3"],
) -> tuple[Float32[np.ndarray, "3"], float]:
    """Centre and radius of the sphere through points, by least squares."""
    points = points[:: max(1, len(points) // 64)]  # all lie on the sphere, so a few are enough
    system = np.concatenate([2.0 * points, np.ones((len(points), 1))], 1).astype(np.float64)
    solution, *_ = np.linalg.lstsq(system, (points.astype(np.float64) ** 2).sum(1), rcond=None)
    centre = solution[:3]
    return centre.astype(np.float32), float(np.sqrt(solution[3] + centre @ centre))
