"""Image files as pixels: upright, RGB, 8 bit, or an error that says what is wrong with them."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from auface_jax.data.samples import SourceError

_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr")
_BEHIND = (128, 128, 128)  # what shows through transparent pixels
MOST_PIXELS = 80_000_000  # about three times what a large camera takes; 240 MB


def read_rgb(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """An image file, upright (EXIF); grey and CMYK made RGB, transparent parts put on grey.

    Raises:
      SourceError: No such file, not an image, damaged, of more than `MOST_PIXELS`, or not 8 bit.
    """
    try:
        with Image.open(path) as picture:
            return upright_rgb(picture, path)
    except SourceError:
        raise
    except Exception as error:  # a damaged picture raises almost anything in Pillow
        raise SourceError(f"{path}: cannot be read as an image ({error})") from error


def upright_rgb(picture: Image.Image, path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """The present frame of an open file, as `read_rgb` gives it.

    Raises:
      SourceError: Of more than `MOST_PIXELS`, or not 8 bit; what Pillow raises where it is damaged.
    """
    if picture.width * picture.height > MOST_PIXELS:
        raise SourceError(
            f"{path}: {picture.width} x {picture.height} pixels, at most "
            f"{MOST_PIXELS:,} are read: reduce it"
        )
    if picture.mode not in _EIGHT_BIT_MODES:
        raise SourceError(f"{path}: pixels of mode {picture.mode!r}; save it with 8 bits a channel")
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        behind = Image.new("RGBA", picture.size, (*_BEHIND, 255))
        picture = Image.alpha_composite(behind, picture)
    return np.array(picture.convert("RGB"))


def read_square(path: str | Path, size: int) -> UInt8[np.ndarray, "S S 3"]:
    """An image file as `size` x `size` RGB: see `read_rgb` and `central_square`."""
    return central_square(read_rgb(path), size)


def central_square(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """The middle of an image, resized: reducing averages (Lanczos, antialiased)."""
    fitted = ImageOps.fit(Image.fromarray(image), (size, size), method=Image.Resampling.LANCZOS)
    return np.array(fitted)
