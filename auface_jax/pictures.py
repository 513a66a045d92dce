"""Pixels for people: uint8 <-> float, captioned sheets, PNG and GIF files that say what they
are."""

import pathlib
from collections.abc import Sequence

import jax.numpy as jnp
import matplotlib
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

    A row is as high as its caption needs; a title that is wider than its column is cut.

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
    font, pad = text_font(max(11, size // 9)), 2
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox
    boxes = [measure((0, 0), caption, font) for caption in captions]
    title_height, caption_width = 2 * int(font.size), max((box[2] for box in boxes), default=0)
    heights = [max(size, round(box[3] + font.size / 2)) for box in boxes]
    page = Image.new(
        "RGB",
        (
            len(columns) * (size + pad) + round(caption_width) + 12,
            title_height + sum(heights) + rows * pad,
        ),
        "white",
    )
    draw = ImageDraw.Draw(page)
    for c, title in enumerate(titles):
        middle = (c * (size + pad) + size / 2, title_height / 2)
        draw.text(middle, _fitting(title, size, font), "black", font, "mm")
    top = title_height
    for r, (caption, height) in enumerate(zip(captions, heights, strict=True)):
        for c, column in enumerate(columns):
            tile = Image.fromarray(np.asarray(column[r])).resize((size, size), Image.BICUBIC)
            page.paste(tile, (c * (size + pad), top))
        left_middle = (len(columns) * (size + pad) + 6, top + height / 2)
        draw.text(left_middle, caption, "black", font, "lm")
        top += height + pad
    return page


def text_font(size: float) -> ImageFont.FreeTypeFont:
    """For Latin, Greek and Cyrillic letters, which Pillow's own font lacks but for the plainest."""
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _fitting(title: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The title, or as much of its beginning as fits, and an ellipsis."""
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(f"{title}…") > width:
        title = title[:-1]
    return f"{title}…"


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
