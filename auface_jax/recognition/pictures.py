"""Units of the frames of image and video files, as probabilities and as annotated pictures."""

import itertools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from auface_jax.facs import ACTION_UNITS
from auface_jax.images import frames
from auface_jax.recognition.image_recognizer import BATCH_SIZE, THRESHOLD, Recognizer


def recognize(
    recognizer: Recognizer,
    files: Sequence[pathlib.Path],
    *,
    every: int = 1,
    faults: list[str],
) -> Iterator[tuple[frames.Frame, Float[np.ndarray, " A"]]]:
    """Reads the units in every frame of some files.

    Args:
      recognizer: reads the units.
      files: image and video files.
      every: read every N-th frame of animations and videos.
      faults: list that gets a line for every file that cannot be read.

    Yields:
      Each frame and the probabilities of its units.
    """

    def readable() -> Iterator[frames.Frame]:
        for path in files:
            try:
                yield from frames.read_frames(path, recognizer.size, every=every)
            except frames.FrameError as error:
                faults.append(str(error))

    for batch in _chunks(readable(), BATCH_SIZE):
        found = recognizer(np.stack([frame.image for frame in batch]))
        yield from zip(batch, found, strict=True)


def _chunks(items: Iterator[frames.Frame], size: int) -> Iterator[list[frames.Frame]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def overlay(frame: frames.Frame, probabilities: Float[np.ndarray, " A"]) -> Image.Image:
    """Draws a face and, beside it, one bar for each unit with its probability.

    Bars of units that are read as present are red; a line across the bars marks the threshold.
    """
    side, bar_width, pad, font = 384, 150, 12, ImageFont.load_default(13)
    names = [f"AU{unit.number}  {unit.name}" for unit in ACTION_UNITS]
    left = side + 2 * pad + round(max(map(font.getlength, names)))
    page = Image.new("RGB", (left + bar_width + 50 + pad, side), "white")
    page.paste(Image.fromarray(frame.image).resize((side, side), Image.Resampling.BICUBIC))
    draw = ImageDraw.Draw(page)
    line = side / len(ACTION_UNITS)
    for row, (name, value) in enumerate(zip(names, probabilities, strict=True)):
        middle = (row + 0.5) * line
        present = value >= THRESHOLD
        ink, fill = ("#b3261e", "#d9534f") if present else ("#444444", "#b8c4d0")
        draw.text((side + pad, middle), name, ink, font, "lm")
        box = (left, middle - line / 3, left + bar_width, middle + line / 3)
        draw.rectangle(box, fill="#f0f0f0")
        draw.rectangle((*box[:2], left + bar_width * float(value), box[3]), fill=fill)
        draw.text((left + bar_width + pad, middle), f"{value:.2f}", ink, font, "lm")
    threshold = left + bar_width * THRESHOLD
    draw.line((threshold, line / 6, threshold, side - line / 6), fill="#777777")
    return page
