"""The compiled loop that gives each pixel its colour: materials, textures and light.

Single-threaded on purpose: the builder of data sets runs one process a core.
"""

import numba
import numpy as np
from jaxtyping import Float32, Int32, UInt8

from auface_jax.faces.mesh.face_model import (
    BRISTLE,
    CLOTH,
    EYE,
    FRAME,
    GUM,
    HAIR,
    LASH,
    MOUTH,
    SKIN,
    TEETH,
)
from auface_jax.faces.render.skin import BOTTOM, LEFT, SPAN, TEXTURE

_jit = numba.njit(cache=True, error_model="numpy")
_LEFT, _BOTTOM, _DENSITY = np.float32(LEFT), np.float32(BOTTOM), np.float32(TEXTURE / SPAN)


@_jit
def shade(
    shown: Int32[np.ndarray, "S S"],
    weight: Float32[np.ndarray, "S S 2"],
    triangles: Int32[np.ndarray, "F 3"],
    materials: UInt8[np.ndarray, " F"],
    normals: Float32[np.ndarray, "V 3"],
    uv: Float32[np.ndarray, "V 2"],
    fold: Float32[np.ndarray, " V"],
    light_reach: Float32[np.ndarray, " V"],
    key_reach: Float32[np.ndarray, " V"],
    skin: Float32[np.ndarray, "T T 3"],
    wrinkles: Float32[np.ndarray, "T T 3"],
    relief: Float32[np.ndarray, "T T 3"],
    detail: np.float32,
    colours: Float32[np.ndarray, "5 3"],
    lights: Float32[np.ndarray, "N 6"],
    ambient: np.float32,
    shine: np.float32,
    phase: np.float32,
    lid_top: np.float32,
    picture: Float32[np.ndarray, "S S 3"],
) -> None:
    """Colours every pixel that shows a triangle, in linear light.

    Args:
        shown, weight: triangle of each pixel and the weights of its corners, from `rasterise`.
        triangles, materials: of the mesh, see `FaceModel`.
        normals, uv: unit normals of the vertices, and their places in the plane of textures.
        fold: weight of the wrinkles at each vertex.
        light_reach, key_reach: share of all light, and of the first light, that arrives there.
        skin, wrinkles, relief: textures; see `skin.paint`, `wrinkle_map` and `fine_relief`.
        detail: share of the relief that pixels of this size can show, 0 to 1.
        colours: linear RGB of hair, cloth, iris, lips and the frame of glasses.
        lights: unit direction to each light, then its colour times its strength.
        ambient, shine: strength of the light from all around; oiliness of the skin, 0 to 1.
        phase: where the strands of the hair start.
        lid_top: height of the upper lids' edge over the middle of the eyeballs, in radii.
        picture: the background, over which the face is drawn in place.
    """
    base = np.zeros(3, np.float32)
    value = np.zeros(3, np.float32)
    for row in range(shown.shape[0]):
        for column in range(shown.shape[1]):
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
            if materials[f] == SKIN:
                depth = u * fold[a] + v * fold[b] + w * fold[c]
                x = (s - _LEFT) * _DENSITY - 0.5
                y = (t - _BOTTOM) * _DENSITY - 0.5
                _sample(skin, x, y, base)
                if depth > 0.01:
                    _sample(wrinkles, x, y, value)
                    nx -= 1.6 * depth * value[0]
                    ny -= 1.6 * depth * value[1]
                    dark = max(1.0 - 0.60 * min(depth, 1.3) * value[2], 0.38)
                    for k in range(3):
                        base[k] *= dark
                _sample(relief, x, y, value)
                if y >= 0.0:  # below, on a neck, the last row of the texture would be drawn out
                    nx -= detail * value[0]
                    ny -= detail * value[1]
                gloss, power, wrap = (0.04 + 0.10 * shine) * value[2], 14.0, 0.25
            else:
                gloss, power, wrap = _paint(materials[f], s, t, phase, lid_top, colours, base)
            _illuminate(
                picture, row, column, nx, ny, nz, base, gloss, power, wrap,
                lights, ambient, reach, lamp,
            )  # fmt: skip


