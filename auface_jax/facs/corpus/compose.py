"""Descriptions of any label vector in the words of the corpus.

A text of the corpus states a few units. A label vector with other units is told by several texts of
one voice, end to end, whose units together are those of the vector and no more.
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int8

from auface_jax.facs.action_units import AU_NUMBERS
from auface_jax.facs.corpus import Description, load_corpus
from auface_jax.facs.degrees import code

_LONGEST = 60  # words of a text that is joined to others; longer ones stand alone


def corpus_text(
    units: Sequence[int],
    rng: np.random.Generator,
    *,
    split: str = "train",
    intensities: Float[np.ndarray, "A"] | Sequence[float] | None = None,
) -> tuple[str, Int8[np.ndarray, "A"]]:
    """Describes units in the words of one voice of the corpus, or of several where it needs them.

    Args:
      units: FACS numbers of the active units; none for a neutral face.
      rng: the only source of chance.
      split: a split of the corpus.
      intensities: intensity of each of the twelve units, 0 to 1. A text that states a degree is
        taken only where that of the unit is the same or the next; 0 means that a present unit was
        not scored, and None that none was: texts with degrees are left out then.

    Returns:
      The text, and the degree that it states of each unit, 1 to 5, or 0.

    Raises:
      ValueError: a number is not that of a unit, or the split cannot tell some of the units; the
        small validation split has no plain text of some unit alone.
    """
    present = frozenset(units)
    fitting = _fitting(split, present)
    if intensities is None:
        fitting = [d for d in fitting if not d.degrees.any()]
    else:
        fitting = [d for d in fitting if _agrees(d, intensities)]
    whole = [d for d in fitting if d.units == present]
    if whole and (len(present) < 2 or rng.random() < 0.5):
        chosen = whole[rng.integers(len(whole))]
        return chosen.text, chosen.degrees
    voices = sorted({d.voice for d in fitting})
    voice = voices[rng.integers(len(voices))]
    own = [d for d in fitting if d.voice == voice and len(d.text.split()) <= _LONGEST]
    left, texts, degrees = set(present), [], np.zeros(len(AU_NUMBERS), np.int8)
    while left:
        usable = [d for d in own if d.units <= left] or [d for d in fitting if d.units <= left]
        if not usable:
            raise ValueError(
                f"the split {split!r} of the corpus has no text that states some of the units "
                f"{sorted(left)} and no others; the splits train and test tell all units"
            )
        sizes = np.array([len(d.units) for d in usable], np.float64) ** 2
        chosen = usable[rng.choice(len(usable), p=sizes / sizes.sum())]
        left -= chosen.units
        texts.append(chosen.text)
        degrees += chosen.degrees
    return " ".join(text if text[-1] in ".!?" else f"{text}." for text in texts), degrees


def _agrees(description: Description, intensities: Sequence[float]) -> bool:
    """Tells whether every degree of a text is that of the intensities, or next to it."""
    return all(
        not stated or (value > 0 and abs(int(stated) - code(value)) <= 1)
        for stated, value in zip(description.degrees, intensities, strict=True)
    )


@functools.lru_cache(maxsize=4096)
def _fitting(split: str, present: frozenset[int]) -> list[Description]:
    """Lists the texts that state some of the units, no other ones, and deny none.

    Raises:
      ValueError: a number is not that of a unit.
    """
    if unknown := present - set(AU_NUMBERS):
        raise ValueError(f"unknown action units {sorted(unknown)}; the units are {AU_NUMBERS}")
    return [
        d
        for d in load_corpus(split)
        if d.units <= present and bool(d.units) == bool(present) and not d.denied & present
    ]
