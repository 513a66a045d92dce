"""Pixels for people: uint8 <-> float, captioned sheets, PNG and GIF files that say what they
are."""

import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo


def to_float(image: UInt8[Array, "*batch H W 3"]) -> Float[Array, "*batch H W 3"]:
    """uint8 -> float32 in [-1, 1]."""
    return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image: Float[Array, "*batch H W 3"]) -> UInt8[Array, "*batch H W 3"]:
    """float, nominally in [-1, 1] -> uint8, clipped and rounded."""
    return jnp.round((jnp.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def psnr(image: Float[Array, "B H W 3"], other: Float[Array, "B H W 3"]) -> Float[Array, " B"]:
    """Peak signal-to-noise ratio of each pair in dB; images in [-1, 1], so the peak is 2."""
    mse = jnp.square(image - jnp.clip(other, -1.0, 1.0)).mean((1, 2, 3))
    return 10.0 * jnp.log10(4.0 / jnp.maximum(mse, 1e-10))


def sheet(
    columns: Sequence[UInt8[np.ndarray, "R H W 3"]],
    titles: Sequence[str],
    captions: Sequence[str],
    *,
    scale: int = 1,
) -> Image.Image:
    """A table of pictures: one column a list of images, titles above, a caption right of each row.

    Raises:
      ValueError: columns of different lengths, or not one title a column and one caption a row.
    """
    rows = len(captions)
    if any(len(column) != rows for column in columns) or len(titles) != len(columns):
        raise ValueError(
            f"a sheet of {rows} captions and {len(titles)} titles got columns of lengths "
            f"{[len(column) for column in columns]}"
        )
    size = columns[0][0].shape[0] * scale
    font = ImageFont.load_default(max(11, size // 9))
    title_height, caption_width = (
        2 * int(font.size),
        max(
            (int(font.getlength(line)) for caption in captions for line in caption.split("\n")),
            default=0,
        ),
    )
    pad = 2
    page = Image.new(
        "RGB",
        (len(columns) * (size + pad) + caption_width + 12, title_height + rows * (size + pad)),
        "white",
    )
    draw = ImageDraw.Draw(page)
    for c, title in enumerate(titles):
        draw.text((c * (size + pad) + size / 2, title_height / 2), title, "black", font, "mm")
    for r, caption in enumerate(captions):
        top = title_height + r * (size + pad)
        for c, column in enumerate(columns):
            tile = Image.fromarray(np.asarray(column[r])).resize((size, size), Image.BICUBIC)
            page.paste(tile, (c * (size + pad), top))
        draw.text((len(columns) * (size + pad) + 6, top + size / 2), caption, "black", font, "lm")
    return page


def of_figure(figure: Figure) -> Image.Image:
    """A Matplotlib figure, drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


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
