"""Sheets that show pictures of several kinds side by side, with the action units of each."""

import numpy as np
from PIL import Image

from auface_jax.data.loading.example_selection import Records
from auface_jax.facs import AU_NUMBERS
from auface_jax.images import sheets


def comparison_sheet(records: Records, made: np.ndarray) -> Image.Image:
    """reference | real | generated, the units beside each row."""
    captions = [unit_caption(labels) for labels in records["labels"]]
    return sheets.sheet(
        [records["reference"], records["image"], made],
        ["reference", "real", "generated"],
        captions,
        scale=max(1, 128 // made.shape[1]),
    )


def unit_caption(labels: np.ndarray) -> str:
    """ "AU6 AU12" in lines of four units."""
    units = [f"AU{n}" for n, label in zip(AU_NUMBERS, labels, strict=True) if label == 1]
    lines = [" ".join(units[start : start + 4]) for start in range(0, len(units), 4)]
    return "\n".join(lines) or "no unit"
