"""The corpus of descriptions: what faces do, told in many voices.

`CARD.md` beside this file says how it was written. Each file is one voice, in the folder of its
split: `train/VOICE.csv`, `validation/VOICE.csv` or `test/VOICE.csv`. Its columns:

    codes    the units in FACS notation, such as 1B+4+12D: a letter is a degree that the text
             states; 0 is a neutral face
    denied   units that the text says are absent, such as 6 17; mostly empty
    text     the description
"""

import csv
import dataclasses
import functools
import importlib.resources

import numpy as np
from jaxtyping import Int8

from auface_jax.facs.action_units import labels_from_units
from auface_jax.facs.codes import parse_codes

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Description:
    """One text of the corpus and what it states.

    Attributes:
      voice: name of the voice.
      text: the description.
      units: FACS numbers of the active units; empty for a neutral face.
      degrees: degree that the text states of each unit in the order of `AU_NUMBERS`: 1 (A) to 5
        (E), or 0 where it states none.
      denied: FACS numbers of the units that the text says are absent.
    """

    voice: str
    text: str
    units: frozenset[int]
    degrees: Int8[np.ndarray, "A"]
    denied: frozenset[int]

    @property
    def labels(self) -> Int8[np.ndarray, "A"]:
        """The label vector."""
        return labels_from_units(self.units)


@functools.cache
def load_corpus(split: str) -> tuple[Description, ...]:
    """Reads the descriptions of a split, voice by voice.

    Raises:
      ValueError: the split is unknown, or a line of a file cannot be read; the message names it.
    """
    if split not in SPLITS:
        raise ValueError(f"the corpus has no split {split!r}; its splits are {', '.join(SPLITS)}")
    folder = importlib.resources.files("auface_jax.facs.corpus") / split
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".csv")), key=lambda f: f.name)
    found = []
    for file in files:
        voice = file.name.removesuffix(".csv")
        with file.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), start=2):
                try:
                    units, degrees = parse_codes(row["codes"])
                    denied = frozenset(map(int, row["denied"].split()))
                except ValueError as error:
                    raise ValueError(f"{split}/{file.name}, line {number}: {error}") from error
                found.append(Description(voice, row["text"], units, degrees, denied))
    return tuple(found)
