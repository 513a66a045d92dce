"""Masks of the part of a face to generate anew: regions by name, or a mask image -> image tokens.

Regions are boxes of the aligned crop, in which every face has its eyes and nose at the same place.
"""

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy.ndimage import gaussian_filter

from auface_jax.faces.template import EDIT_REGIONS

_MIN_COVERAGE = 0.3  # share of a token's square that a region must cover


def region_mask(names: str, size: int, margin: float = 0.0) -> Float[np.ndarray, "S S"]:
    """Computes the share of each pixel that lies in the regions.

    Args:
      names: names in `EDIT_REGIONS`, joined by commas.
      size: image size S.
      margin: margin that the crop was made with, a share of the crop.

    Raises:
      ValueError: a name is unknown.
    """
    wanted = [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in EDIT_REGIONS]:
        raise ValueError(
            f"region {unknown[0]!r} is not one of {', '.join(EDIT_REGIONS)} (nor an image file)"
        )
    edges = np.arange(size + 1) / size * (1 + 2 * margin) - margin
    mask = np.zeros((size, size))
    for name in wanted:
        for left, top, right, bottom in EDIT_REGIONS[name]:
            columns, rows = (
                np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None)
                for low, high in ((left, right), (top, bottom))
            )
            mask = np.maximum(mask, np.outer(rows, columns))
    return mask / (edges[1] - edges[0]) ** 2


def read_mask(path: str, size: int) -> Float[np.ndarray, "S S"]:
    """Reads a mask image, white where the face is generated anew, that fits the reference's crop.

    Args:
      path: an image file.
      size: image size S.

    Raises:
      ValueError: the image is not square.
    """
    image = Image.open(path).convert("L")
    if image.width != image.height:
        raise ValueError(f"the mask {path} is {image.width} x {image.height} px; it must be square")
    return np.asarray(image.resize((size, size), Image.BOX), np.float64) / 255.0


def token_mask(mask: Float[np.ndarray, "S S"], grid: int) -> Bool[np.ndarray, " N"]:
    """Returns True for the tokens that a mask covers well, or for the one that it covers best.

    Args:
      mask: share of each pixel to generate anew.
      grid: positions along one side.

    Raises:
      ValueError: the mask is black everywhere.
    """
    cell = mask.shape[0] // grid
    covered = mask.reshape(grid, cell, grid, cell).mean((1, 3)).ravel()
    if not covered.any():
        raise ValueError(
            "the mask is black everywhere, so nothing would be generated anew; make a part white"
        )
    return covered >= min(_MIN_COVERAGE, covered.max())


def blend_weight(tokens: Bool[np.ndarray, " N"], size: int) -> Float[np.ndarray, "S S 1"]:
    """Returns the weight of the generated image: 1 on the tokens, 0 a token's width beyond."""
    grid = round(len(tokens) ** 0.5)
    cell = size // grid
    cells = tokens.reshape(grid, grid).repeat(cell, 0).repeat(cell, 1).astype(np.float64)
    soft = gaussian_filter(cells, cell / 4, mode="nearest", truncate=3.0)
    # 1/2 at a token's edge and 1/4 at its corner: stretched, so that all of the token is new.
    return np.clip(4 * soft, 0, 1)[..., None]
