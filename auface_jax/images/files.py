"""Image files: read as upright 8-bit RGB, and written with metadata that describe them."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

_EIGHT_BIT_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr")
_BEHIND = (128, 128, 128)  # grey behind transparent pixels
MAX_PIXELS = 80_000_000  # about three times as many as a large camera has; 240 MB


class ImageFileError(ValueError):
    """An image file cannot be read; the message names the file, the reason and the cure."""


def read_rgb(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Reads an image file as upright RGB.

    EXIF orientation is applied, grey and CMYK become RGB, and transparent parts become grey.

    Raises:
      ImageFileError: the file does not exist, is damaged or not an image, has more than
        `MAX_PIXELS` pixels, or does not have 8 bits a channel.
    """
    try:
        with Image.open(path) as picture:
            return upright_rgb(picture, path)
    except ImageFileError:
        raise
    except Exception as error:  # a damaged picture raises almost anything in Pillow
        raise ImageFileError(f"{path}: cannot be read as an image ({error})") from error


def upright_rgb(picture: Image.Image, path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Converts the current frame of an open image as `read_rgb` does.

    Args:
      picture: the open image.
      path: path of its file, for messages.

    Raises:
      ImageFileError: the image has more than `MAX_PIXELS` pixels, or does not have 8 bits a
        channel. Errors of Pillow for damaged files pass through.
    """
    if picture.width * picture.height > MAX_PIXELS:
        raise ImageFileError(
            f"{path}: {picture.width} x {picture.height} pixels, at most "
            f"{MAX_PIXELS:,} are read: reduce it"
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
    """Reads the central square of an image file, resized to `size` x `size`; see `read_rgb`."""
    return central_square(read_rgb(path), size)


def central_square(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """Crops the central square of an image and resizes it with an antialiased Lanczos filter."""
    fitted = ImageOps.fit(Image.fromarray(image), (size, size), method=Image.Resampling.LANCZOS)
    return np.array(fitted)


def save_png(image: Image.Image, path: str | Path, **metadata: object) -> None:
    """Writes a PNG with `metadata` as text chunks; in a distributed run one process calls this."""
    info = PngInfo()
    for key, value in metadata.items():
        info.add_itxt(key, str(value))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, pnginfo=info)


def save_gif(
    frames: UInt8[np.ndarray, "F H W 3"],
    path: str | Path,
    *,
    milliseconds: int = 120,
    **metadata: object,
) -> None:
    """Writes a looping GIF of at least 128 pixels a side, with `metadata` as its comment.

    Args:
      frames: the frames in order.
      path: the file.
      milliseconds: duration of each frame.
      **metadata: entries of the comment.
    """
    scale = max(1, 128 // frames.shape[1])
    size = (frames.shape[2] * scale, frames.shape[1] * scale)
    images = [Image.fromarray(frame).resize(size, Image.BICUBIC) for frame in frames]
    comment = "; ".join(f"{key}: {value}" for key, value in metadata.items())
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=milliseconds,
        loop=0,
        comment=comment.encode(),
    )
