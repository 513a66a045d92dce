"""The dynamic AU text processor: a label row becomes constructs, and constructs become text.

A construct is a combination of units that is described as one ("AU6+AU12+AU15") or a single
unit ("AU10"). Which constructs a label row gives is fixed by the algorithm of the paper (arXiv
2603.18588); which of a construct's five texts is taken is random. The neutral text for a row
without any unit is ours: the paper has no such rows.
"""

from collections.abc import Sequence

import numpy as np

from auface_jax.facs.action_units import ACTION_UNITS, AU_NUMBERS
from auface_jax.facs.degrees import degree_word
from auface_jax.facs.descriptions import CONSTRUCT_NAMES, Dictionary, load_dictionary
from auface_jax.facs.interactions import INTERACTIONS


def constructs(labels) -> tuple[str, ...]:
    """The constructs that describe a label row, in the order of the algorithm.

    1. Scan the combinations in their order; one applies when all its units are active.
    2. A combination of three or four units takes them out at once: later ones no longer see
       them. A combination of two only marks its units, so that a unit can belong to several
       pairs (AU10+AU15 and AU12+AU15).
    3. After the scan the marked units are dropped; what is left is added unit by unit.

    Args:
      labels: [A] of 0 and 1, in the order of `ACTION_UNITS`; any numeric or boolean type.

    Returns:
      Names from `descriptions.CONSTRUCT_NAMES`; empty when no unit is active.

    Raises:
      ValueError: not a row of 12 values, or a value that is neither 0 nor 1.
    """
    row = _checked(labels)
    active = {number for number, present in zip(AU_NUMBERS, row, strict=True) if present}
    marked: set[int] = set()
    names = []
    for interaction in INTERACTIONS:
        if not active.issuperset(interaction.units):
            continue
        names.append(interaction.name)
        if len(interaction.units) > 2:
            active.difference_update(interaction.units)
        else:
            marked.update(interaction.units)
    names.extend(u.code for u in ACTION_UNITS if u.number in active and u.number not in marked)
    return tuple(names)


def describe(labels, rng: np.random.Generator, dictionary: Dictionary | None = None) -> str:
    """A description of a label row: one random text for each construct, joined by spaces.

    Args:
      labels: [A] of 0 and 1, as for `constructs`.
      rng: draws one integer for each construct (one in all for a neutral face).
      dictionary: the texts; None takes the project's own.

    Returns:
      The text; a text for a neutral face when no unit is active.
    """
    return describe_constructs(constructs(labels), rng, dictionary)


def describe_constructs(
    names: Sequence[str],
    rng: np.random.Generator,
    dictionary: Dictionary | None = None,
    *,
    intensities=None,
) -> str:
    """As `describe`, for constructs that are known already; none of them is a neutral face.

    Args:
      names: from `constructs`.
      rng: as for `describe`; the same draws with and without intensities.
      dictionary: the texts; None takes the project's own.
      intensities: [A] in [0, 1]; puts the degree of each construct before its text, as in
        "Marked: The cheeks rise ...". None gives the plain text.
    """
    texts = construct_texts(names, rng, dictionary)
    if intensities is not None:
        for place, name in enumerate(names):
            if word := degree_word(name, intensities):
                texts[place] = f"{word}: {texts[place]}"
    return " ".join(texts)


def construct_texts(
    names: Sequence[str], rng: np.random.Generator, dictionary: Dictionary | None = None
) -> list[str]:
    """One random text for each construct; for none of them, one of a neutral face."""
    dictionary = dictionary or load_dictionary()
    unknown = [name for name in names if name not in dictionary.constructs]
    if unknown:
        raise ValueError(
            f"unknown constructs {unknown}; the constructs are {', '.join(CONSTRUCT_NAMES)}"
        )
    choices = [dictionary.constructs[name] for name in names] or [dictionary.neutral]
    return [texts[rng.integers(len(texts))] for texts in choices]


def _checked(labels) -> np.ndarray:
    """The labels as an array of 12 values, each 0 or 1."""
    row = np.asarray(labels)
    if row.shape != (len(AU_NUMBERS),):
        raise ValueError(
            f"labels have shape {row.shape}; expected ({len(AU_NUMBERS)},), one value for each of "
            f"{', '.join(unit.code for unit in ACTION_UNITS)} "
            "(facs.labels_from_units([6, 12]) builds such a row)"
        )
    for index, value in enumerate(row.tolist()):
        if isinstance(value, str | bytes) or value not in (0, 1):
            raise ValueError(
                f"label {value!r} at index {index} ({ACTION_UNITS[index].code}) is neither 0 "
                "(absent) nor 1 (present); threshold intensities first, and set a unit that the "
                "source does not code to 0"
            )
    return row
