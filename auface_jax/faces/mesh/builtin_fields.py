"""Displacement fields of the built-in face: one for each muscle and for each identity mode.

Every field is a smooth function of the place of a vertex on the neutral face: x and y of its `uv`,
and its side of the mouth line and of the lid line. All fields are symmetric; `FaceModel.left`
decides which half of the face a muscle moves.
"""

import numpy as np
from jaxtyping import Float64

from auface_jax.faces.mesh.face_model import PULLS
from auface_jax.faces.mesh.head_shape import (
    EYE,
    LOWER_OPEN,
    MOUTH_HALF,
    MOUTH_Y,
    UPPER_OPEN,
    fold_distance,
    hill,
    lid_shape,
    mouth_line,
    ramp,
)

_LIP_TOP, _LIP_BOTTOM = MOUTH_Y + 0.85, MOUTH_Y - 1.0  # edges of the red of the lips
_Values = Float64[np.ndarray, " V"]


def pull_fields(
    uv: Float64[np.ndarray, "V 2"],
    mouth_side: _Values,
    eye_side: _Values,
) -> Float64[np.ndarray, "P V 3"]:
    """Displacement at full contraction of each of `PULLS`.

    Args:
        uv: neutral positions on the unrolled face.
        mouth_side: +1 above the mouth line, -1 below it.
        eye_side: +1 above the lid line, -1 below it.
    """
    at = _Places(uv, mouth_side, eye_side)
    fields = {
        **_brow_fields(at),
        **_eye_fields(at),
        **_upper_lip_field(at),
        **_mouth_corner_fields(at),
        **_chin_and_lip_fields(at),
    }
    return np.stack([fields[name] for name in PULLS])


class _Places:
    """Places of vertices on the unrolled face, as the fields of the muscles need them.

    Attributes:
        x: centimetres from the midline, + to the subject's left.
        y: height in centimetres.
        s: side of the face, +1 left, -1 right, 0 on the midline.
        ax: distance from the midline in centimetres.
        upper, lower: whether the vertex lies above, or below, the mouth line.
        top_lid, low_lid: whether the vertex lies above, or below, the lid line.
        out: factor by which sideways pulls vanish at the midline.
    """

    def __init__(
        self,
        uv: Float64[np.ndarray, "V 2"],
        mouth_side: _Values,
        eye_side: _Values,
    ):
        self.x, self.y = uv[:, 0], uv[:, 1]
        self.s, self.ax = np.sign(self.x), np.abs(self.x)
        self.upper, self.lower = mouth_side > 0, mouth_side < 0
        self.top_lid, self.low_lid = eye_side > 0, eye_side < 0
        self.out = ramp(self.ax, 0.0, 2.2)

    def field(
        self,
        dx: _Values | float = 0.0,
        dy: _Values | float = 0.0,
        dz: _Values | float = 0.0,
    ) -> Float64[np.ndarray, "V 3"]:
        """A symmetric displacement: outwards, upwards and forwards."""
        return np.stack(np.broadcast_arrays(self.s * dx, dy, dz + 0 * self.x), -1)

    def off_lid(self) -> _Values:
        """Factor that vanishes on the upper lids, over which lowered brows fold."""
        return ramp(self.y - EYE[1] - UPPER_OPEN * lid_shape(self.ax), 0.0, 1.0)

    def nasolabial_fold(self) -> tuple[_Values, _Values]:
        """Weights of the skin that slides under the cheek at the fold, and of the cheek's swell."""
        away = fold_distance(self.ax, self.y)
        slide = (1 - ramp(away, -0.35, 0.30)) * hill(away, 0, 0, 0, 0.8, 1)
        swell = hill(away, 0, 0.55, 0, 0.40, 1) - 0.75 * hill(away, 0, 0, 0, 0.20, 1)
        return slide, swell


