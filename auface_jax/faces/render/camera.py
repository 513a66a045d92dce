"""From the space of a head to pixels: pose, projection, and the aligned crop."""

import numpy as np
from jaxtyping import Float, Float32, Float64

from auface_jax.faces.person import Scene
from auface_jax.faces.template import TEMPLATE, anchor_points, similarity

_DISTANCE = 62.0  # centimetres from the middle of the head


def rotation(yaw: float, pitch: float, roll: float) -> Float64[np.ndarray, "3 3"]:
    """Rotation matrix of a head, from degrees in the sense of `Scene`."""
    a, b, c = np.radians([yaw, -pitch, -roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tilt @ nod @ turn


def turned(
    points: Float[np.ndarray, "V 3"], matrix: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "V 3"]:
    """Rotates points, without BLAS, whose threads may round differently."""
    return np.stack(
        [points[:, 0] * a + points[:, 1] * b + points[:, 2] * c for a, b, c in matrix], 1
    )


def projected(
    points: Float[np.ndarray, "V 3"], centre: Float64[np.ndarray, "3"], scene: Scene
) -> Float64[np.ndarray, "V 3"]:
    """Projects points: x to the right and y down, before framing, and distance from the camera."""
    seen = turned(points - centre, rotation(scene.yaw, scene.pitch, scene.roll))
    depth = _DISTANCE - seen[:, 2]
    return np.stack([seen[:, 0] / depth, -seen[:, 1] / depth, depth], -1)


def framed(
    points: Float64[np.ndarray, "V 3"],
    anchors: Float64[np.ndarray, "M 3"],
    scene: Scene,
    size: int,
) -> Float32[np.ndarray, "V 3"]:
    """Puts the face on the template on which photographs are aligned.

    Args:
        points: points from `projected`.
        anchors: projected landmarks of the face at rest, since an expression moves no camera.
        scene: the scene.
        size: pixels a side.

    Returns:
        Pixel x, pixel y and depth of the points.
    """
    scale, shift = similarity(anchor_points(size * anchors[:, :2]), size * TEMPLATE)
    places = size * (points[:, 0] + 1j * points[:, 1]) * scale + shift
    middle = 0.5 * size * (1 + 1j)
    places = middle + (places - middle) * scene.zoom + size * complex(*scene.shift)
    return np.stack([places.real, places.imag, points[:, 2]], -1).astype(np.float32)
