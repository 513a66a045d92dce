"""The words that a description comes in: the dictionary's, a paraphrase's or the corpus's.

A network that is trained on the dictionary alone reads its sentences as codes of label vectors.
Training therefore draws a description anew each time that a record is met, in words of one of three
kinds, and with degrees in a share of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int8

from auface_jax.facs.action_units import AU_NUMBERS
from auface_jax.facs.corpus.compose import corpus_text
from auface_jax.facs.degrees import code, state_degree
from auface_jax.facs.descriptions import Dictionary
from auface_jax.facs.paraphrase import paraphrase
from auface_jax.facs.processor import Labels, construct_texts, constructs

KINDS = ("dictionary", "paraphrase", "corpus")

Intensities = Float[np.ndarray, "A"] | Sequence[float]


class Told(NamedTuple):
    """A description, and the degrees that it states.

    Attributes:
      text: the description.
      degrees: degree that the text states of each unit: 1 (A) to 5 (E), or 0 where it states none.
    """

    text: str
    degrees: Int8[np.ndarray, "A"]


@dataclasses.dataclass(frozen=True)
class Wording:
    """Shares of the kinds of words in which descriptions are drawn.

    Attributes:
      dictionary: share of the descriptions in the dictionary's sentences.
      paraphrase: share in their paraphrases, see `paraphrase`.
      corpus: share in the words of the corpus' training voices, see `corpus.compose`.
      degrees: share of the descriptions that state degrees, where intensities are known.
    """

    dictionary: float = 1.0
    paraphrase: float = 0.0
    corpus: float = 0.0
    degrees: float = 0.0

    def __post_init__(self):
        shares = [getattr(self, kind) for kind in KINDS]
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6 or not 0 <= self.degrees <= 1:
            given = ", ".join(f"{kind}={getattr(self, kind)}" for kind in (*KINDS, "degrees"))
            raise ValueError(
                f"data.wording is {given}: the shares of {', '.join(KINDS)} must be 0 or more and "
                "have the sum 1, and degrees must be from 0 to 1"
            )

    def describe(
        self,
        labels: Labels,
        rng: np.random.Generator,
        *,
        dictionary: Dictionary | None = None,
        intensities: Intensities | None = None,
    ) -> Told:
        """Describes a label vector in words of a kind that is drawn by the shares.

        Args:
          labels: label vector, as for `processor.constructs`.
          rng: the only source of chance.
          dictionary: dictionary of texts; None is the project's own.
          intensities: intensity of each unit, 0 to 1, or None.
        """
        if intensities is not None and not rng.random() < self.degrees:
            intensities = None
        kind = KINDS[rng.choice(len(KINDS), p=[getattr(self, kind) for kind in KINDS])]
        return describe_in(kind, labels, rng, dictionary=dictionary, intensities=intensities)


DICTIONARY_ONLY = Wording()


def describe_in(
    kind: str,
    labels: Labels,
    rng: np.random.Generator,
    *,
    dictionary: Dictionary | None = None,
    intensities: Intensities | None = None,
    split: str = "train",
) -> Told:
    """Describes a label vector in words of one kind.

    Args:
      kind: one of `KINDS`.
      labels: label vector, as for `processor.constructs`.
      rng: the only source of chance.
      dictionary: dictionary of texts; None is the project's own.
      intensities: intensity of each unit, whose degrees are stated; None states none.
      split: split of the corpus, for the kind "corpus".

    Raises:
      ValueError: the kind is unknown.
    """
    if kind == "corpus":
        units = [unit for unit, present in zip(AU_NUMBERS, labels, strict=True) if present]
        return Told(*corpus_text(units, rng, split=split, intensities=intensities))
    names = constructs(labels)
    texts = construct_texts(names, rng, dictionary)
    stated = np.zeros(len(AU_NUMBERS), np.int8)
    if kind == "paraphrase":
        if intensities is not None:
            for index in np.flatnonzero(np.asarray(labels) * np.asarray(intensities) > 0):
                stated[index] = code(intensities[index])
        return Told(paraphrase(labels, texts, rng, intensities=intensities), stated)
    if kind != "dictionary":
        raise ValueError(f"descriptions have no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    if intensities is not None:
        for index, name in enumerate(names):
            if (value := common_intensity(name, intensities)) is not None:
                texts[index] = state_degree(texts[index], value, rng)
                stated[_indices(name)] = code(value)
    return Told(" ".join(texts), stated)


def common_intensity(construct: str, intensities: Intensities) -> float | None:
    """Returns the mean intensity of a construct's units; None where they are too different.

    One word for a trace of one unit and the maximum of another would be false for both: all units
    must have been scored, and have degrees at most one letter from that of their mean.
    """
    values = [float(intensities[index]) for index in _indices(construct)]
    mean = float(np.mean(values))
    if min(values) <= 0 or any(abs(code(value) - code(mean)) > 1 for value in values):
        return None
    return mean


def _indices(construct: str) -> list[int]:
    """Returns the places of a construct's units in a label vector."""
    return [AU_NUMBERS.index(int(unit.removeprefix("AU"))) for unit in construct.split("+")]


def random_intensities(labels: Labels, rng: np.random.Generator) -> Float[np.ndarray, "A"]:
    """Draws an intensity of each present unit, uniform over the five degrees; 0 for the others."""
    drawn = rng.integers(1, 6, len(AU_NUMBERS)) / 5
    return np.where(np.asarray(labels) > 0, drawn, 0.0)
