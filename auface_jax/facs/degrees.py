"""Degrees of a unit on the five-step scale of FACS, and the words for them.

FACS (Ekman, Friesen and Hager, 2002) scores a present unit from A, a trace, to E, the maximum of
the face. Data sets write the letters as codes 1 to 5, and 0 for an absent unit; here an intensity
is the code divided by 5, so that 1.0 is E.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from auface_jax.facs.action_units import AU_NUMBERS, parse_units

# FACS names C "marked or pronounced" and D "severe or extreme"; texts use one word for each.
DEGREES = {"A": "Trace", "B": "Slight", "C": "Marked", "D": "Severe", "E": "Maximum"}
_LETTERS = tuple(DEGREES)
# Adverbs of each letter, as people use them.
ADVERBS = {
    "A": ("barely", "faintly", "almost imperceptibly", "just perceptibly", "minimally", "hardly"),
    "B": ("slightly", "a little", "a bit", "gently", "mildly", "weakly", "softly"),
    "C": ("clearly", "noticeably", "visibly", "moderately", "markedly", "distinctly"),
    "D": ("strongly", "very much", "a lot", "severely", "really hard", "intensely", "powerfully"),
    "E": ("maximally", "as far as it goes", "to the limit", "extremely", "with full force"),
}  # fmt: skip


def degree(intensity: float) -> str:
    """The letter of a present unit: that of the nearest code, but at least A.

    Args:
      intensity: intensity of the unit, above 0 and at most 1; a value halfway between two codes
        counts as the stronger.

    Raises:
      ValueError: the intensity is out of range.
    """
    if not 0 < intensity <= 1:
        raise ValueError(
            f"intensity {intensity!r} is not above 0 and at most 1 (an absent unit has no degree; "
            "divide a code of 1 to 5 by 5)"
        )
    return _LETTERS[code(intensity) - 1]


def code(intensity: float) -> int:
    """The code of a present unit, 1 (A) to 5 (E); arguments as for `degree`, but unchecked."""
    return max(int(5 * float(intensity) + 0.5 + 1e-6), 1)


def degree_word(
    construct: str, intensities: Float[np.ndarray, "A"] | Sequence[float]
) -> str | None:
    """The word for the degree of a construct, which is that of its units' mean intensity.

    Args:
      construct: name of the construct, such as "AU6+AU12".
      intensities: intensity of each unit, 0 to 1. A present unit at intensity 0 was not scored
        and does not count.

    Returns:
      A word of `DEGREES`; None where no unit of the construct was scored.
    """
    units = [int(code.removeprefix("AU")) for code in construct.split("+")]
    scored = [value for unit in units if (value := intensities[AU_NUMBERS.index(unit)]) > 0]
    return DEGREES[degree(float(np.mean(scored)))] if scored else None


def adverb(intensity: float, rng: np.random.Generator) -> str:
    """Samples an adverb for an intensity above 0."""
    choices = ADVERBS[_LETTERS[code(intensity) - 1]]
    return choices[rng.integers(len(choices))]


def state_degree(text: str, intensity: float, rng: np.random.Generator) -> str:
    """Adds the degree to a text of one or more units, in one of the ways that people write it.

    Args:
      text: a sentence or a phrase.
      intensity: above 0 and at most 1.
      rng: the only source of chance.

    Returns:
      The text with the word of FACS before it ("Marked: ..."), an adverb before or after it, the
      letter after it ("... (C)"), or a percentage.
    """
    letter, percent = _LETTERS[code(intensity) - 1], f"{round(20 * intensity) * 5 or 5}%"
    body = text.rstrip(".!")
    end = text[len(body) :]
    kind = rng.integers(6)
    if kind == 0:
        return f"{DEGREES[letter]}: {text}"
    if kind == 1:
        return f"{body} ({(letter, f'degree {letter}')[rng.integers(2)]}){end}"
    if kind == 2:
        return f"{body}, {adverb(intensity, rng)}{end}"
    if kind == 3:
        return f"{adverb(intensity, rng).capitalize()}: {text}"
    if kind == 4:
        return f"{body}, at {percent}{end}"
    return f"{body} ({percent}){end}"


def parse_scores(text: str) -> tuple[tuple[int, ...], Float32[np.ndarray, "A"] | None]:
    """Parses a list of units with or without FACS degrees, such as "6C,12E" or "6,12".

    Returns:
      The numbers, as from `parse_units`, and the intensities; None where no unit has a degree.

    Raises:
      ValueError: `parse_units` refuses the text, only some of the units have a degree, or one of
        them has two.
    """
    letters = re.findall(r"(?<=[0-9])([A-Ea-e])?(?=[\s,+]|$)", text)
    numbers = parse_units(re.sub(r"(?<=[0-9])[A-Ea-e](?=[\s,+]|$)", "", text))
    if not any(letters):
        return numbers, None
    if not all(letters):
        raise ValueError(f"{text!r}: give every unit a degree, A to E, or none, as in 6C,12E")
    intensities = np.zeros(len(AU_NUMBERS), np.float32)
    for number, letter in zip(numbers, letters, strict=True):
        index, intensity = AU_NUMBERS.index(number), (_LETTERS.index(letter.upper()) + 1) / 5
        if intensities[index] not in (0, np.float32(intensity)):
            raise ValueError(f"{text!r}: AU{number} has two degrees; give it one")
        intensities[index] = intensity
    return numbers, intensities