def _brow_fields(at: _Places) -> dict[str, Float64[np.ndarray, "V 3"]]:
    """Pulls of the forehead and the brows."""
    ax, y, out = at.ax, at.y, at.out
    fields = {}
    inner = hill(ax, y, 0.9, 5.6, 1.45, 1.9, 1.0)
    fields["brow_inner_up"] = at.field(dx=-0.08 * inner * out, dy=1.15 * inner, dz=0.06 * inner)
    outer = hill(ax, y, 4.1, 5.8, 1.45, 1.9, 1.1)
    fields["brow_outer_up"] = at.field(dy=1.05 * outer, dz=0.05 * outer)
    off_lid = at.off_lid()
    brow = hill(ax, y, 2.2, 5.4, 2.0, 1.5, 0.75) * off_lid
    fields["brow_down"] = at.field(dy=-0.85 * brow, dz=0.22 * brow)
    knit = hill(ax, y, 1.5, 5.4, 1.2, 1.5, 0.9) * ramp(ax, 0.0, 1.3)
    glabella = hill(ax, y, 0.75, 5.3, 0.35, 0.9, 0.6)
    fields["brow_together"] = at.field(dx=-0.65 * knit, dz=0.22 * glabella)
    return fields


def _eye_fields(at: _Places) -> dict[str, Float64[np.ndarray, "V 3"]]:
    """Pulls of the cheeks and the lids."""
    ax, y, top_lid, low_lid = at.ax, at.y, at.top_lid, at.low_lid
    fields = {}
    off_lid = at.off_lid()
    cheek = hill(ax, y, 3.9, 0.7, 1.5, 0.95, 1.6)
    pouch = low_lid * hill(ax, y, 3.2, 2.75, 1.3, 0.5, 0.7)
    crow = hill(ax, y, 5.9, 3.2, 0.75, 1.2)
    tail = hill(ax, y, 4.7, 5.4, 1.0, 0.9, 0.8) * off_lid
    fields["cheek_up"] = at.field(
        dx=0.05 * cheek - 0.62 * crow,
        dy=1.30 * cheek + 0.12 * pouch - 0.10 * crow - 0.22 * tail,
        dz=0.85 * cheek + 0.18 * pouch + 0.40 * crow,
    )
    opening = lid_shape(ax)
    below = np.clip(1 - np.abs(EYE[1] - LOWER_OPEN * opening - y) / 1.5, 0, 1) ** 1.3
    above = np.clip(1 - np.abs(y - EYE[1] - UPPER_OPEN * opening) / 1.4, 0, 1) ** 1.3
    fields["lid_tight"] = at.field(
        dy=opening * (0.42 * below * low_lid - 0.38 * above * top_lid)
        + 0.18 * hill(ax, y, 3.2, 2.3, 1.2, 0.5) * low_lid,
        dz=0.26 * hill(ax, y, 3.2, 2.4, 1.2, 0.28, 0.35) * low_lid,
    )
    return fields


def _upper_lip_field(at: _Places) -> dict[str, Float64[np.ndarray, "V 3"]]:
    """The pull that raises the upper lip and the wings of the nose."""
    ax, y, upper, lower = at.ax, at.y, at.upper, at.lower
    lift = upper * hill(ax, y, 0.9, MOUTH_Y + 0.5, 1.15, 1.5, 1.0) * (1 - ramp(ax, 1.5, 2.6))
    wing = hill(ax, y, 1.4, -0.5, 0.7, 0.9, 0.8)
    fold = hill(ax, y, 2.2, -0.6, 0.65, 1.0, 1.0)
    slide, swell = at.nasolabial_fold()
    high = hill(y, 0, -0.7, 0, 0.9, 1)
    drop = lower * hill(ax, y, 0.0, MOUTH_Y - 0.4, 1.5, 1.0, 1.0)
    lip_up = at.field(
        dx=0.12 * fold + 0.26 * slide * high,
        dy=0.80 * lift + 0.36 * wing + 0.34 * fold - 0.16 * drop,
        dz=0.12 * lift + 0.15 * fold + 0.10 * wing + 0.42 * swell * high,
    )
    return {"lip_up": lip_up}


