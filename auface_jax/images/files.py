"""Image files: read as upright 8-bit RGB, and written with metadata that says what they are."""

import pathlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr")
_BEHIND = (128, 128, 128)  # what shows through transparent pixels
MOST_PIXELS = 80_000_000  # about three times what a large camera takes; 240 MB


class ImageFileError(ValueError):
    """An image file that cannot be read: which, why, and what would help."""


def read_rgb(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """An image file, upright (EXIF); grey and CMYK made RGB, transparent parts put on grey.

    Raises:
      ImageFileError: No such file, not an image, damaged, of more than `MOST_PIXELS`, or not 8 bit.
    """
    try:
        with Image.open(path) as picture:
            return upright_rgb(picture, path)
    except ImageFileError:
        raise
    except Exception as error:  # a damaged picture raises almost anything in Pillow
        raise ImageFileError(f"{path}: cannot be read as an image ({error})") from error


def upright_rgb(picture: Image.Image, path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """The present frame of an open file, as `read_rgb` gives it.

    Raises:
      ImageFileError: more than `MOST_PIXELS`, or not 8 bit; Pillow raises its own of a damaged one.
    """
    if picture.width * picture.height > MOST_PIXELS:
        raise ImageFileError(
            f"{path}: {picture.width} x {picture.height} pixels, at most "
            f"{MOST_PIXELS:,} are read: reduce it"
        )
    if picture.mode not in _EIGHT_BIT_MODES:
        raise ImageFileError(
            f"{path}: pixels of mode {picture.mode!r}; save it with 8 bits a channel"
        )
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


def save_png(image: Image.Image, path: str | pathlib.Path, **metadata: object) -> None:
    """Writes a PNG with `metadata` as text chunks; one process calls this."""
    info = PngInfo()
    for key, value in metadata.items():
        info.add_itxt(key, str(value))
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, pnginfo=info)


def save_gif(
    frames: UInt8[np.ndarray, "F H W 3"],
    path: str | pathlib.Path,
    *,
    milliseconds: int = 120,
    **metadata: object,
) -> None:
    """Writes a GIF that plays for ever, with `metadata` as its comment, at least 128 px a side."""
    scale = max(1, 128 // frames.shape[1])
    size = (frames.shape[2] * scale, frames.shape[1] * scale)
    images = [Image.fromarray(frame).resize(size, Image.BICUBIC) for frame in frames]
    comment = "; ".join(f"{key}: {value}" for key, value in metadata.items())
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=milliseconds,
        loop=0,
        comment=comment.encode(),
    )
