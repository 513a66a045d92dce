"""Hair of the built-in face: a shell around the scalp whose thickness is the style.

Where the thickness is negative the shell lies under the skin and is not seen, so that the edge of
a style is where its thickness crosses zero: hairline, temples and length are all one field.
"""

from __future__ import annotations

import numpy as np

from .head_shape import back_z, front_z, half_width, hill, ramp, sheet_triangles, side_z

STYLES = ("bald", "cropped", "receding", "short", "side_swept", "afro", "bob", "long", "tied_back")
_TOP, _BOTTOM = 13.7, -13.0


def shell():
    """The bare shell: (points [V, 3], triangles [F, 3], uv [V, 2] as (angle, height))."""
    theta = np.radians(np.linspace(-165.0, 165.0, 89))
    y = np.concatenate([np.linspace(_BOTTOM, 3.0, 26, endpoint=False),
                        np.linspace(3.0, 12.4, 36, endpoint=False),
                        _TOP - 1.3 * np.linspace(1.0, 0.0, 9) ** 2])
    t, h = np.meshgrid(theta, y)
    points = _hull(t, h, np.zeros_like(t))
    triangles = sheet_triangles(len(y), len(theta))
    uv = np.stack([t, h], -1).reshape(-1, 2)
    return points.reshape(-1, 3), triangles, uv


def _hull(theta, y, thickness):
    """The head, continued straight down from the ears, grown by `thickness`."""
    held = np.clip(y, 1.0, _TOP)
    x = (half_width(held) + thickness) * np.sin(theta)
    cos = np.cos(theta)
    depth = np.where(cos > 0, front_z(held) - side_z(held), back_z(held))
    z = side_z(held) + (depth + thickness) * cos
    crown = ramp(y, 7.0, _TOP)
    return np.stack([x, y + thickness * crown * (y > 5), z], -1)


def style_offsets(uv):
    """Displacement [styles, V, 3] that grows each style from the bare shell."""
    theta, y = uv[:, 0], uv[:, 1]
    bare = _hull(theta, y, np.zeros_like(y))
    angle = np.degrees(np.abs(theta))
    signed = np.degrees(theta)
    offsets = []
    for style in STYLES:
        thickness = _thickness(style, angle, signed, y)
        offsets.append(_hull(theta, y, thickness) - bare)
    return np.stack(offsets)


def _hairline(angle, forehead, temple, sideburn):
    """Height of the edge of the hair at an angle from the front."""
    return np.interp(
        angle, [0, 28, 46, 60, 74, 84, 92, 108, 180],
        [forehead, forehead - 0.1, temple, temple - 1.8, sideburn + 0.6, sideburn, 3.6, -1.5, -4.0],
    )


def _grow(above, most, over):
    """Thickness `most` above the edge, reached over a distance, sinking into the head below."""
    return np.where(above > 0, most * ramp(above, 0.0, over) ** 0.6, 0.9 * above).clip(-6.0, most)


def _thickness(style, angle, signed, y):
    crown = hill(angle, y, 0, 13.0, 90.0, 4.0)
    if style == "bald":
        return np.full_like(y, -4.0)
    if style == "cropped":
        return _grow(y - _hairline(angle, 9.0, 8.2, 2.2), 0.32, 1.5)
    if style == "receding":
        line = _hairline(angle, 10.9, 11.4, 1.8) + 0.6 * hill(angle, 0, 38, 0, 12, 1)
        return _grow(y - line, 0.4, 1.5)
    if style == "short":
        return _grow(y - _hairline(angle, 8.7, 7.9, 1.2), 0.75, 1.4) + 0.5 * crown * (y > 9.4)
    if style == "side_swept":
        part = 0.9 * ramp(signed, -70, 40) - 0.9
        line = _hairline(angle, 8.6, 7.6, 0.9) + part * hill(angle, 0, 0, 0, 45, 1)
        return _grow(y - line, 0.95, 1.1) + 0.5 * crown * (y > 9.4)
    if style == "afro":
        return _grow(y - _hairline(angle, 8.9, 8.2, 1.2), 2.1, 2.2)
    if style == "tied_back":
        return _grow(y - _hairline(angle, 8.9, 8.0, 3.0), 0.45, 1.0)
    # Long styles hang down beside the face, behind an opening.
    opening = np.interp(
        y, [-13, -8, -4, 0, 4, 7, 8.6, 9.4], [74, 74, 72, 70, 62, 46, 18, 0]
    )
    side = np.where(angle > opening, 1.0, -1.0) * np.abs(angle - opening) / 9.0
    thickness = np.where(side > 0, 1.05 * ramp(side, 0.0, 1.2) ** 0.7, 0.8 * side).clip(-1.6, 1.1)
    if style == "bob":
        return np.where(y < -6.2, thickness - 7.0 * ramp(-6.2 - y, 0.0, 2.0), thickness)
    if style == "long":
        return thickness + 0.5 * ramp(-y, 0.0, 9.0) * (side > 0)
    raise ValueError(f"unknown hair style {style!r}; the styles are {', '.join(STYLES)}")
