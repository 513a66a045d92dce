"""Descriptions in words other than ours, on which the text recogniser is tested, never trained.

`other_words.csv` beside this file was written before the paraphrases were: short, clinical,
colloquial, and in the second person. A test ensures that it shares no sequence of five words with
the dictionary or with the tables of synonyms. Neither training nor the choice of thresholds reads
it.
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
    """Descriptions with their label vectors.

    Attributes:
      texts: M different descriptions.
      labels: the label vector that each of them states.
      styles: the style of each, one of `STYLES`.
    """

    texts: tuple[str, ...]
    labels: Int8[np.ndarray, "M A"]
    styles: tuple[str, ...]


def load_other_words() -> OtherWords:
    """Reads the descriptions from their file."""
    file = importlib.resources.files("auface_jax.facs") / "other_words.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return OtherWords(
        texts=tuple(row["text"] for row in rows),
        labels=np.array([[row[u.code] for u in ACTION_UNITS] for row in rows], np.int8),
        styles=tuple(row["style"] for row in rows),
    )