def _mouth_corner_fields(at: _Places) -> dict[str, Float64[np.ndarray, "V 3"]]:
    """Pulls of the corners of the mouth."""
    ax, y, out = at.ax, at.y, at.out
    fields = {}
    slide, swell = at.nasolabial_fold()
    low = hill(y, 0, -1.9, 0, 1.1, 1)
    corner = hill(ax, y, MOUTH_HALF, MOUTH_Y, 1.05, 1.15, 1.25)
    # The lips bend like a bow: little in their middle, most at their ends.
    bend = np.clip(ax / MOUTH_HALF, 0.0, 1.0) ** 1.9 * hill(
        np.maximum(ax, MOUTH_HALF), y, MOUTH_HALF, MOUTH_Y, 0.85, 1.15, 1.25
    )
    apple = hill(ax, y, 3.5, -0.4, 1.15, 1.1, 1.2)
    fields["corner_up"] = at.field(
        dx=0.10 * apple + 0.26 * slide * low,
        dy=1.05 * bend + 0.42 * apple + 0.12 * slide * low,
        dz=0.42 * apple - 0.15 * corner + 0.34 * swell * low,
    )
    wide = hill(ax, y, MOUTH_HALF, MOUTH_Y, 1.35, 1.25, 1.25)
    lips = hill(ax, y, 0.0, MOUTH_Y, 1.8, 0.9, 1.0)
    fields["corner_wide"] = at.field(
        dx=0.85 * wide * out,
        dy=-0.16 * lips * np.clip((y - MOUTH_Y) / 0.6, -1, 1),
        dz=-0.42 * wide - 0.12 * lips,
    )
    pit = hill(ax, y, MOUTH_HALF + 0.40, MOUTH_Y + 0.05, 0.36, 0.75)
    pad = hill(ax, y, 3.85, MOUTH_Y + 0.1, 0.55, 1.1)
    flat = hill(ax, y, 1.7, MOUTH_Y, 0.8, 0.8)
    fields["corner_tuck"] = at.field(
        dx=0.42 * corner * out - 0.40 * pad,
        dy=0.26 * corner - 0.60 * flat * np.clip((y - MOUTH_Y) / 0.6, -1, 1),
        dz=-1.1 * pit + 0.9 * pad - 0.30 * flat,
    )
    droop = np.clip(ax / MOUTH_HALF, 0.0, 1.0) ** 2.0 * hill(
        np.maximum(ax, MOUTH_HALF), y, MOUTH_HALF, MOUTH_Y - 0.05, 0.7, 0.95, 1.35
    )
    jowl = hill(ax, y, 3.1, -5.0, 0.75, 0.7)
    shove = hill(ax, y, 2.55, -4.6, 0.45, 0.8)  # towards the furrow that runs down from the corner
    fields["corner_down"] = at.field(
        dx=0.22 * droop * out + 0.30 * shove, dy=-1.25 * droop, dz=0.65 * jowl - 0.2 * droop
    )
    return fields


def _chin_and_lip_fields(at: _Places) -> dict[str, Float64[np.ndarray, "V 3"]]:
    """Pulls of the chin and of the ring of the mouth."""
    ax, y, upper, lower, out = at.ax, at.y, at.upper, at.lower, at.out
    fields = {}
    boss = hill(ax, y, 0.0, -6.2, 1.5, 1.0, 1.0)
    push = lower * hill(ax, y, 0.0, MOUTH_Y - 0.45, 1.35, 0.9, 0.9)
    above_lip = upper * hill(ax, y, 0.0, MOUTH_Y + 0.2, 1.25, 0.8)
    fields["chin_up"] = at.field(
        dy=1.10 * boss + 0.66 * push + 0.60 * above_lip,
        dz=0.55 * boss + 0.75 * push + 0.15 * above_lip,
    )
    span = np.clip(1.0 - (ax / 3.2) ** 2, 0.0, None) ** 1.2
    red_up = span * upper * hill(0, y, 0, MOUTH_Y + 0.45, 1, 0.42, 0.6)
    red_low = span * lower * hill(0, y, 0, MOUTH_Y - 0.5, 1, 0.6, 0.5)
    shut = ramp(np.abs(y - mouth_line(ax)), 0.0, 0.45)  # the line between the lips stays
    rim_up = shut * span * upper * hill(0, y, 0, _LIP_TOP, 1, 0.45, 0.5)
    rim_low = shut * span * lower * hill(0, y, 0, _LIP_BOTTOM, 1, 0.5, 0.5)
    fields["lips_roll"] = at.field(
        dy=-0.62 * rim_up + 0.74 * rim_low,
        dz=-0.62 * (red_up + red_low) - 0.1 * (rim_up + rim_low),
    )
    bulge_up = hill(ax, y, 0.0, MOUTH_Y + 1.35, 1.9, 0.42)
    bulge_low = hill(ax, y, 0.0, MOUTH_Y - 1.45, 1.7, 0.42)
    fields["lips_press"] = at.field(
        dy=-0.30 * rim_up + 0.34 * rim_low,
        dz=-0.30 * (red_up + red_low) + 0.75 * (bulge_up + bulge_low),
    )
    ring = hill(ax, y, MOUTH_HALF, MOUTH_Y, 1.25, 1.1, 1.1)
    fields["mouth_narrow"] = at.field(dx=-1.0 * ring * out, dz=0.12 * ring)
    return fields


