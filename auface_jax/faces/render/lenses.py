"""The compiled loop that lays the lenses of glasses over a picture."""

import numba
import numpy as np
from jaxtyping import Float32, Int32

_jit = numba.njit(cache=True, error_model="numpy")


@_jit
def glaze(
    shown: Int32[np.ndarray, "S S"],
    weight: Float32[np.ndarray, "S S 2"],
    screen: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "F 3"],
    lens_shown: Int32[np.ndarray, "S S"],
    lens_weight: Float32[np.ndarray, "S S 2"],
    lens_screen: Float32[np.ndarray, "L 3"],
    lens_triangles: Int32[np.ndarray, "K 3"],
    lens_normals: Float32[np.ndarray, "L 3"],
    lights: Float32[np.ndarray, "N 6"],
    ambient: np.float32,
    picture: Float32[np.ndarray, "S S 3"],
) -> None:
    """Lays clear lenses over a picture: a breath of tint, and lights mirrored in their front.

    Args:
        shown: triangle of the face that each pixel shows, from `rasterise`.
        weight: weights of that triangle's second and third corner.
        screen: pixel x, pixel y and depth of the vertices of the face.
        triangles: corners of each triangle of the face.
        lens_shown: triangle of the lenses at each pixel.
        lens_weight: weights of that triangle's second and third corner.
        lens_screen: pixel x, pixel y and depth of the vertices of the lenses.
        lens_triangles: corners of each triangle of the lenses.
        lens_normals: unit normals of the vertices of the lenses.
        lights: unit direction to each light, then its colour times its strength.
        ambient: strength of the light from all around.
        picture: linear RGB, changed in place.
    """
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            f = lens_shown[row, column]
            if f < 0:
                continue
            near = _depth(row, column, lens_shown, lens_weight, lens_screen, lens_triangles)
            if near > _depth(row, column, shown, weight, screen, triangles):
                continue
            v, w = lens_weight[row, column, 0], lens_weight[row, column, 1]
            a, b, c = lens_triangles[f, 0], lens_triangles[f, 1], lens_triangles[f, 2]
            nx, ny, nz = (
                (1 - v - w) * lens_normals[a, 0] + v * lens_normals[b, 0] + w * lens_normals[c, 0],
                (1 - v - w) * lens_normals[a, 1] + v * lens_normals[b, 1] + w * lens_normals[c, 1],
                (1 - v - w) * lens_normals[a, 2] + v * lens_normals[b, 2] + w * lens_normals[c, 2],
            )
            n = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            for k in range(3):
                picture[row, column, k] = 0.95 * picture[row, column, k] + 0.012 * ambient
            for i in range(lights.shape[0]):
                lx, ly, lz = lights[i, 0], lights[i, 1], lights[i, 2] + 1.0
                h = np.sqrt(lx * lx + ly * ly + lz * lz)
                mirror = max((nx * lx + ny * ly + nz * lz) / (n * h), 0.0) ** 420.0
                for k in range(3):
                    picture[row, column, k] += 0.20 * mirror * lights[i, 3 + k]


@_jit
def _depth(
    row: int,
    column: int,
    shown: Int32[np.ndarray, "S S"],
    weight: Float32[np.ndarray, "S S 2"],
    screen: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "F 3"],
) -> float:
    """Distance of the surface that a pixel shows; infinite for the background."""
    f = shown[row, column]
    if f < 0:
        return np.inf
    v, w = weight[row, column, 0], weight[row, column, 1]
    a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
    return (1 - v - w) * screen[a, 2] + v * screen[b, 2] + w * screen[c, 2]
