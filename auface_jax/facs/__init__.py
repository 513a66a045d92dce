"""Action units, their interactions, and descriptions of them in text.

Pure NumPy, without JAX. In reading order: `action_units`, `interactions`, `degrees`,
`descriptions`, `processor`; then `lexicon`, `synonyms`, `phrases`, `paraphrase` and `other_words`,
with which a recogniser of text is trained and tested.
"""

from auface_jax.facs.action_units import (
    ACTION_UNITS,
    AU_NUMBERS,
    ActionUnit,
    labels_from_units,
    parse_units,
)
from auface_jax.facs.degrees import DEGREES, degree, degree_word, parse_scores
from auface_jax.facs.descriptions import (
    CONSTRUCT_NAMES,
    Dictionary,
    DictionaryError,
    load_dictionary,
)
from auface_jax.facs.interactions import INTERACTIONS, Interaction
from auface_jax.facs.processor import constructs, describe, describe_constructs

__all__ = [
    "ACTION_UNITS",
    "AU_NUMBERS",
    "CONSTRUCT_NAMES",
    "DEGREES",
    "INTERACTIONS",
    "ActionUnit",
    "Dictionary",
    "DictionaryError",
    "Interaction",
    "constructs",
    "degree",
    "degree_word",
    "describe",
    "describe_constructs",
    "labels_from_units",
    "load_dictionary",
    "parse_scores",
    "parse_units",
]