def identity_fields(
    uv: Float64[np.ndarray, "V 2"],
    points: Float64[np.ndarray, "V 3"],
    mouth_side: _Values,
    eye_side: _Values,
) -> tuple[tuple[str, ...], Float64[np.ndarray, "I V 3"]]:
    """Displacements that make one face another.

    Args:
        uv: neutral positions on the unrolled face.
        points: neutral vertices in space.
        mouth_side: +1 above the mouth line, -1 below it.
        eye_side: +1 above the lid line, -1 below it.

    Returns:
        The names of the identity modes, and their displacements for one standard deviation.
    """
    x, y = uv[:, 0], uv[:, 1]
    px, py, pz = points.T
    s, ax = np.sign(px), np.abs(x)
    zero, out = 0.0 * x, ramp(ax, 0.0, 2.2)
    eye = hill(ax, y, EYE[0], EYE[1], 1.9, 1.7)
    nose = hill(ax, y, 0.0, 0.2, 1.3, 2.4, 1.3)
    wing = hill(ax, y, 1.15, -0.4, 0.7, 0.9, 0.8)
    tip = hill(ax, y, 0.0, 0.1, 0.8, 0.9, 0.8)
    mouth = hill(ax, y, 0.0, MOUTH_Y, 2.4, 1.3)
    brow = hill(ax, y, 3.0, 5.5, 2.2, 0.9)
    span = np.clip(1.0 - (ax / 3.0) ** 2, 0.0, None) ** 0.5
    span = span * ramp(np.abs(y - mouth_line(ax)), 0.0, 0.45)
    rim_up = span * (mouth_side > 0) * hill(0, y, 0, _LIP_TOP, 1, 0.5)
    rim_low = span * (mouth_side < 0) * hill(0, y, 0, _LIP_BOTTOM, 1, 0.6)
    low_face, front = ramp(-py, -1.0, 6.5), ramp(pz, 1.0, 7.0)

    def mode(
        dx: _Values = zero, dy: _Values = zero, dz: _Values = zero
    ) -> Float64[np.ndarray, "V 3"]:
        return np.stack(np.broadcast_arrays(s * dx, dy, dz + zero), -1)

    modes = {
        "head_width": mode(dx=0.045 * np.abs(px)),
        "face_length": mode(dy=0.04 * (py - EYE[1])),
        "jaw_width": mode(dx=0.075 * np.abs(px) * low_face),
        "jaw_square": mode(
            dx=0.55 * hill(ax, y, 5.2, -5.2, 1.6, 1.7), dy=-0.3 * hill(ax, y, 4.6, -5.6, 1.6, 1.4)
        ),
        "chin_length": mode(dy=-0.42 * hill(np.abs(px), py, 0.0, -7.4, 3.0, 1.6)),
        "chin_forward": mode(dz=0.4 * hill(ax, y, 0.0, -6.6, 1.8, 1.2)),
        "cheekbones": mode(
            dx=0.22 * hill(ax, y, 5.4, 1.0, 1.6, 1.6), dz=0.28 * hill(ax, y, 4.4, 1.0, 1.4, 1.2)
        ),
        "cheek_fat": mode(
            dx=0.40 * hill(ax, y, 5.4, -2.4, 1.7, 2.2), dz=0.32 * hill(ax, y, 4.2, -2.2, 1.6, 1.9)
        ),
        "forehead_height": mode(dy=0.45 * ramp(py, 5.0, 12.0)),
        "brow_ridge": mode(dz=0.22 * brow * front),
        "brow_height": mode(dy=0.16 * hill(ax, y, 3.0, 5.6, 2.8, 0.9, 0.7)),
        "eye_spacing": mode(dx=0.17 * eye * ramp(ax, 0.2, 2.0)),
        "eye_size": mode(
            dx=0.07 * eye * (ax - EYE[0]),
            dy=eye * 0.16 * (y - EYE[1]) / (0.5 + np.abs(y - EYE[1])),
        ),
        "eye_slant": mode(dy=0.13 * eye * np.clip((ax - EYE[0]) / EYE[0] * 2.0, -1, 1)),
        "hooded_lids": mode(
            dy=-0.10 * (eye_side > 0) * hill(ax, y, 3.3, 4.3, 1.3, 0.8, 0.4),
            dz=0.10 * hill(ax, y, 3.3, 4.8, 1.3, 0.45),
        ),
        "nose_length": mode(dy=-0.24 * nose),
        "nose_width": mode(dx=0.20 * wing + 0.10 * nose * ramp(ax, 0.0, 0.8)),
        "nose_forward": mode(dz=0.30 * nose),
        "nose_tip_up": mode(dy=0.18 * tip, dz=0.10 * tip),
        "nose_bridge": mode(dz=0.22 * hill(ax, y, 0.0, 2.6, 0.7, 1.4)),
        "mouth_width": mode(dx=0.19 * hill(ax, y, MOUTH_HALF, MOUTH_Y, 1.3, 1.1) * out),
        "mouth_height": mode(dy=0.18 * hill(ax, y, 0.0, MOUTH_Y, 3.0, 1.3)),
        "mouth_forward": mode(dz=0.22 * mouth),
        "upper_lip": mode(dy=0.13 * rim_up, dz=0.10 * rim_up),
        "lower_lip": mode(dy=-0.15 * rim_low, dz=0.12 * rim_low),
        "mouth_corners": mode(dy=0.09 * hill(ax, y, MOUTH_HALF, MOUTH_Y, 0.9, 0.8)),
    }
    return tuple(modes), np.stack(list(modes.values()))


