"""Hair of the built-in face: a shell around the scalp whose thickness is the style.

Where the thickness is negative the shell lies under the skin and is not seen, so that the edge of
a style is where its thickness crosses zero: hairline, temples and length are all one field.
"""

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.interpolate import PchipInterpolator

from auface_jax.faces.mesh.head_shape import (
    back_z,
    front_z,
    half_width,
    hill,
    ramp,
    sheet_triangles,
    side_z,
)

STYLES = ("bald", "cropped", "receding", "short", "side_swept", "afro", "bob", "long", "tied_back")
_TOP, _BOTTOM = 13.7, -13.0


_Values = Float[np.ndarray, "*shape"]


def shell() -> tuple[
    Float64[np.ndarray, "V 3"], Int[np.ndarray, "F 3"], Float64[np.ndarray, "V 2"]
]:
    """The bare shell: points, triangles, and uv as (angle from the front, height)."""
    theta = np.radians(np.linspace(-165.0, 165.0, 89))
    y = np.concatenate(
        [
            np.linspace(_BOTTOM, 3.0, 26, endpoint=False),
            np.linspace(3.0, 12.4, 36, endpoint=False),
            _TOP - 1.3 * np.linspace(1.0, 0.0, 9) ** 2,
        ]
    )
    t, h = np.meshgrid(theta, y)
    points = _hull(t, h, np.zeros_like(t))
    triangles = sheet_triangles(len(y), len(theta))
    # No style grows in front of the neck.
    front = (np.abs(t) < np.radians(58.0)) & (h < 2.0)
    triangles = triangles[~front.reshape(-1)[triangles].any(1)]
    uv = np.stack([t, h], -1).reshape(-1, 2)
    return points.reshape(-1, 3), triangles, uv


def _hull(
    theta: Float64[np.ndarray, "*shape"],
    y: Float64[np.ndarray, "*shape"],
    thickness: Float64[np.ndarray, "*shape"],
) -> Float64[np.ndarray, "*shape 3"]:
    """The head, continued straight down from the ears, grown by `thickness`."""
    held = np.clip(y, 1.0, _TOP)
    x = (half_width(held) + thickness) * np.sin(theta)
    cos = np.cos(theta)
    depth = np.where(cos > 0, front_z(held) - side_z(held), back_z(held))
    z = side_z(held) + (depth + thickness) * cos
    crown = ramp(y, 7.0, _TOP)
    return np.stack([x, y + thickness * crown * (y > 5), z], -1)


def style_offsets(uv: Float64[np.ndarray, "V 2"]) -> Float64[np.ndarray, "H V 3"]:
    """Displacement that grows each of `STYLES` from the bare shell."""
    theta, y = uv[:, 0], uv[:, 1]
    bare = _hull(theta, y, np.zeros_like(y))
    angle = np.degrees(np.abs(theta))
    signed = np.degrees(theta)
    offsets = []
    for style in STYLES:
        thickness = _thickness(style, angle, signed, y)
        grown = _hull(theta, y, thickness)
        grown[:, 2] -= 9.0 * ramp(-thickness, 1.7, 5.0)  # no hair: out of sight behind the neck
        offsets.append(grown - bare)
    return np.stack(offsets)


def scalp_cover(style: str, x: _Values, y: _Values) -> _Values:
    """Density of the hair of a style on the skin at (x, y) of the unrolled head, 0 to 1.

    This is the short hair at the edge of a style, where a shell alone would look like a cap.

    Args:
        style: one of `STYLES`.
        x: centimetres from the midline.
        y: height in centimetres.
    """
    if style == "bald":
        return np.zeros_like(x)
    width = half_width(np.clip(y, -7.5, 12.5))
    share = np.clip(np.abs(x) / width, 0.0, 4.0)
    bend = np.sin(np.radians(60.0))
    angle = np.where(
        share < bend,
        np.degrees(np.arcsin(np.clip(share, 0, bend))),
        60.0 + np.degrees((share - bend) / np.cos(np.radians(60.0))),
    )
    above = _above_edge(style, angle, angle * np.sign(x), y)
    return ramp(above, -0.35, 0.55)


def _hairline(angle: _Values, forehead: float, temple: float, sideburn: float) -> _Values:
    """Height of the edge of the hair at an angle in degrees from the front."""
    return np.interp(
        angle,
        [0, 28, 46, 60, 74, 84, 92, 108, 180],
        [forehead, forehead - 0.1, temple, temple - 1.8, sideburn + 0.6, sideburn, 3.6, -1.5, -4.0],
    )


# Angle from the front at which long hair begins, by height.
_opening = PchipInterpolator(
    [-13, -8, -4, 0, 4, 7, 8.6, 9.4, 14], [74, 74, 72, 70, 63, 46, 18, -6, -60]
)

_VOLUME = {  # largest thickness, the distance over which it is reached, extra on the crown
    "cropped": (0.30, 2.2, 0.0),
    "receding": (0.40, 2.2, 0.0),
    "short": (0.80, 1.8, 0.5),
    "side_swept": (1.0, 1.5, 0.5),
    "afro": (2.1, 2.2, 0.0),
    "tied_back": (0.45, 1.5, 0.0),
    "bob": (1.05, 1.2, 0.0),
    "long": (1.05, 1.2, 0.0),
}


def _above_edge(style: str, angle: _Values, signed: _Values, y: _Values) -> _Values:
    """Distance in about centimetres from the edge of a style, + inside of the hair.

    Args:
        style: one of `STYLES`.
        angle: degrees from the front.
        signed: degrees from the front, + to the subject's left.
        y: height in centimetres.
    """
    if style in ("bob", "long"):  # hang down beside the face, behind an opening
        return (angle - _opening(y)) / 9.0
    if style == "side_swept":
        part = (0.9 * ramp(signed, -70, 40) - 0.9) * hill(angle, 0, 0, 0, 45, 1)
        return y - _hairline(angle, 8.6, 7.6, 0.9) - part
    if style == "receding":
        return y - _hairline(angle, 10.7, 11.0, 1.8) - 0.6 * hill(angle, 0, 38, 0, 12, 1)
    forehead, temple, sideburn = {
        "cropped": (9.0, 8.2, 2.2),
        "short": (8.7, 7.9, 1.2),
        "afro": (8.9, 8.2, 1.2),
        "tied_back": (8.9, 8.0, 3.0),
    }[style]
    return y - _hairline(angle, forehead, temple, sideburn)


def _thickness(style: str, angle: _Values, signed: _Values, y: _Values) -> _Values:
    """Thickness of the shell, with arguments as in `_above_edge`; below -1 without hair."""
    if style == "bald":
        return np.full_like(y, -4.0)
    above = _above_edge(style, angle, signed, y)
    most, over, crown = _VOLUME[style]
    crown = crown * hill(y, 0, 13.0, 0, 4.0, 1) * ramp(y, 8.8, 12.5)
    if style in ("bob", "long"):
        grown = most * ramp(above, 0.0, over) ** 0.7
        thickness = np.maximum(np.where(above > 0, grown, 0.9 * above), -1.6)
    else:  # short hair at the edge is painted on the scalp; the shell rises behind it
        grown = most * ramp(above, 0.3, over) ** 0.8 - 0.04 + crown
        thickness = np.where(above > 0, grown, 0.9 * above - 0.04)
    if style == "bob":
        thickness = thickness - 7.0 * ramp(-6.2 - y, 0.0, 2.0)
    if style == "long":
        thickness = thickness + 0.5 * ramp(-y, 0.0, 9.0) * (above > 0)
    return thickness.clip(-6.0, None)
