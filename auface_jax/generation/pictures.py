"""Pictures made of what a run draws: animations, sheets, and maps of AU attention."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from auface_jax.generation.generator import Generator
from auface_jax.generation.request import Request
from auface_jax.images import sheets

_LAST_FRAMES = 6  # repeats of a GIF's last frame, so that it stays for a moment


def animation(
    generator: Generator, request: Request, other: Request | None, decode: dict[str, Any]
) -> UInt8[np.ndarray, "F S S 3"]:
    """Draws the frames of a GIF.

    Args:
      generator: the run.
      request: the picture.
      other: picture to change into and back from; None shows how the first picture appears.
      decode: changes to the run's `decode` config.
    """
    if other is None:
        frames = generator.frames(request, **decode)
        return np.concatenate([frames, np.repeat(frames[-1:], _LAST_FRAMES, axis=0)])
    frames = generator.morph(request, other, **decode)
    return np.concatenate([frames, frames[::-1]])


def picture_sheet(
    reference: UInt8[np.ndarray, "S S 3"],
    name: str,
    made: UInt8[np.ndarray, "M S S 3"],
    text: str,
) -> Image.Image:
    """Shows a reference and the pictures of its person in one row, with their text."""
    columns = [reference[None], *made[:, None]]
    titles = [name, *(str(number) for number in range(len(made)))]
    # Longer texts get wider lines, so that they do not become a narrow column.
    caption = textwrap.fill(text, max(34, round((2.5 * len(text)) ** 0.5)))
    return sheets.sheet(columns, titles, [caption], scale=_scale(reference))


def attention_sheet(
    reference: UInt8[np.ndarray, "S S 3"],
    maps: Sequence[tuple[str, Float[np.ndarray, "h w"]]],
) -> Image.Image:
    """Shows where on a reference each sentence looks, one row a sentence.

    Args:
      reference: the face.
      maps: each sentence and its attention over the picture.
    """
    colours, size = matplotlib.colormaps["inferno"], reference.shape[0]
    most = max(values.max() for _, values in maps)
    tiles = []
    for _, values in maps:
        heat = Image.fromarray(np.asarray(values / most, np.float32)).resize((size, size), 2)
        heat = np.clip(np.asarray(heat), 0, 1)[..., None]
        glow = 255 * colours(heat[..., 0])[..., :3]
        tiles.append(np.round((1 - 0.75 * heat) * reference + 0.75 * heat * glow).astype(np.uint8))
    columns = [np.repeat(reference[None], len(maps), axis=0), np.stack(tiles)]
    captions = [textwrap.shorten(sentence, 240, placeholder=" …") for sentence, _ in maps]
    captions = [textwrap.fill(caption, 40) for caption in captions]
    return sheets.sheet(columns, ["reference", "attention"], captions, scale=_scale(reference))


def _scale(reference: UInt8[np.ndarray, "S S 3"]) -> int:
    """Returns the factor that enlarges small pictures for a sheet."""
    return max(1, 128 // reference.shape[0])
