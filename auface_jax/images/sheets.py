"""Sheets: tables of pictures with titles and captions."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont


def sheet(
    columns: Sequence[UInt8[np.ndarray, "R H W 3"]],
    titles: Sequence[str],
    captions: Sequence[str],
    *,
    scale: int = 1,
) -> Image.Image:
    """Draws a table of pictures with a title above each column and a caption right of each row.

    A row is as high as its caption needs; a title that is wider than its column is cut.

    Args:
      columns: images of each column, square and all of one size.
      titles: one title for each column.
      captions: one caption for each row, of one or more lines.
      scale: factor by which images are enlarged.

    Raises:
      ValueError: columns differ in length, or the number of titles or captions is wrong.
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
    """A font with Latin, Greek and Cyrillic letters, which Pillow's own font lacks.

    Args:
      size: size in pixels.
    """
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def _fitting(title: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    """The title or, if it is wider than `width`, as much of it as fits and an ellipsis."""
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(f"{title}…") > width:
        title = title[:-1]
    return f"{title}…"


def figure_image(figure: Figure) -> Image.Image:
    """Draws a Matplotlib figure as an image."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
