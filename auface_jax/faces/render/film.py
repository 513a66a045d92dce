"""Light -> a picture, as a camera makes one: lens, film, compression, the aligned crop of it."""

import io

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter

from auface_jax.faces.person import Scene

UNCOMPRESSED = 100  # the quality at which no JPEG is made
_MOST_BLUR = 0.1
_BEST_JPEG = 95  # above it Pillow's files grow and pictures hardly change


def photograph(
    light: Float32[np.ndarray, "D D 3"], scene: Scene, size: int
) -> UInt8[np.ndarray, "S S 3"]:
    """Turns light into an sRGB picture, as a camera does.

    JPEG is made of the large picture that is drawn, not of the small one that is kept, since faces
    are cut from photographs that were compressed first.

    Args:
        light: linear RGB; the side D is a multiple of `size`.
        scene: the scene; only its blur, exposure and jpeg_quality are used.
        size: pixels a side of the picture.

    Raises:
        ValueError: the blur or the jpeg_quality is out of range.
    """
    _check(scene)
    drawn = len(light)
    if scene.blur:
        spread = scene.blur * drawn
        light = gaussian_filter(light, (spread, spread, 0.0), mode="nearest", truncate=3.0)
    bright = _developed(light, scene.exposure)
    if scene.jpeg_quality < UNCOMPRESSED:
        bright = _compressed(bright, scene.jpeg_quality)
    samples = drawn // size
    image = bright.reshape(size, samples, size, samples, 3).mean((1, 3))
    return np.round(image * 255).astype(np.uint8)


def _check(scene: Scene) -> None:
    """Raises `ValueError` for a camera that cannot be."""
    if not 0.0 <= scene.blur <= _MOST_BLUR:
        raise ValueError(f"blur is {scene.blur}; it must be from 0 to {_MOST_BLUR}")
    if scene.jpeg_quality not in (*range(1, _BEST_JPEG + 1), UNCOMPRESSED):
        raise ValueError(
            f"jpeg_quality is {scene.jpeg_quality}; it must be a whole number 1 to {_BEST_JPEG}, "
            f"or {UNCOMPRESSED} for none"
        )


def _developed(
    light: Float32[np.ndarray, "D D 3"], exposure: float
) -> Float32[np.ndarray, "D D 3"]:
    """Linear light -> sRGB in [0, 1], highlights rolled off."""
    light = light * exposure
    light = np.where(light > 0.7, 0.7 + 0.3 * np.tanh((light - 0.7) / 0.5), light)
    return np.clip(light, 0.0, 1.0) ** (1 / 2.2)


def _compressed(bright: Float32[np.ndarray, "D D 3"], quality: int) -> Float32[np.ndarray, "D D 3"]:
    """A picture in [0, 1] after JPEG, its colours at half the resolution, as cameras keep them."""
    file = io.BytesIO()
    pixels = np.round(bright * 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file), np.float32) / 255
