"""The dynamic AU text processor: label vector -> constructs -> text.

A construct is a combination of units that is described as one ("AU6+AU12+AU15") or a single unit
("AU10"). The algorithm of the paper (arXiv 2603.18588) determines the constructs of a label vector;
one of the five texts of each construct is chosen at random. The text of a neutral face is ours,
since the paper has no label vectors without a unit.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Num

from auface_jax.facs.action_units import ACTION_UNITS, AU_NUMBERS
from auface_jax.facs.degrees import degree_word
from auface_jax.facs.descriptions import CONSTRUCT_NAMES, Dictionary, load_dictionary
from auface_jax.facs.interactions import INTERACTIONS

# A label vector: 0 or 1 for each unit, in the order of `ACTION_UNITS`.
Labels = Num[np.ndarray, "A"] | Bool[np.ndarray, "A"] | Sequence[float]


def constructs(labels: Labels) -> tuple[str, ...]:
    """Finds the constructs that describe a label vector, in the order of the algorithm.

    1. Scan the combinations in their order; one applies when all its units are active.
    2. A combination of three or four units takes them out at once: later ones no longer see
       them. A combination of two only marks its units, so that a unit can belong to several
       pairs (AU10+AU15 and AU12+AU15).
    3. After the scan the marked units are dropped; what is left is added unit by unit.

    Args:
      labels: label vector, of any numeric or boolean type.

    Returns:
      Names from `descriptions.CONSTRUCT_NAMES`; empty when no unit is active.

    Raises:
      ValueError: `labels` does not have 12 values, or one of them is neither 0 nor 1.
    """
    vector = _checked(labels)
    active = {number for number, present in zip(AU_NUMBERS, vector, strict=True) if present}
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


def describe(labels: Labels, rng: np.random.Generator, dictionary: Dictionary | None = None) -> str:
    """Describes a label vector by one random text for each construct, joined by spaces.

    Args:
      labels: label vector, as for `constructs`.
      rng: generator that samples one integer for each construct, or one for a neutral face.
      dictionary: dictionary of texts; None is the project's own.

    Returns:
      The description; without an active unit, that of a neutral face.
    """
    return describe_constructs(constructs(labels), rng, dictionary)


def describe_constructs(
    names: Sequence[str],
    rng: np.random.Generator,
    dictionary: Dictionary | None = None,
    *,
    intensities: Float[np.ndarray, "A"] | Sequence[float] | None = None,
) -> str:
    """Describes constructs by one random text each, joined by spaces.

    Args:
      names: names of constructs, from `constructs`; none for a neutral face.
      rng: generator as for `describe`; intensities do not change its samples.
      dictionary: dictionary of texts; None is the project's own.
      intensities: intensity of each unit, 0 to 1, by which the degree of each construct is
        written before its text, as in "Marked: The cheeks rise ..."; None gives plain texts.

    Raises:
      ValueError: a name is not that of a construct.
    """
    texts = construct_texts(names, rng, dictionary)
    if intensities is not None:
        for index, name in enumerate(names):
            if word := degree_word(name, intensities):
                texts[index] = f"{word}: {texts[index]}"
    return " ".join(texts)


def construct_texts(
    names: Sequence[str], rng: np.random.Generator, dictionary: Dictionary | None = None
) -> list[str]:
    """Samples one text for each construct, or one of a neutral face when there are none.

    Raises:
      ValueError: a name is not that of a construct.
    """
    dictionary = dictionary or load_dictionary()
    unknown = [name for name in names if name not in dictionary.constructs]
    if unknown:
        raise ValueError(
            f"unknown constructs {unknown}; the constructs are {', '.join(CONSTRUCT_NAMES)}"
        )
    choices = [dictionary.constructs[name] for name in names] or [dictionary.neutral]
    return [texts[rng.integers(len(texts))] for texts in choices]


def _checked(labels: Labels) -> np.ndarray:
    """Returns the labels as an array of 12 values, each 0 or 1.

    Raises:
      ValueError: the number of values is another, or a value is neither 0 nor 1.
    """
    vector = np.asarray(labels)
    if vector.shape != (len(AU_NUMBERS),):
        raise ValueError(
            f"labels have shape {vector.shape}; expected ({len(AU_NUMBERS)},), one value for "
            f"each of {', '.join(unit.code for unit in ACTION_UNITS)} "
            "(facs.labels_from_units([6, 12]) builds such a vector)"
        )
    for index, value in enumerate(vector.tolist()):
        if isinstance(value, str | bytes) or value not in (0, 1):
            raise ValueError(
                f"label {value!r} at index {index} ({ACTION_UNITS[index].code}) is neither 0 "
                "(absent) nor 1 (present); threshold intensities first, and set a unit that the "
                "source does not code to 0"
            )
    return vector
