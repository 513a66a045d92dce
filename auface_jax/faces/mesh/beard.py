"""Grown beards: the density of their hair on the unrolled face, and its thickness.

A beard is the skin itself, pushed out along its normals and painted as hair, so that it moves with
every muscle under it. It keeps off the lips, whose shape shows the units of the mouth.
"""

import numpy as np
from jaxtyping import Float

from auface_jax.faces.mesh.head_shape import MOUTH_Y, hill, ramp

BEARDS = ("none", "moustache", "goatee", "full")
_LIPS = 2.75, 1.0, 1.12  # half length of the bare ellipse around the lips, its height up and down


def cover(
    kind: str,
    x: Float[np.ndarray, "*shape"],
    y: Float[np.ndarray, "*shape"],
    ragged: Float[np.ndarray, "*shape"] | float = 0.0,
) -> Float[np.ndarray, "*shape"]:
    """Density of a beard on the skin at (x, y) of the unrolled face, 0 to 1.

    Args:
        kind: one of `BEARDS`.
        x: centimetres from the midline.
        y: height in centimetres.
        ragged: centimetres by which hair grows past the edge at each place.
    """
    if kind == "none":
        return np.zeros_like(x)
    ax = np.abs(x)
    line = np.interp(
        ax,
        [0.0, 0.25, 1.2, 2.2, 3.0, 3.8, 5.0, 6.2, 7.2],
        [-1.95, -1.75, -1.62, -1.85, -2.4, -2.9, -2.1, 0.1, 2.6],
    )
    jaw = np.interp(
        ax,
        [0.0, 1.6, 3.2, 4.5, 5.6, 6.4, 6.8, 7.1, 7.4],
        [-7.6, -7.4, -6.9, -5.9, -4.3, -2.3, -0.4, 1.6, 2.6],
    )
    inside = np.minimum(line - y, 0.6 * (y - jaw + 0.8))
    lips = np.hypot(ax / _LIPS[0], (y - MOUTH_Y) / np.where(y > MOUTH_Y, _LIPS[1], _LIPS[2])) - 1.0
    inside = np.minimum(inside, 1.3 * lips)
    # Beside the tuft in the middle, hardly a hair grows under the lower lip.
    inside = inside - 0.6 * hill(ax, y, 1.45, -4.85, 0.5, 0.28)
    if kind == "moustache":
        inside = np.minimum(inside, np.minimum(3.15 - ax, y + 3.9))
    elif kind == "goatee":
        inside = np.minimum(inside, 3.35 - ax)
    return ramp(inside + ragged, -0.10, 0.42)


def thickness(kind: str, length: float, uv: Float[np.ndarray, "V 2"]) -> Float[np.ndarray, " V"]:
    """Thickness of a beard over the skin at each vertex, in centimetres.

    Args:
        kind: one of `BEARDS`.
        length: centimetres at the chin.
        uv: places of the vertices, see `FaceModel.uv`.
    """
    x, y = uv[:, 0], uv[:, 1]
    chin = ramp(-y, 3.5, 7.0)
    return cover(kind, x, y) ** 2 * length * (0.35 + 0.65 * chin)
