"""The built-in head's skin and hair on the ICT face: textures, wrinkles, hair fitted to the skull.

The mean scan has the size and the place of the built-in head, and its 68 landmarks tell how its
surface is laid over the unrolled plane in which skin is painted.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from auface_jax.faces.mesh import builtin, hair_shape
from auface_jax.faces.mesh import head_shape as shape
from auface_jax.faces.mesh.builtin_fields import crease_directions
from auface_jax.faces.mesh.ict_scan import Scan

_MIDDLE = np.array([0.0, 4.5, 1.0])  # of the skull, from which hair is fitted
_EAR, _SHOULDER = 7.55, -6.0  # what is further from the middle, and higher than this, is an ear
# For each of the 68 landmarks the one on the other side of the face.
_MIRRORED = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip


def unrolled(
    points: Float32[np.ndarray, "V 3"],
    skin: Bool[np.ndarray, " V"],
    landmarks: Int32[np.ndarray, "68"],
) -> Float64[np.ndarray, "V 2"]:
    """Places of the vertices in the plane of the textures, zeros off the skin.

    Args:
        points: vertices at rest.
        skin: whether each of them is skin.
        landmarks: vertices of the 68 landmarks.
    """
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


def creases(scan: Scan, uv: Float64[np.ndarray, "V 2"]) -> Float64[np.ndarray, "V 2"]:
    """Unit direction across the wrinkles at each vertex, zeros where none can form."""
    folding = scan.is_part["face"] & (scan.resting[:, 2] > 1.5) & (scan.resting[:, 1] > -8.0)
    crease = np.zeros_like(uv)
    crease[folding] = crease_directions(uv[folding])
    # Lines above the lip are upright: they follow the narrowing of a mouth, not its rise.
    philtrum = (np.abs(uv[:, 0]) < 1.7) & (uv[:, 1] > -2.8) & (uv[:, 1] < -1.4)
    crease[philtrum & folding] = [1.0, 0.0]
    return crease


def fitted_hair(
    resting: Float32[np.ndarray, "V 3"], skin: Bool[np.ndarray, " V"]
) -> tuple[
    Float64[np.ndarray, "N 3"],
    Int[np.ndarray, "F 3"],
    Float64[np.ndarray, "N 2"],
    Float64[np.ndarray, "H N 3"],
]:
    """Fits the built-in head's hair to this skull.

    Args:
        resting: vertices at rest.
        skin: whether each of them is skin.

    Returns:
        Points, triangles and uv of the shell of hair, and the offsets that grow each style.
    """
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


def near_skin(
    points: Float32[np.ndarray, "V 3"],
    skin: Bool[np.ndarray, " V"],
    wanted: Float64[np.ndarray, "N 3"],
    count: int = 24,
) -> tuple[Int[np.ndarray, "N K"], Float32[np.ndarray, "N K"]]:
    """Finds the vertices of skin nearest to each wanted point.

    Args:
        points: vertices at rest.
        skin: whether each of them is skin.
        wanted: points near the skin, such as those of hair.
        count: how many vertices are found for each point.

    Returns:
        Indices of the vertices, and weights that fall with their distance and sum to 1.
    """
    places = np.flatnonzero(skin & (np.abs(points[:, 0]) < _EAR))
    held = np.stack([wanted[:, 0], np.maximum(wanted[:, 1], -1.0), wanted[:, 2]], 1)
    gap, near = cKDTree(points[places]).query(held, count)
    weight = np.exp(-0.5 * ((gap - gap[:, :1]) / 0.9) ** 2)
    return places[near], (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def _distance(
    points: Float[np.ndarray, "V 3"], directions: Float64[np.ndarray, "N 3"], count: int = 60
) -> Float64[np.ndarray, " N"]:
    """Distance from `_MIDDLE` to the surface through points, in some directions, smoothed."""
    away = points - _MIDDLE
    far = np.linalg.norm(away, axis=1)
    gap, near = cKDTree(away / far[:, None]).query(directions, count)
    weight = np.exp(-0.5 * ((gap - gap[:, :1]) / 0.08) ** 2)
    return (far[near] * weight).sum(1) / weight.sum(1)


def _directions(points: Float[np.ndarray, "V 3"]) -> Float64[np.ndarray, "V 3"]:
    """Unit directions from `_MIDDLE` to points."""
    away = points - _MIDDLE
    return away / np.linalg.norm(away, axis=1, keepdims=True)
