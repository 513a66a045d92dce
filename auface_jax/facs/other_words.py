"""Descriptions in other words than ours: what the text recogniser is judged on, and never trained.

`other_words.csv` beside this file was written before there was any paraphrasing to train with:
short, clinical, colloquial, and in the second person. A test holds that it shares no run of five
words with the dictionary or with the tables of synonyms. Neither training nor the choice of
thresholds reads it.
"""

import csv
import dataclasses
import importlib.resources

import numpy as np
from jaxtyping import Int8

from auface_jax.facs.action_units import ACTION_UNITS

STYLES = ("short", "clinical", "colloquial", "second person")


@dataclasses.dataclass(frozen=True, eq=False)
class OtherWords:
    """The descriptions, row by row.

    Attributes:
      texts: M descriptions, no two equal.
      labels: the units that they state.
      styles: one of `STYLES` each.
    """

    texts: tuple[str, ...]
    labels: Int8[np.ndarray, "M A"]
    styles: tuple[str, ...]


def load_other_words() -> OtherWords:
    """Reads the file."""
    file = importlib.resources.files("auface_jax.facs") / "other_words.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return OtherWords(
        texts=tuple(row["text"] for row in rows),
        labels=np.array([[row[u.code] for u in ACTION_UNITS] for row in rows], np.int8),
        styles=tuple(row["style"] for row in rows),
    )
