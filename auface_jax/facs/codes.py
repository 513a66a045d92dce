"""Units in the codes of FACS, such as "1B+4+12D": reading the corpus', and writing people's."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int8

from auface_jax.facs.action_units import AU_NUMBERS
from auface_jax.facs.degrees import DEGREES, code, degree

_LETTERS = "".join(DEGREES)


def parse_codes(codes: str) -> tuple[frozenset[int], Int8[np.ndarray, "A"]]:
    """Parses units with optional degrees, such as "1B+4+12D"; "0" is a neutral face.

    Unlike `degrees.parse_scores`, some units may have a degree and others none, as in a text.

    Returns:
      The units, and the degree of each of the twelve: 1 (A) to 5 (E), or 0.

    Raises:
      ValueError: a part is no unit with or without a letter, or a unit is given twice.
    """
    degrees = np.zeros(len(AU_NUMBERS), np.int8)
    if codes == "0":
        return frozenset(), degrees
    units = []
    for part in codes.split("+"):
        match = re.fullmatch(r"([0-9]+)([A-E]?)", part)
        if not match or int(match[1]) not in AU_NUMBERS or int(match[1]) in units:
            raise ValueError(
                f"cannot read {part!r} of {codes!r}: give each unit once, with or without a "
                "letter A to E, as in 1B+4+12D, or 0 for a neutral face"
            )
        units.append(int(match[1]))
        if match[2]:
            degrees[AU_NUMBERS.index(units[-1])] = 1 + _LETTERS.index(match[2])
    return frozenset(units), degrees


def write_codes(
    units: Sequence[int], rng: np.random.Generator, intensities: Sequence[float] | None = None
) -> str:
    """Writes units as the codes that researchers paste, such as "AU6+AU12" or "6C, 12E".

    Args:
      units: FACS numbers of the active units, at least one.
      rng: the only source of chance.
      intensities: intensity of each unit, by which degrees are written; None writes none.
    """
    prefix = _one(("AU", "AU", "AU ", "au", "AU0", ""), rng)
    style = rng.integers(3)
    parts = []
    for unit in units:
        name = f"{prefix[:2]}{unit:02d}" if prefix == "AU0" else f"{prefix}{unit}"
        value = 0.0 if intensities is None else float(intensities[AU_NUMBERS.index(unit)])
        if value > 0:
            letter, number = degree(value), code(value)
            name += (letter, f" ({letter})", f" intensity {number}")[style]
        parts.append(name)
    text = _one(("+", " + ", ", ", " ", " and "), rng).join(parts)
    return _one(("{}", "{}", "{}", "action units {}", "FACS: {}", "code {}"), rng).format(text)


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    """Samples one of the choices."""
    return choices[rng.integers(len(choices))]
