"""Skin as textures on the unrolled face: a person's colours, and the wrinkles anyone can form.

Textures are square and cover the same piece of the (x, y) plane of `FaceModel.uv`; `texel_grid`
gives the places of their texels. Colours are painted once a person, wrinkles once a process.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter

from auface_jax.faces.mesh.beard import cover
from auface_jax.faces.mesh.hair_shape import scalp_cover
from auface_jax.faces.mesh.head_shape import (
    EYE,
    LOWER_OPEN,
    MOUTH_HALF,
    MOUTH_Y,
    UPPER_OPEN,
    hill,
    lid_shape,
    mouth_line,
    ramp,
)
from auface_jax.faces.person import Person

TEXTURE = 512
_PORE_DEPTH, _STRAND_DEPTH = 0.0045, 0.02  # centimetres
LEFT, BOTTOM, SPAN = -12.5, -9.5, 25.0  # the piece of the plane that a texture covers


@functools.cache
def texel_grid() -> tuple[Float32[np.ndarray, "T T"], Float32[np.ndarray, "T T"]]:
    """x and y of the texels' centres, in centimetres on the unrolled face."""
    steps = (np.arange(TEXTURE) + 0.5) / TEXTURE * SPAN
    x, y = np.meshgrid(LEFT + steps, BOTTOM + steps)
    return x.astype(np.float32), y.astype(np.float32)


_Plane = Float[np.ndarray, "T T"]  # a value for each texel


def _stroke(x: _Plane, y: _Plane, points: Sequence[tuple[float, float]], sigma: float) -> _Plane:
    """A soft line of height 1 through points, fading towards its ends."""
    points = np.asarray(points, float)
    best = np.zeros_like(x)
    total = len(points) - 1
    for k, (a, b) in enumerate(zip(points[:-1], points[1:], strict=True)):
        d = b - a
        t = np.clip(((x - a[0]) * d[0] + (y - a[1]) * d[1]) / (d @ d), 0, 1)
        off = (x - a[0] - t * d[0]) ** 2 + (y - a[1] - t * d[1]) ** 2
        share = (k + t) / total
        fade = np.clip(4.0 * share, 0, 1) * np.clip(4.0 * (1 - share), 0, 1)
        best = np.maximum(best, np.exp(-0.5 * off / sigma**2) * (0.25 + 0.75 * fade))
    return best


@functools.cache
def wrinkle_map() -> Float32[np.ndarray, "T T 3"]:
    """Grooves that skin forms under compression: slope in x, slope in y, depth."""
    x, y = texel_grid()
    ax = np.abs(x)
    depth = np.zeros_like(x)
    for k, level in enumerate((6.95, 7.65, 8.35, 9.0)):
        line = level + 0.10 * np.cos(1.1 * ax + k) - 0.012 * ax**2
        extent = 1 - ramp(ax, 3.8, 5.6)
        depth = np.maximum(depth, np.exp(-0.5 * ((y - line) / 0.11) ** 2) * extent)
    strokes = [
        ([(0.50, 4.75), (0.55, 5.5), (0.42, 6.5)], 0.13, 1.0),  # glabella
        ([(0.0, 4.35), (0.7, 4.30)], 0.12, 0.6),
        ([(5.05, 3.75), (5.8, 4.2), (6.5, 4.5)], 0.13, 1.1),  # crow's feet
        ([(5.1, 3.35), (5.9, 3.35), (6.7, 3.3)], 0.13, 1.1),
        ([(5.0, 2.95), (5.8, 2.55), (6.4, 2.1)], 0.13, 1.1),
        ([(1.9, 2.5), (2.8, 2.12), (3.8, 2.15), (4.6, 2.55)], 0.15, 1.1),  # under the eye
        ([(1.75, -0.2), (2.15, -0.9), (2.75, -1.9), (3.25, -3.1)], 0.17, 1.0),  # nasolabial
        ([(3.0, -2.6), (3.25, -3.4), (3.05, -4.25)], 0.26, 1.4),  # dimple
        ([(2.75, -3.9), (3.0, -4.6), (3.05, -5.3)], 0.18, 1.2),  # from the corner down
        ([(0.0, -5.25), (0.7, -5.22), (1.3, -5.4)], 0.15, 0.9),  # under the lip
    ]
    for points, sigma, height in strokes:
        depth = np.maximum(depth, height * _stroke(ax, y, points, sigma))
    for column in (0.35, 0.9, 1.45):  # upright lines above a rolled lip
        line = _stroke(ax, y, [(column, -1.6), (column, -2.2), (column, -2.7)], 0.09)
        depth = np.maximum(depth, 0.5 * line)
    rng = np.random.default_rng(7)
    pits = gaussian_filter(rng.standard_normal(x.shape), 5.0)
    pits = np.clip(pits / pits.std(), 0, 2.5) / 2.5
    depth = np.maximum(depth, pits * hill(ax, y, 0, -6.3, 1.1, 0.75))
    pixel = SPAN / TEXTURE
    slope_y, slope_x = np.gradient(-depth, pixel)
    return np.stack([slope_x * 0.13, slope_y * 0.13, depth], -1).astype(np.float32)


