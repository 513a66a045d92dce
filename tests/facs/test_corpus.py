"""The corpus of descriptions: its files, its splits, and texts that are composed of it."""

import collections
import re

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.facs.corpus import SPLITS, compose, load_corpus
from auface_jax.facs.corpus.compose import corpus_text
from auface_jax.facs.degrees import code
from auface_jax.facs.other_words import load_other_words


def runs_of_five(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def all_runs(texts) -> set[tuple[str, ...]]:
    return set().union(*map(runs_of_five, texts))


def test_corpus_is_as_large_as_its_card_says():
    voices = {split: {d.voice for d in load_corpus(split)} for split in SPLITS}
    assert sum(len(load_corpus(split)) for split in SPLITS) >= 3_000
    assert sum(map(len, voices.values())) >= 12 and all(voices.values())
    assert not voices["train"] & voices["test"] and not voices["validation"] & voices["test"]


@pytest.mark.parametrize("split", SPLITS)
def test_every_construct_and_the_neutral_face_are_told_in_every_split(split):
    rows = {d.units for d in load_corpus(split)}
    for name in facs.CONSTRUCT_NAMES:
        assert frozenset(int(unit.removeprefix("AU")) for unit in name.split("+")) in rows
    assert frozenset() in rows


@pytest.mark.parametrize("split", SPLITS)
def test_descriptions_are_whole_and_no_two_are_equal(split):
    texts = [d.text for d in load_corpus(split)]
    assert all(text == " ".join(text.split()) and text for text in texts)
    counted = collections.Counter((d.voice, d.text.casefold()) for d in load_corpus(split))
    repeated = [text for (_, text), count in counted.items() if count > 1 and len(text.split()) > 5]
    assert not repeated


def test_test_voices_share_no_run_of_five_words_with_what_is_trained_on():
    dictionary = facs.load_dictionary()
    texts = [d.text for split in ("train", "validation") for d in load_corpus(split)]
    texts += [*dictionary.neutral, *(t for five in dictionary.constructs.values() for t in five)]
    assert not all_runs(texts) & all_runs(d.text for d in load_corpus("test"))


def test_no_voice_shares_a_run_of_five_words_with_other_words():
    known = all_runs(load_other_words().texts)
    assert not [
        d for s in ("train", "validation") for d in load_corpus(s) if runs_of_five(d.text) & known
    ]


def test_denied_units_are_absent():
    for split in SPLITS:
        assert not [d for d in load_corpus(split) if d.denied & d.units]


def test_unknown_split_names_the_legal_ones():
    with pytest.raises(ValueError, match="no split 'val'; its splits are train, validation, test"):
        load_corpus("val")


def test_every_unit_has_a_plain_text_of_its_own_where_texts_are_composed():
    for split in ("train", "test"):
        plain = {d.units for d in load_corpus(split) if not d.degrees.any() and not d.denied}
        assert {frozenset({unit}) for unit in facs.AU_NUMBERS} <= plain


def test_units_that_a_split_cannot_tell_are_refused(monkeypatch):
    only = [d for d in load_corpus("train") if d.units == {1}]
    monkeypatch.setattr(compose, "load_corpus", lambda split: tuple(only))
    compose._fitting.cache_clear()
    with pytest.raises(ValueError, match=r"'train' of the corpus has no text .* units \[12\]"):
        compose.corpus_text((1, 12), np.random.default_rng(0))
    compose._fitting.cache_clear()


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("units", [(), (6,), (1, 4), (2, 6, 7, 10, 12, 17, 23), facs.AU_NUMBERS])
def test_composed_text_is_made_of_texts_that_state_the_units_and_no_other(units, seed, split):
    text, _ = corpus_text(units, np.random.default_rng(seed), split=split)
    found = set()
    for description in load_corpus(split):
        if description.text in text and description.units <= set(units):
            found |= description.units
    assert found == set(units)


def test_degrees_of_a_composed_text_are_near_those_of_the_intensities():
    rng = np.random.default_rng(0)
    stated = 0
    for _ in range(100):
        intensities = rng.integers(1, 6, 12) / 5
        units = rng.choice(facs.AU_NUMBERS, 3, replace=False)
        _, degrees = corpus_text(units, rng, intensities=intensities)
        for index in np.flatnonzero(degrees):
            stated += 1
            assert abs(degrees[index] - code(intensities[index])) <= 1
    assert stated > 20
    for _ in range(20):
        assert not corpus_text(units, rng)[1].any()
