"""Sheets of references, real and generated pictures, with the action units of each row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from auface_jax.facs import AU_NUMBERS
from auface_jax.images import sheets


def comparison_sheet(records: Mapping[str, Any], made: UInt8[np.ndarray, "N S S 3"]) -> Image.Image:
    """Draws a sheet of reference, real and generated picture, with the units beside each row.

    Args:
      records: N records with their references, images and labels.
      made: generated pictures for the records.
    """
    captions = [unit_caption(labels) for labels in records["labels"]]
    return sheets.sheet(
        [records["reference"], records["image"], made],
        ["reference", "real", "generated"],
        captions,
        scale=max(1, 128 // made.shape[1]),
    )


def unit_caption(labels: Int[np.ndarray, "A"]) -> str:
    """The active units as a caption such as "AU6 AU12", four units on a line."""
    units = [f"AU{n}" for n, label in zip(AU_NUMBERS, labels, strict=True) if label == 1]
    lines = [" ".join(units[start : start + 4]) for start in range(0, len(units), 4)]
    return "\n".join(lines) or "no unit"
