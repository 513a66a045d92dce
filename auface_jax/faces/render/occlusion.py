"""Share of the light that reaches each vertex of a head: from all around, and from one lamp."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32

from auface_jax.faces.render import raster

_DIRECTIONS = 64
_SIZE = 224  # pixels of the depth map that is made for each direction
_BIAS = 0.12  # centimetres by which a vertex may lie behind the map and still be lit
_BLUR = ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5))  # pixels looked up for a soft edge


def lit_from(
    direction: Sequence[float],
    vertices: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "F 3"],
    facing: Float[np.ndarray, " V"],
) -> Float64[np.ndarray, " V"]:
    """Share of a far lamp's light that arrives at each vertex: 0 in the shadow, 1 in the light.

    The head is drawn from the lamp as a depth map; a vertex is lit where the map shows it.

    Args:
        direction: unit vector towards the lamp, not straight up or down.
        vertices: the head.
        triangles: surfaces that cast the shadow.
        facing: cosine between a vertex's normal and the direction, at least 0.
    """
    x, y, z = (float(c) for c in direction)
    right = np.array([z, 0.0, -x]) / np.hypot(x, z)
    up = np.cross([x, y, z], right)
    centre = 0.5 * (vertices.max(0) + vertices.min(0))
    away = vertices - centre
    scale = 0.49 * _SIZE / np.linalg.norm(away, axis=1).max()
    # Products are summed by hand: a threaded BLAS may round differently.
    across, over, depth = (
        away[:, 0] * a + away[:, 1] * b + away[:, 2] * c for a, b, c in (right, up, (-x, -y, -z))
    )
    px, py = 0.5 * _SIZE + scale * across, 0.5 * _SIZE - scale * over
    screen = np.stack([px, py, depth], 1).astype(np.float32)
    shown, weight = raster.rasterise(screen, triangles, _SIZE)
    corners = screen[triangles[np.maximum(shown, 0)], 2]  # [S, S, 3]
    v, w = weight[..., 0], weight[..., 1]
    nearest = (1 - v - w) * corners[..., 0] + v * corners[..., 1] + w * corners[..., 2]
    nearest = np.where(shown < 0, np.inf, nearest)
    # A slanted surface falls away within a pixel by its slope.
    cosine = np.clip(facing, 0.15, 1.0)
    slack = _BIAS + 1.5 / scale * np.sqrt(1 - cosine**2) / cosine
    lit = np.zeros(len(vertices))
    for dx, dy in _BLUR:
        column = np.clip((px + dx).astype(int), 0, _SIZE - 1)
        row = np.clip((py + dy).astype(int), 0, _SIZE - 1)
        lit += (depth < nearest[row, column] + slack) / len(_BLUR)
    return lit


def light_at_rest(
    vertices: Float[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "F 3"],
    skin: Int[np.ndarray, " N"],
) -> Float32[np.ndarray, " V"]:
    """Share of the light from all around that reaches each vertex; 1 for what is not skin.

    Args:
        vertices: the head at rest.
        triangles: surfaces that block the light.
        skin: indices of the vertices of skin.
    """
    dome = ambient_light(vertices.astype(np.float32), triangles)
    reach = np.ones(len(vertices), np.float32)
    # Even the deepest hollow keeps a quarter of the light.
    reach[skin] = np.clip(0.16 + 0.92 * dome[skin], 0.25, 1.0)
    return reach


def ambient_light(
    vertices: Float32[np.ndarray, "V 3"], triangles: Int32[np.ndarray, "F 3"]
) -> Float32[np.ndarray, " V"]:
    """Share of the light of a bright dome, in front and above, that nothing blocks, 0 to 1.

    Args:
        vertices: the head at rest.
        triangles: surfaces that block the light.
    """
    normals = raster.vertex_normals(vertices, triangles)
    light, total = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    for x, y, z in _dome():
        facing = np.clip(normals[:, 0] * x + normals[:, 1] * y + normals[:, 2] * z, 0.0, None)
        light += facing * lit_from((x, y, z), vertices, triangles, facing)
        total += facing
    return (light / total).astype(np.float32)


def _dome() -> Float64[np.ndarray, "N 3"]:
    """Unit directions, even over the half of the sphere to the front, and above."""
    k = np.arange(2 * _DIRECTIONS)
    z = 1.0 - (k + 0.5) / _DIRECTIONS
    turn = np.pi * (3.0 - np.sqrt(5.0)) * k
    ring = np.sqrt(1.0 - z * z)
    all_around = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], 1)
    return all_around[(all_around[:, 2] > -0.15) & (all_around[:, 1] > -0.75)]