def crease_directions(uv: Float64[np.ndarray, "V 2"]) -> Float64[np.ndarray, "V 2"]:
    """Unit direction across the wrinkles that skin can form at each place of the unrolled face."""
    x, y = uv[:, 0], uv[:, 1]
    s, ax = np.sign(x), np.abs(x)
    direction = np.stack([0.0 * x, np.ones_like(x)], -1)  # lines of the forehead run level

    def blend(weight: _Values, dx: float, dy: _Values | float) -> Float64[np.ndarray, "V 2"]:
        target = np.stack(np.broadcast_arrays(s * dx, dy + 0.0 * x), -1)
        target /= np.maximum(np.linalg.norm(target, axis=-1, keepdims=True), 1e-6)
        return direction + weight[:, None] * (target - direction)

    direction = blend(hill(ax, y, 0.5, 5.3, 0.9, 0.9), 1.0, 0.0)  # glabella: upright lines
    direction = blend(hill(ax, y, 5.6, 3.3, 0.8, 1.3), 1.0, 0.25 * (y - 3.4))  # crow's feet: a fan
    direction = blend(hill(ax, y, 2.7, -1.6, 1.0, 1.9), 0.8, 0.6)  # nasolabial: slopes outwards
    direction = blend(hill(ax, y, 3.3, -3.4, 0.6, 0.9), 1.0, 0.0)  # beside the mouth: upright
    direction = blend(hill(ax, y, 3.0, -4.7, 0.6, 0.9), 1.0, 0.1)  # under its corners
    return direction / np.maximum(np.linalg.norm(direction, axis=-1, keepdims=True), 1e-6)
