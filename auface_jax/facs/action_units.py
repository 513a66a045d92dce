"""The 12 action units of the Facial Action Coding System (FACS) that the project codes.

The order of `ACTION_UNITS` is the order of every label vector, probability vector and table.
Muscles and pulls follow the FACS manual (Ekman, Friesen and Hager, 2002).
"""

import dataclasses
import operator
import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int8


@dataclasses.dataclass(frozen=True)
class ActionUnit:
    """One action unit.

    Attributes:
      number: the FACS number, such as 12.
      name: the FACS name, such as "Lip corner puller".
      muscles: the muscles that drive it, in Latin.
      pulls: (region, direction) pairs of every part of the face that the unit visibly moves;
        the direction is "up", "down", "inward", "outward", "tight" or "pressed".
      also_moves: regions that also move under a strong contraction.
    """

    number: int
    name: str
    muscles: tuple[str, ...]
    pulls: tuple[tuple[str, str], ...]
    also_moves: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The name of the unit in constructs, such as "AU12"."""
        return f"AU{self.number}"

    @property
    def regions(self) -> tuple[str, ...]:
        """Every region that the unit moves, those of its pulls first, each once."""
        return tuple(dict.fromkeys((*(region for region, _ in self.pulls), *self.also_moves)))


ACTION_UNITS = (
    ActionUnit(
        1,
        "Inner brow raiser",
        ("frontalis, pars medialis",),
        (("inner brow", "up"),),
        ("forehead",),
    ),
    ActionUnit(
        2,
        "Outer brow raiser",
        ("frontalis, pars lateralis",),
        (("outer brow", "up"),),
        ("forehead",),
    ),
    ActionUnit(
        4,
        "Brow lowerer",
        ("corrugator supercilii", "depressor supercilii", "procerus"),
        (("brow", "down"), ("brow", "inward")),
        ("inner brow", "glabella"),
    ),
    ActionUnit(
        6,
        "Cheek raiser and lid compressor",
        ("orbicularis oculi, pars orbitalis",),
        (("cheek", "up"),),
        ("infraorbital triangle", "lower lid", "eye corner", "eye opening"),
    ),
    ActionUnit(
        7,
        "Lid tightener",
        ("orbicularis oculi, pars palpebralis",),
        (("lids", "tight"),),
        ("lower lid", "eye opening"),
    ),
    ActionUnit(
        10,
        "Upper lip raiser",
        ("levator labii superioris",),
        (("upper lip", "up"),),
        ("nasolabial furrow", "nostrils", "infraorbital triangle", "mouth"),
    ),
    ActionUnit(
        12,
        "Lip corner puller",
        ("zygomaticus major",),
        (("lip corners", "up"), ("lip corners", "outward")),
        ("nasolabial furrow", "mouth"),
    ),
    ActionUnit(
        14,
        "Dimpler",
        ("buccinator",),
        (("lip corners", "inward"), ("lip corners", "tight")),
        ("mouth",),
    ),
    ActionUnit(
        15,
        "Lip corner depressor",
        ("depressor anguli oris",),
        (("lip corners", "down"),),
        ("mouth",),
    ),
    ActionUnit(
        17,
        "Chin raiser",
        ("mentalis",),
        (("chin", "up"), ("lower lip", "up")),
        ("mouth",),
    ),
    ActionUnit(
        23,
        "Lip tightener",
        ("orbicularis oris",),
        (("mouth", "tight"),),
        ("upper lip", "lower lip"),
    ),
    ActionUnit(
        24,
        "Lip pressor",
        ("orbicularis oris",),
        (("mouth", "pressed"),),
        ("upper lip", "lower lip"),
    ),
)

AU_NUMBERS = tuple(unit.number for unit in ACTION_UNITS)

_LEGAL_UNITS = ", ".join(map(str, AU_NUMBERS))


def parse_units(text: str) -> tuple[int, ...]:
    """Parses a list of units such as "6,12", "AU6 AU12" or "6+12".

    Args:
      text: unit numbers, with or without "AU", separated by commas, spaces or plus signs.
        Blank text is an empty list, that of a neutral face.

    Returns:
      The numbers in the order of the text.

    Raises:
      ValueError: a part is not a number, or not that of one of the 12 units.
    """
    numbers = []
    for part in re.split(r"[\s,+]+", text.strip()):
        if not part:
            continue
        match = re.fullmatch(r"(?:AU)?([0-9]+)", part, flags=re.IGNORECASE | re.ASCII)
        if not match:
            raise ValueError(
                f"cannot read {part!r} as an action unit; write numbers separated by commas, "
                f"such as 6,12. The units are {_LEGAL_UNITS}."
            )
        numbers.append(int(match[1]))
    labels_from_units(numbers)
    return tuple(numbers)


def labels_from_units(units: Iterable[int]) -> Int8[np.ndarray, "A"]:
    """Builds the label vector in which exactly these units are present.

    Args:
      units: FACS numbers, such as [6, 12]; order and repetitions do not matter.

    Returns:
      0 or 1 for each unit, in the order of `ACTION_UNITS`.

    Raises:
      ValueError: a number is not that of one of the 12 units.
    """
    labels = np.zeros(len(AU_NUMBERS), np.int8)
    for unit in units:
        try:
            number = None if isinstance(unit, bool | np.bool_) else operator.index(unit)
        except TypeError:
            number = None
        if number not in AU_NUMBERS:
            raise ValueError(f"unknown action unit {unit!r}; the units are {_LEGAL_UNITS}.")
        labels[AU_NUMBERS.index(number)] = 1
    return labels
