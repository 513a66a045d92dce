"""Paraphrases agree with their units, and share nothing with the descriptions of other words."""

import collections
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auface_jax import facs
from auface_jax.facs import phrases, synonyms
from auface_jax.facs.lexicon import (
    clauses,
    directions_in,
    regions_in,
    statements,
    unstated_pulls,
)
from auface_jax.facs.misspelling import misspell, recase
from auface_jax.facs.other_words import STYLES, load_other_words
from auface_jax.facs.paraphrase import (
    compose,
    drop_clauses,
    exchange_words,
    paraphrase,
    reword,
)
from auface_jax.facs.processor import construct_texts

DICTIONARY = facs.load_dictionary()
OTHER = load_other_words()
TEXTS = [(name, text) for name, texts in DICTIONARY.constructs.items() for text in texts]


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def runs_of_five(text):
    return {tuple(words(text)[start : start + 5]) for start in range(len(words(text)) - 4)}


def table_texts():
    """Yields every phrase in the tables of synonyms and phrases."""

    def phrases(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for part in value.values():
                yield from phrases(part)
        elif isinstance(value, tuple):
            for part in value:
                yield from phrases(part)
        elif hasattr(value, "__dataclass_fields__"):
            for field in value.__dataclass_fields__:
                yield from phrases(getattr(value, field))

    for table in (synonyms, phrases):
        for name, value in vars(table).items():
            if name.isupper():
                yield from phrases(value)


# --- The file of other words ---------------------------------------------------------------------


def test_other_words_cover_all_units_constructs_and_styles():
    assert len(OTHER.texts) == len(set(OTHER.texts)) == len(OTHER.styles) >= 200
    assert OTHER.labels.shape == (len(OTHER.texts), 12) and OTHER.labels.dtype == np.int8
    assert set(np.unique(OTHER.labels)) == {0, 1}
    assert set(OTHER.styles) == set(STYLES)
    assert min(collections.Counter(OTHER.styles).values()) >= 50
    assert OTHER.labels.sum(0).min() >= 20  # an F1 of a unit rests on something
    applied = {name for labels in OTHER.labels for name in facs.constructs(labels)}
    assert applied == set(facs.CONSTRUCT_NAMES)
    assert not any(re.search(r"\bAU ?\d", text) for text in OTHER.texts)


def test_other_words_share_no_sequence_of_five_words_with_training():
    taken = {}
    for text in [*DICTIONARY.neutral, *(text for _, text in TEXTS), *table_texts()]:
        taken |= dict.fromkeys(runs_of_five(text), text)
    assert len(taken) > 4_000
    for text in OTHER.texts:
        for run in runs_of_five(text):
            assert run not in taken, (text, taken.get(run))


def test_no_paraphrase_equals_a_description_in_other_words():
    rng = np.random.default_rng(0)
    theirs = {" ".join(words(text)) for text in OTHER.texts if len(words(text)) > 3}
    for labels in OTHER.labels:
        texts = construct_texts(facs.constructs(labels), rng)
        for _ in range(4):
            assert " ".join(words(paraphrase(labels, texts, rng))) not in theirs


# --- Rewording -----------------------------------------------------------------------------------


def test_dropped_clauses_leave_every_pull_stated():
    rng = np.random.default_rng(0)
    shorter = 0
    for name, text in TEXTS:
        kept = drop_clauses(name, text, rng, share=1.0)
        assert not unstated_pulls(name, clauses(kept)), (kept, text)
        shorter += len(kept) < 0.75 * len(text)
        assert set(clauses(kept)) <= set(clauses(text))
        # No further clause is redundant.
        parts = clauses(kept)
        for place in range(len(parts)):
            fewer = parts[:place] + parts[place + 1 :]
            assert kept == text or not fewer or unstated_pulls(name, fewer)
    assert shorter > len(TEXTS) / 2


def test_rate_zero_drops_and_exchanges_nothing():
    rng = np.random.default_rng(0)
    for name, text in TEXTS:
        assert drop_clauses(name, text, rng, share=0.0) == text
        assert exchange_words(text, rng, rate=0.0) == text


def test_words_are_exchanged_within_their_group():
    rng = np.random.default_rng(0)
    text = "Raised eyelids, as the lip corners sink."
    found = {exchange_words(text, rng, rate=1.0) for _ in range(300)}
    assert len(found) > 60
    for other in found:
        assert other[0].isupper() and other.endswith(".")
        assert re.search(r"\b(eye)?lids\b", other)
        assert not {"brow", "up.", "rise"} & set(words(other))


def test_exchanged_words_state_no_other_movement():
    rng = np.random.default_rng(0)
    neutral = facs.load_dictionary(None).neutral
    for text in [text for _, text in TEXTS] + list(neutral):
        for _ in range(4):
            added = directions_in(exchange_words(text, rng, rate=1.0)) - directions_in(text)
            # Lips that are compressed are pressed together.
            assert added <= {"inward"} and (not added or "pressed" in directions_in(text)), text


def test_groups_of_synonyms_have_no_word_twice():
    flat = [word for group in synonyms.SAME for word in group]
    assert len(flat) == len(set(flat)) and all(len(group) > 1 for group in synonyms.SAME)
    assert set(synonyms.LOOSER) <= set(flat)


def test_reworded_text_keeps_its_sentences_in_some_order():
    names = ("AU1", "AU12", "AU17")
    texts = construct_texts(names, np.random.default_rng(1))
    seen = set()
    for seed in range(40):
        text = reword(names, texts, np.random.default_rng(seed))
        regions = [regions_in(part) for part in clauses(text)]
        brow = min(place for place, there in enumerate(regions) if "brow" in " ".join(there))
        chin = min(place for place, there in enumerate(regions) if "chin" in there)
        seen.add(brow < chin)
    assert seen == {True, False}


# --- Composing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", facs.ACTION_UNITS, ids=lambda unit: unit.code)
def test_composed_text_names_the_regions_of_its_unit_and_no_distant_ones(unit):
    """A few texts may name a foreign region, since words have several senses."""
    face = {
        "upper": {"brow", "inner brow", "outer brow", "forehead", "glabella"},
        "eyes": {"cheek", "lids", "lower lid", "eye opening", "eye corner"}
        | {"infraorbital triangle"},
        "lower": {"lip corners", "mouth", "upper lip", "lower lip", "chin"},
    }
    zone = next(name for name, parts in face.items() if unit.pulls[0][0] in parts)
    allowed = set(face[zone]) | set(unit.regions)
    if unit.number == 14:
        allowed |= {"cheek"}  # where its dimples are
    rng = np.random.default_rng(unit.number)
    named, foreign = 0, 0
    for _ in range(300):
        text = compose([unit.number], rng)
        if re.search(r"\b(no|not|without|else|other|rest)\b", text, re.IGNORECASE):
            continue
        regions = set().union(*(regions for regions, _ in statements(clauses(text))))
        named += bool(regions & allowed)
        foreign += bool(regions - allowed - {"unknown", "nasolabial furrow"})
    assert named > 100 and foreign < 0.15 * named


def test_composed_texts_of_the_same_units_differ():
    rng = np.random.default_rng(0)
    found = {compose([6, 12, 15], rng) for _ in range(500)}
    assert len(found) > 490
    used = {word for text in found for word in words(text)}
    assert {"smile", "cheeks", "commissures", "your", "zygomaticus"} <= used
    lengths = [len(words(text)) for text in found]
    assert min(lengths) <= 6 and max(lengths) >= 20


def test_composed_text_of_a_neutral_face_comes_from_its_table():
    rng = np.random.default_rng(0)
    assert {compose([], rng) for _ in range(500)} == set(phrases.NEUTRAL)


def test_every_combination_can_be_composed():
    rng = np.random.default_rng(0)
    numbers = facs.AU_NUMBERS
    for count in range(1, 13):
        for _ in range(60):
            units = sorted(rng.choice(numbers, count, replace=False).tolist())
            text = compose(units, rng)
            assert text and "\0" not in text and "{" not in text
            assert "  " not in text


# --- Letters -------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_typing_errors_change_few_letters(seed):
    text = TEXTS[seed % len(TEXTS)][1]
    wrong = misspell(text, np.random.default_rng(seed))
    assert len(wrong.split()) == len(text.split())
    changed = [(a, b) for a, b in zip(text.split(), wrong.split(), strict=True) if a != b]
    assert len(changed) <= 0.4 * len(text.split())
    assert all(a[0] == b[0] and abs(len(a) - len(b)) <= 1 for a, b in changed)


def test_a_third_of_texts_have_typing_errors():
    text = " ".join(text for _, text in TEXTS[:5])
    rng = np.random.default_rng(0)
    wrong = [misspell(text, rng) != text for _ in range(300)]
    assert 0.2 < np.mean(wrong) < 0.45


def test_recase_changes_only_the_case_of_letters():
    rng = np.random.default_rng(0)
    text = TEXTS[0][1]
    found = {recase(text, rng) for _ in range(1_000)}
    assert {text, text.lower(), text.upper(), text.title()} == found


# --- Whole ---------------------------------------------------------------------------------------


def test_paraphrase_depends_on_its_generator_alone():
    labels = facs.labels_from_units([4, 7, 17])
    texts = construct_texts(facs.constructs(labels), np.random.default_rng(0))
    one = [paraphrase(labels, texts, np.random.default_rng(seed)) for seed in range(40)]
    two = [paraphrase(labels, texts, np.random.default_rng(seed)) for seed in range(40)]
    assert one == two and len(set(one)) == 40


def test_description_joins_the_texts_of_its_constructs():
    labels = facs.labels_from_units([1, 6, 12, 24])
    texts = construct_texts(facs.constructs(labels), np.random.default_rng(3))
    assert " ".join(texts) == facs.describe(labels, np.random.default_rng(3))
    assert construct_texts((), np.random.default_rng(0))[0] in DICTIONARY.neutral
