"""The words in which an evaluation tells a system what to draw."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from auface_jax.data.sources.base import stable_seed
from auface_jax.evaluation.population import Population
from auface_jax.facs import labels_from_units
from auface_jax.facs.codes import parse_codes
from auface_jax.facs.other_words import load_other_words
from auface_jax.facs.wording import describe_in

DICTIONARY, OTHER_WORDS = "dictionary", "other-words"
# Wording -> kind of `facs.wording`, and split of the corpus.
_KINDS = {"paraphrase": ("paraphrase", "test"), "corpus-test": ("corpus", "test")}
WORDINGS = (DICTIONARY, *_KINDS, OTHER_WORDS)


def reworded(population: Population, wording: str) -> Population:
    """Tells the records of a population in other words.

    Args:
      population: records with texts of the dictionary.
      wording: "dictionary" changes nothing. "paraphrase" and "corpus-test" tell each record's units
        in paraphrases, or in the words of the corpus' test voices. "other-words" and the path of a
        CSV with the columns `codes` and `text` (see `facs.corpus`) have label vectors of their own:
        the records keep their people and lose their pictures, and texts are taken in turn.

    Raises:
      ValueError: the wording is unknown, or a line of the CSV cannot be read.
      OSError: the CSV cannot be read.
    """
    if wording == DICTIONARY:
        return population
    if wording in _KINDS:
        kind, split = _KINDS[wording]
        texts = []
        for record, labels in zip(population.record_ids, population.asked, strict=True):
            rng = np.random.default_rng(stable_seed(record, wording))
            texts.append(describe_in(kind, labels, rng, split=split).text)
        return dataclasses.replace(population, texts=tuple(texts))
    texts, labels = _read(wording)
    records = np.arange(len(texts)) % len(population)
    return dataclasses.replace(
        population,
        split_indices=np.arange(len(texts)),
        record_ids=tuple(f"{population.record_ids[r]}/{n}" for n, r in enumerate(records)),
        subjects=tuple(population.subjects[r] for r in records),
        labels=labels,
        texts=texts,
        reference=population.reference[records],
        image=None,
    )


def _read(wording: str) -> tuple[tuple[str, ...], Int8[np.ndarray, "M A"]]:
    """Reads texts and their label vectors."""
    if wording == OTHER_WORDS:
        other = load_other_words()
        return other.texts, other.labels
    if not wording.endswith(".csv"):
        raise ValueError(
            f"--wording {wording!r} is none of {', '.join(WORDINGS)}, and no file X.csv"
        )
    texts, labels = [], []
    with Path(wording).open(encoding="utf-8-sig", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            if not row.get("text") or not row.get("codes"):
                raise ValueError(
                    f"{wording}, line {number}: give a text and its codes, such as 1B+4+12D or 0, "
                    "in columns of these names"
                )
            try:
                labels.append(labels_from_units(parse_codes(row["codes"])[0]))
            except ValueError as error:
                raise ValueError(f"{wording}, line {number}: {error}") from error
            texts.append(row["text"])
    if len(texts) < 2:
        raise ValueError(f"{wording} has {len(texts)} text(s); an evaluation needs two")
    return tuple(texts), np.stack(labels)
