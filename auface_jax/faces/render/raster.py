"""Compiled loops over the triangles of a mesh: normals, folds, and the triangle a pixel shows.

Single-threaded on purpose: the builder of data sets runs one process a core.
"""

import numba
import numpy as np
from jaxtyping import Float32, Int32

_jit = numba.njit(cache=True, error_model="numpy")


@_jit
def vertex_normals(
    vertices: Float32[np.ndarray, "V 3"], triangles: Int32[np.ndarray, "F 3"]
) -> Float32[np.ndarray, "V 3"]:
    """Unit normals of vertices, averaged over their triangles by area."""
    normals = np.zeros_like(vertices)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for v in range(vertices.shape[0]):
        n = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if n > 1e-12:
            normals[v] /= n
    return normals


@_jit
def compression(
    rest: Float32[np.ndarray, "V 3"],
    moved: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "F 3"],
    uv: Float32[np.ndarray, "V 2"],
    crease: Float32[np.ndarray, "V 2"],
) -> Float32[np.ndarray, " V"]:
    """Share by which skin became shorter across its creases: 0 none, towards 1 folded.

    For every triangle the maps from the unrolled face to the resting and to the moved surface are
    linear; the stretch of the crease's direction under the two is compared, seen from the front:
    a swelling does not smooth the fold beside it.

    Args:
        rest: vertices of the resting face.
        moved: vertices of the moved face.
        triangles: corners of the triangles of skin.
        uv: places of the vertices on the unrolled face, see `FaceModel.uv`.
        crease: unit direction across the wrinkles, see `FaceModel.crease`.
    """
    total = np.zeros(rest.shape[0], np.float32)
    count = np.zeros(rest.shape[0], np.float32)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        dx, dy = crease[a, 0], crease[a, 1]
        if dx == 0.0 and dy == 0.0:
            continue
        p, q = uv[b, 0] - uv[a, 0], uv[c, 0] - uv[a, 0]
        r, s = uv[b, 1] - uv[a, 1], uv[c, 1] - uv[a, 1]
        det = p * s - q * r
        if abs(det) < 1e-5:
            continue
        along_b, along_c = (s * dx - q * dy) / det, (p * dy - r * dx) / det
        old, new = 0.0, 0.0
        for k in range(2):
            d = along_b * (rest[b, k] - rest[a, k]) + along_c * (rest[c, k] - rest[a, k])
            old += d * d
            d = along_b * (moved[b, k] - moved[a, k]) + along_c * (moved[c, k] - moved[a, k])
            new += d * d
        shorter = 1.0 - np.sqrt(new / max(old, 1e-9))
        for k in (a, b, c):
            total[k] += shorter
            count[k] += 1.0
    for v in range(rest.shape[0]):
        if count[v] > 0:
            total[v] = max(total[v] / count[v], 0.0)
    return total


@_jit
def averaged(
    values: Float32[np.ndarray, " V"], triangles: Int32[np.ndarray, "F 3"]
) -> Float32[np.ndarray, " V"]:
    """Values of the vertices, each mixed half and half with the mean over its triangles."""
    total = np.zeros(values.shape[0], np.float32)
    count = np.zeros(values.shape[0], np.float32)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        mean = (values[a] + values[b] + values[c]) / 3.0
        for k in (a, b, c):
            total[k] += mean
            count[k] += 1.0
    for v in range(values.shape[0]):
        if count[v] > 0:
            total[v] = 0.5 * values[v] + 0.5 * total[v] / count[v]
    return total


@_jit
def rasterise(
    screen: Float32[np.ndarray, "V 3"], triangles: Int32[np.ndarray, "F 3"], size: int
) -> tuple[Int32[np.ndarray, "S S"], Float32[np.ndarray, "S S 2"]]:
    """Finds the nearest triangle at the middle of each pixel.

    Args:
        screen: pixel x (right), pixel y (down) and depth (larger is farther) of each vertex.
        triangles: corners of each triangle; only those that face the viewer are drawn.
        size: pixels a side.

    Returns:
        The triangle of each pixel, -1 for none, and the weights of its second and third corner.
    """
    shown = np.full((size, size), -1, np.int32)
    weight = np.zeros((size, size, 2), np.float32)
    nearest = np.full((size, size), np.inf, np.float32)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay = screen[a, 0], screen[a, 1]
        bx, by = screen[b, 0] - ax, screen[b, 1] - ay
        cx, cy = screen[c, 0] - ax, screen[c, 1] - ay
        area = bx * cy - cx * by
        if area >= 0.0:  # y points down, so a triangle seen from outside turns clockwise
            continue
        x0 = max(int(np.floor(ax + min(0.0, bx, cx) + 0.5)), 0)
        x1 = min(int(np.ceil(ax + max(0.0, bx, cx) - 0.5)), size - 1)
        y0 = max(int(np.floor(ay + min(0.0, by, cy) + 0.5)), 0)
        y1 = min(int(np.ceil(ay + max(0.0, by, cy) - 0.5)), size - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = x + 0.5 - ax, y + 0.5 - ay
                u = (px * cy - cx * py) / area
                v = (bx * py - px * by) / area
                if u < -1e-4 or v < -1e-4 or u + v > 1.0001:
                    continue
                z = (1 - u - v) * screen[a, 2] + u * screen[b, 2] + v * screen[c, 2]
                if z < nearest[y, x]:
                    nearest[y, x] = z
                    shown[y, x] = f
                    weight[y, x, 0] = u
                    weight[y, x, 1] = v
    return shown, weight