@_jit
def _sample(
    texture: Float32[np.ndarray, "T T 3"], x: float, y: float, out: Float32[np.ndarray, "3"]
) -> None:
    """Writes the bilinear value of a texture at texel (x, y) into `out`."""
    last = texture.shape[0] - 1.001
    x, y = min(max(x, 0.0), last), min(max(y, 0.0), last)
    i, j = int(y), int(x)
    fy, fx = y - i, x - j
    for k in range(3):
        top = texture[i, j, k] * (1 - fx) + texture[i, j + 1, k] * fx
        low = texture[i + 1, j, k] * (1 - fx) + texture[i + 1, j + 1, k] * fx
        out[k] = top * (1 - fy) + low * fy


@_jit
def _paint(
    material: int,
    s: float,
    t: float,
    phase: np.float32,
    lid_top: np.float32,
    colours: Float32[np.ndarray, "5 3"],
    base: Float32[np.ndarray, "3"],
) -> tuple[float, float, float]:
    """Writes the colour of a material other than skin into `base`.

    Args:
        material: index into `MATERIALS`.
        s: first coordinate of the place in `FaceModel.uv`.
        t: second coordinate of the place.
        phase: where the strands of the hair start.
        lid_top: height of the upper lids' edge, see `shade`.
        colours: linear RGB of the person's parts, see `shade`.
        base: the colour, written in place.

    Returns:
        Strength of the gloss, its exponent, and how far light wraps around the material.
    """
    gloss, power, wrap = 0.0, 20.0, 0.25
    if material == EYE:
        _paint_eye(s, t, lid_top, colours, base)
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
    return gloss, power, wrap


@_jit
def _paint_eye(
    s: float,
    t: float,
    lid_top: np.float32,
    colours: Float32[np.ndarray, "5 3"],
    base: Float32[np.ndarray, "3"],
) -> None:
    """Writes the colour of an eyeball at (s, t), in radii from the middle of its iris."""
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


@_jit
def _illuminate(
    picture: Float32[np.ndarray, "S S 3"],
    row: int,
    column: int,
    nx: float,
    ny: float,
    nz: float,
    base: Float32[np.ndarray, "3"],
    gloss: float,
    power: float,
    wrap: float,
    lights: Float32[np.ndarray, "N 6"],
    ambient: np.float32,
    reach: float,
    lamp: float,
) -> None:
    """Writes the light that a place sends to the camera into one pixel.

    Args:
        picture: linear RGB, written in place.
        row: of the pixel.
        column: of the pixel.
        nx: x of the normal, which need not be of unit length.
        ny: y of the normal.
        nz: z of the normal.
        base: linear RGB of the material.
        gloss: strength of the gloss.
        power: exponent of the gloss.
        wrap: how far light wraps around the material.
        lights: unit direction to each light, then its colour times its strength.
        ambient: strength of the light from all around.
        reach: share of all light that arrives here.
        lamp: share of the first light that arrives here.
    """
    n = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    nx, ny, nz = nx / n, ny / n, nz / n
    sky = ambient * (0.82 + 0.25 * ny)
    for k in range(3):
        picture[row, column, k] = base[k] * sky * reach
    for i in range(lights.shape[0]):
        lx, ly, lz = lights[i, 0], lights[i, 1], lights[i, 2]
        cosine = nx * lx + ny * ly + nz * lz
        hx, hy, hz = lx, ly, lz + 1.0
        h = np.sqrt(hx * hx + hy * hy + hz * hz)
        mirror = max((nx * hx + ny * hy + nz * hz) / h, 0.0) ** power
        for k in range(3):
            # Light that enters skin comes out a little further on: red furthest.
            soft = wrap * (1.25, 0.9, 0.8)[k]
            diffuse = max((cosine + soft) / (1.0 + soft), 0.0)
            light = lights[i, 3 + k] * reach
            if i == 0:
                light *= lamp
            picture[row, column, k] += light * (base[k] * diffuse + gloss * mirror)