def _lip_mask(ax: _Plane, y: _Plane) -> _Plane:
    """Mask of the red of the lips, 0 to 1."""
    across = np.clip(1.0 - (ax / (MOUTH_HALF + 0.02)) ** 2, 0.0, None)
    line = mouth_line(ax)
    bow = 0.10 * np.exp(-0.5 * ((ax - 0.62) / 0.35) ** 2) - 0.14 * np.exp(-0.5 * (ax / 0.25) ** 2)
    top = line + across**0.95 * (0.80 + bow)
    bottom = line - across**0.75 * 1.0
    edge = 0.10
    return ramp(top - y, -edge, edge) * ramp(y - bottom, -edge, edge) * (ax < MOUTH_HALF + 0.1)


@functools.cache
def _shadows(sculpted: bool) -> Float32[np.ndarray, "T T"]:
    """Factor on the colour of hollows, which light never reaches in a resting face, 0 to 1."""
    x, y = texel_grid()
    ax = np.abs(x)
    shade = np.ones_like(x)
    shade -= 0.22 * hill(ax, y, 1.75, 3.75, 0.55, 0.8)
    shade -= 0.14 * hill(ax, y, 3.0, 4.6, 1.3, 0.4)
    shade -= 0.10 * hill(ax, y, 3.1, 2.4, 1.2, 0.35)
    if not sculpted:
        shade -= 0.70 * hill(ax, y, 0.60, -1.12, 0.27, 0.14)  # nostrils
        shade -= 0.22 * hill(ax, y, 0.0, -1.35, 1.1, 0.25)
        shade -= 0.25 * hill(ax, y, 1.85, -0.75, 0.16, 0.5)
    shade -= 0.16 * hill(ax, y, 0.0, -4.95, 1.2, 0.28)
    shade -= 0.28 * hill(ax, y, MOUTH_HALF + 0.05, MOUTH_Y, 0.22, 0.22)
    shade -= 0.12 * ramp(-y, 6.8, 8.2)
    line = np.exp(-0.5 * ((y - mouth_line(ax)) / 0.10) ** 2) * (1 - ramp(ax, 2.3, 2.75))
    shade -= 0.55 * line
    opening = lid_shape(ax)
    slant = 0.10 * hill(ax, y, 4.8, EYE[1], 0.8, 0.8)
    top = EYE[1] + UPPER_OPEN * opening + slant
    wide = 1 - ramp(np.abs(ax - EYE[0]), 1.45, 1.75)
    within = 1 - ramp(np.abs(ax - EYE[0]), 1.15, 1.5)
    shade -= 0.80 * np.exp(-0.5 * ((y - top - 0.05) / 0.11) ** 2) * within  # roots of lashes
    shade -= 0.24 * np.exp(-0.5 * ((y - top - 0.42) / 0.09) ** 2) * wide  # fold of the lid
    low = EYE[1] - LOWER_OPEN * opening + slant
    shade -= 0.25 * np.exp(-0.5 * ((y - low + 0.03) / 0.08) ** 2) * wide
    return np.clip(shade, 0.08, 1.0).astype(np.float32)


def _brows(person: Person, ax: _Plane, y: _Plane, rng: np.random.Generator) -> _Plane:
    """Density of the hair of the brows, 0 to 1."""
    t = np.clip((ax - 1.05) / 4.6, 0.0, 1.0)
    arch = 0.62 + 0.22 * person.brow_arch
    middle = 5.30 + arch * np.sin(np.pi * np.clip(t * 0.86, 0, 1)) + 0.05 * t
    thick = person.brow_thickness * (0.40 - 0.24 * t) * ramp(t, -0.02, 0.10)
    body = ramp(thick * 1.25 - np.abs(y - middle), 0.0, 0.16)
    ends = ramp(ax, 0.95, 1.35) * (1 - ramp(ax, 5.2, 5.75))
    along = ax * 9.0 - (y - middle) * (2.0 + 3.0 * (1 - t)) * 3.0
    waves = rng.uniform(0, 6.28, 3)
    strands = sum(np.sin(along * f + p) for f, p in zip((1.0, 1.7, 2.9), waves, strict=True)) / 3
    return body * ends * (0.88 + 0.12 * strands) * person.brow_density


@functools.cache
def _strands() -> Float32[np.ndarray, "T T"]:
    """Noise of unit variance that runs down the face, as hair of a beard does."""
    noise = np.random.default_rng(8).standard_normal((TEXTURE, TEXTURE))
    fine = gaussian_filter(noise, (4.5, 0.8), mode="wrap")
    tufts = gaussian_filter(noise, (9.0, 2.5), mode="wrap")
    return (0.8 * fine / fine.std() + 0.6 * tufts / tufts.std()).astype(np.float32)


@functools.cache
def _pores() -> Float32[np.ndarray, "T T"]:
    """Fine grain of skin, of unit variance: pits where pores are, finest folds between."""
    noise = np.random.default_rng(9).standard_normal((TEXTURE, TEXTURE))
    grain = gaussian_filter(noise, 0.9, mode="wrap") - gaussian_filter(noise, 2.5, mode="wrap")
    return (grain / grain.std()).astype(np.float32)


