"""The two inner loops of drawing, compiled: which triangle a pixel shows, and its colour.

Single-threaded on purpose: the builder of data sets runs one process a core.
"""

from __future__ import annotations

import numba
import numpy as np

from auface_jax.faces.mesh.face_model import (
    BRISTLE,
    CLOTH,
    EYE,
    FRAME,
    GUM,
    HAIR,
    LASH,
    MOUTH,
    TEETH,
)

_jit = numba.njit(cache=True, error_model="numpy")


@_jit
def vertex_normals(vertices, triangles):
    """Unit normals [V, 3] of vertices [V, 3], averaged over their triangles by area."""
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
def compression(rest, moved, triangles, uv, crease):
    """How much shorter skin became across its creases: [V], 0 none, towards 1 folded.

    For every triangle the maps from the unrolled face to the resting and to the moved surface are
    linear; the stretch of the crease's direction under the two is compared, seen from the front:
    a swelling does not smooth the fold beside it.
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
def averaged(values, triangles):
    """Each of the values [V] mixed half and half with the mean over its triangles' corners."""
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
def rasterise(screen, triangles, size):
    """Nearest triangle at the middle of each pixel.

    Args:
        screen: float32 [V, 3], pixel x (right), pixel y (down), depth (larger is farther).
        triangles: int32 [F, 3]; only those facing the viewer are drawn.
        size: pixels a side.

    Returns:
        (int32 [size, size] of triangles, -1 for none; float32 [size, size, 2] of the weights of
        a triangle's second and third corner).
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


@_jit
def _depth(row, column, shown, weight, screen, triangles):
    """How far away what a pixel shows is; endless for the background."""
    f = shown[row, column]
    if f < 0:
        return np.inf
    v, w = weight[row, column, 0], weight[row, column, 1]
    a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
    return (1 - v - w) * screen[a, 2] + v * screen[b, 2] + w * screen[c, 2]


@_jit
def glaze(
    shown, weight, screen, triangles, lens_shown, lens_weight, lens_screen, lens_triangles,
    normals, lights, ambient, picture,
):  # fmt: skip
    """Lays clear lenses over a picture: a breath of tint, and lights mirrored in their front.

    Args:
        shown, weight, screen, triangles: what was drawn, see `rasterise`; lens_...: the lenses.
        normals: float32 [M, 3], of the lenses. lights, ambient, picture: as in `shade`.
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
            nx = (1 - v - w) * normals[a, 0] + v * normals[b, 0] + w * normals[c, 0]
            ny = (1 - v - w) * normals[a, 1] + v * normals[b, 1] + w * normals[c, 1]
            nz = (1 - v - w) * normals[a, 2] + v * normals[b, 2] + w * normals[c, 2]
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
def _sample(texture, x, y, out):
    """Bilinear texture value at texel coordinates, into out [3]."""
    last = texture.shape[0] - 1.001
    x, y = min(max(x, 0.0), last), min(max(y, 0.0), last)
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    for k in range(3):
        top = texture[i, j, k] * (1 - fx) + texture[i, j + 1, k] * fx
        low = texture[i + 1, j, k] * (1 - fx) + texture[i + 1, j + 1, k] * fx
        out[k] = top * (1 - fy) + low * fy


