"""How much of the light from all around reaches each place of a resting head."""

from __future__ import annotations

import numpy as np

from . import raster

_DIRECTIONS = 64
_SIZE = 224  # pixels of the depth map that is made for each direction
_BIAS = 0.12  # centimetres by which a vertex may lie behind the map and still be lit


def ambient_light(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Share of the light of a bright dome in front and above that is not blocked.

    From each of a fixed set of directions the head is drawn as a depth map, and a vertex that the
    map shows is lit from there, as much as it faces that way.

    Args:
        vertices: float32 [V, 3]; triangles: int32 [F, 3], what blocks the light.

    Returns:
        float32 [V], from 0 to 1.
    """
    normals = raster.vertex_normals(vertices, triangles)
    lit, total = np.zeros(len(vertices)), np.full(len(vertices), 1e-6)
    centre = 0.5 * (vertices.max(0) + vertices.min(0))
    scale = 0.49 * _SIZE / np.linalg.norm(vertices - centre, axis=1).max()
    for x, y, z in _dome():
        right = np.array([z, 0.0, -x]) / np.hypot(x, z)
        up = np.cross([x, y, z], right)
        away = vertices - centre
        # Products are summed by hand: a threaded BLAS may round differently.
        across, over, depth = (
            away[:, 0] * a + away[:, 1] * b + away[:, 2] * c
            for a, b, c in (right, up, (-x, -y, -z))
        )
        px, py = 0.5 * _SIZE + scale * across, 0.5 * _SIZE - scale * over
        screen = np.stack([px, py, depth], 1).astype(np.float32)
        shown, weight = raster.rasterise(screen, triangles, _SIZE)
        corners = screen[triangles[np.maximum(shown, 0)], 2]  # [S, S, 3]
        v, w = weight[..., 0], weight[..., 1]
        nearest = (1 - v - w) * corners[..., 0] + v * corners[..., 1] + w * corners[..., 2]
        nearest = np.where(shown < 0, np.inf, nearest)
        facing = np.clip(normals[:, 0] * x + normals[:, 1] * y + normals[:, 2] * z, 0.0, None)
        # Four pixels around the vertex, so that the edge of a shadow is soft.
        open_ = np.zeros(len(vertices))
        for dx in (-0.5, 0.5):
            for dy in (-0.5, 0.5):
                column = np.clip((px + dx).astype(int), 0, _SIZE - 1)
                row = np.clip((py + dy).astype(int), 0, _SIZE - 1)
                # A slanted surface falls away within a pixel by its slope.
                slack = _BIAS + 1.5 / scale * np.sqrt(1 - np.minimum(facing, 1.0) ** 2)
                open_ += 0.25 * (depth < nearest[row, column] + slack)
        lit += facing * open_
        total += facing
    return (lit / total).astype(np.float32)


def _dome():
    """Unit directions [N, 3], even over the half of the sphere to the front, and above."""
    k = np.arange(2 * _DIRECTIONS)
    z = 1.0 - (k + 0.5) / _DIRECTIONS
    turn = np.pi * (3.0 - np.sqrt(5.0)) * k
    ring = np.sqrt(1.0 - z * z)
    all_around = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], 1)
    return all_around[(all_around[:, 2] > -0.15) & (all_around[:, 1] > -0.75)]