def _mottle(rng: np.random.Generator, cells: int) -> Float32[np.ndarray, "T T"]:
    """Smooth noise of unit variance with about `cells` blobs a side."""
    coarse = gaussian_filter(rng.standard_normal((cells * 4, cells * 4)), 2.0)
    steps = np.linspace(0, cells * 4 - 1, TEXTURE)
    rows = np.apply_along_axis(lambda v: np.interp(steps, np.arange(len(v)), v), 0, coarse)
    noise = np.apply_along_axis(lambda v: np.interp(steps, np.arange(len(v)), v), 1, rows)
    return (noise / coarse.std()).astype(np.float32)


def paint(person: Person, hair_style: str, sculpted: bool = False) -> Float32[np.ndarray, "T T 3"]:
    """Paints a person's skin, in linear RGB.

    Args:
        person: the person.
        hair_style: name of the hair style, whose short hair at its edge is painted.
        sculpted: see `FaceModel.sculpted`.
    """
    rng = np.random.default_rng(person.paint_seed)
    x, y = texel_grid()
    ax = np.abs(x)
    skin = np.asarray(person.skin, np.float32)
    tone = 0.030 * _mottle(rng, 8) + 0.012 * _mottle(rng, 24)
    colour = skin * (1.0 + tone[..., None])

    def mix(mask: _Plane, target: Float[np.ndarray, "*plane 3"]) -> None:
        """Blends a colour into the skin where the mask is 1."""
        nonlocal colour
        colour = colour + np.clip(mask, 0, 1)[..., None] * (np.asarray(target) - colour)

    red = 0.5 * person.blush * (
        hill(ax, y, 4.0, -0.2, 1.5, 1.2) + 0.6 * hill(ax, y, 0, 0, 0.9, 0.9)
        + 0.25 * hill(ax, y, 0, -6.4, 1.2, 0.8)
    )  # fmt: skip
    mix(red, skin * [1.12, 0.72, 0.70])
    mix(0.35 * hill(ax, y, 3.1, 2.2, 1.1, 0.45), skin * [0.80, 0.72, 0.76])
    if person.freckles > 0:
        spots = gaussian_filter(rng.standard_normal(x.shape).astype(np.float32), 1.6)
        spots = ramp(spots / spots.std(), 1.1, 2.0) * hill(ax, y, 1.8, 0.6, 2.4, 1.3)
        mix(0.55 * person.freckles * spots, skin * [0.62, 0.48, 0.38])
    hair = np.asarray(person.hair_colour, np.float32)
    if person.stubble > 0:
        beard = ramp(-y, 1.6, 3.2) * ramp(ax, 3.2, 5.0) + hill(ax, y, 0, -2.1, 1.9, 0.55)
        beard = np.clip(beard + hill(ax, y, 0, -6.6, 3.6, 1.1), 0, 1)
        mix(0.55 * person.stubble * beard, 0.25 * skin + 0.75 * hair)
    strands = np.roll(_strands(), person.paint_seed % TEXTURE, 1)
    beard = cover(person.beard, x, y, ragged=0.12 * strands)
    mix(0.90 * beard, (0.85 * hair + 0.05 * skin) * (1.0 + 0.28 * strands[..., None]))
    mix(0.88 * _lip_mask(ax, y), person.lips)
    colour = colour * _shadows(sculpted)[..., None]
    scalp = scalp_cover(hair_style, x, y)
    if sculpted:
        scalp = scalp * ramp(y, -4.5, -2.5)
    mix(0.92 * scalp, person.hair_colour)
    mix(_brows(person, ax, y, rng), person.brow_colour)
    return np.ascontiguousarray(colour, np.float32)


def fine_relief(person: Person) -> Float32[np.ndarray, "T T 3"]:
    """Relief that is too fine for the mesh: slope in x, slope in y, gloss.

    Pores, wide on nose and cheeks and hardly any on lips and lids, and the strands of a beard.
    Gloss is a factor on that of plain skin: lips are moist, hair of a beard is dull.
    """
    x, y = texel_grid()
    ax = np.abs(x)
    shift = person.paint_seed % TEXTURE
    strands, pores = np.roll(_strands(), shift, 1), np.roll(_pores(), shift, 1)
    lips = _lip_mask(ax, y)
    beard = cover(person.beard, x, y, ragged=0.12 * strands)
    rough = 0.55 + 0.45 * hill(ax, y, 2.2, 0.2, 2.2, 1.8) + 0.35 * hill(ax, y, 0, -0.3, 1.1, 1.0)
    rough = rough * (1 - 0.75 * lips) * (1 - 0.8 * hill(ax, y, EYE[0], EYE[1], 1.5, 0.8))
    height = _PORE_DEPTH * rough * (1 - beard) * pores + _STRAND_DEPTH * beard * strands
    slope_y, slope_x = np.gradient(height, SPAN / TEXTURE)
    gloss = (1.0 + 1.6 * lips) * (1 - 0.7 * beard)
    return np.stack([slope_x, slope_y, gloss], -1).astype(np.float32)