@_jit
def shade(
    shown, weight, triangles, materials, normals, uv, fold, light_reach, key_reach, skin, wrinkles,
    relief, detail, colours, lights, ambient, shine, phase, lid_top, texture_map, picture,
):  # fmt: skip
    """Colours every pixel that shows a triangle, in linear light.

    Args:
        shown, weight: from `rasterise`.
        triangles, materials: of the model.
        normals: float32 [V, 3]; uv: float32 [V, 2]; fold: float32 [V], weight of the wrinkles;
        light_reach: float32 [V], share of the light that is not blocked by other parts, and
        key_reach: float32 [V], the same for the first light alone.
        skin, wrinkles, relief: float32 [T, T, 3] textures, see `skin`.
        detail: 0 to 1, share of the relief that pixels of this size can show.
        colours: float32 [5, 3], of hair, cloth, iris, lips and the frame of glasses.
        lights: float32 [N, 6], unit direction to each light and its colour times strength.
        ambient, shine: scalars. phase: where the strands of the hair start.
        lid_top: height of the upper lids' edge over the middle of the eyeballs, in radii.
        texture_map: (left, bottom, texels a centimetre).
        picture: float32 [S, S, 3], holds the background and is drawn into.
    """
    size = shown.shape[0]
    base = np.zeros(3, np.float32)
    bump = np.zeros(3, np.float32)
    fine = np.zeros(3, np.float32)
    for row in range(size):
        for column in range(size):
            f = shown[row, column]
            if f < 0:
                continue
            a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            v, w = weight[row, column, 0], weight[row, column, 1]
            u = 1.0 - v - w
            nx = u * normals[a, 0] + v * normals[b, 0] + w * normals[c, 0]
            ny = u * normals[a, 1] + v * normals[b, 1] + w * normals[c, 1]
            nz = u * normals[a, 2] + v * normals[b, 2] + w * normals[c, 2]
            s = u * uv[a, 0] + v * uv[b, 0] + w * uv[c, 0]
            t = u * uv[a, 1] + v * uv[b, 1] + w * uv[c, 1]
            lamp = u * key_reach[a] + v * key_reach[b] + w * key_reach[c]
            reach = u * light_reach[a] + v * light_reach[b] + w * light_reach[c]
            material = materials[f]
            gloss, power, wrap = 0.0, 20.0, 0.25
            if material == EYE:
                r = np.sqrt(s * s + t * t)
                iris, pupil = 0.425, 0.165
                if r < iris:
                    edge = min(max((iris - r) / 0.05, 0.0), 1.0)
                    hole = min(max((r - pupil) / 0.04, 0.0), 1.0)
                    glow = 0.55 + 0.6 * (r - pupil) / (iris - pupil) - 0.25 * t / iris
                    for k in range(3):
                        ring = colours[2, k] * glow * (0.35 + 0.65 * edge)
                        base[k] = 0.012 + (ring - 0.012) * hole
                else:
                    blood = min(r * r * 0.35, 0.4)
                    base[0], base[1], base[2] = 0.62, 0.59 - 0.22 * blood, 0.56 - 0.25 * blood
                # The upper lid and its lashes keep light from the top of the ball.
                lid = 1.0 - 0.70 * min(max((t - lid_top) / 0.36 + 0.75, 0.0), 1.0)
                for k in range(3):
                    base[k] *= lid
                gloss, power, wrap = 0.9, 90.0, 0.45
            elif material == TEETH:
                gap = 0.86 + 0.14 * abs(np.cos(s * 4.2))
                base[0], base[1], base[2] = 0.72 * gap, 0.69 * gap, 0.60 * gap
                gloss, power = 0.15, 30.0
            elif material == MOUTH:
                for k in range(3):
                    base[k] = colours[3, k] * 0.28
            elif material == GUM:
                for k in range(3):
                    base[k] = colours[3, k] * (0.95, 0.75, 0.72)[k]
                gloss, power = 0.08, 30.0
            elif material == HAIR:
                strand = (
                    np.sin(38 * s + phase + 0.4 * t)
                    + np.sin(61 * s + 2 * phase)
                    + np.sin(17 * s + 0.5 * phase - 0.3 * t)
                ) / 3.0
                for k in range(3):
                    base[k] = colours[0, k] * (1.0 + 0.22 * strand)
                gloss, power, wrap = 0.10, 12.0, 0.35
            elif material == CLOTH:
                for k in range(3):
                    base[k] = colours[1, k]
            elif material == LASH:
                for k in range(3):
                    base[k] = 0.03 + 0.12 * colours[3, k]
            elif material == BRISTLE:
                base[0], base[1], base[2] = 0.016, 0.012, 0.010
            elif material == FRAME:
                for k in range(3):
                    base[k] = colours[4, k]
                gloss, power = 0.35, 30.0
            else:
                x = (s - texture_map[0]) * texture_map[2] - 0.5
                y = (t - texture_map[1]) * texture_map[2] - 0.5
                _sample(skin, x, y, base)
                depth = u * fold[a] + v * fold[b] + w * fold[c]
                if depth > 0.01:
                    _sample(wrinkles, x, y, bump)
                    nx -= 1.6 * depth * bump[0]
                    ny -= 1.6 * depth * bump[1]
                    dark = max(1.0 - 0.60 * min(depth, 1.3) * bump[2], 0.38)
                    for k in range(3):
                        base[k] *= dark
                _sample(relief, x, y, fine)
                if y >= 0.0:  # below, on a neck, the last row of the texture would be drawn out
                    nx -= detail * fine[0]
                    ny -= detail * fine[1]
                gloss, power = (0.04 + 0.10 * shine) * fine[2], 14.0
            n = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / n, ny / n, nz / n
            sky = ambient * (0.82 + 0.25 * ny)
            for k in range(3):
                picture[row, column, k] = base[k] * sky * reach
            for i in range(lights.shape[0]):
                lx, ly, lz = lights[i, 0], lights[i, 1], lights[i, 2]
                cosine = nx * lx + ny * ly + nz * lz
                # Light that enters skin comes out a little further on: red furthest.
                hx, hy, hz = lx, ly, lz + 1.0
                h = np.sqrt(hx * hx + hy * hy + hz * hz)
                mirror = max((nx * hx + ny * hy + nz * hz) / h, 0.0) ** power
                for k in range(3):
                    soft = wrap * (1.25, 0.9, 0.8)[k]
                    diffuse = max((cosine + soft) / (1.0 + soft), 0.0)
                    light = lights[i, 3 + k] * reach
                    if i == 0:
                        light *= lamp
                    picture[row, column, k] += light * (base[k] * diffuse + gloss * mirror)
