"""Paraphrases: still true to their units; the file of other words shares nothing with them."""

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
from auface_jax.facs.other_words import STYLES, load_other_words
from auface_jax.facs.paraphrase import (
    compose,
    drop_clauses,
    exchange_words,
    misspell,
    paraphrase,
    recase,
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
    """Every phrase of the tables of synonyms, wherever it stands in them."""

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


def test_the_file_has_what_it_promises():
    assert len(OTHER.texts) == len(set(OTHER.texts)) == len(OTHER.styles) >= 200
    assert OTHER.labels.shape == (len(OTHER.texts), 12) and OTHER.labels.dtype == np.int8
    assert set(np.unique(OTHER.labels)) == {0, 1}
    assert set(OTHER.styles) == set(STYLES)
    assert min(collections.Counter(OTHER.styles).values()) >= 50
    assert OTHER.labels.sum(0).min() >= 20  # an F1 of a unit rests on something
    applied = {name for row in OTHER.labels for name in facs.constructs(row)}
    assert applied == set(facs.CONSTRUCT_NAMES)
    assert not any(re.search(r"\bAU ?\d", text) for text in OTHER.texts)


def test_the_file_shares_no_run_of_five_words_with_what_is_trained_on():
    taken = {}
    for text in [*DICTIONARY.neutral, *(text for _, text in TEXTS), *table_texts()]:
        taken |= dict.fromkeys(runs_of_five(text), text)
    assert len(taken) > 4_000
    for text in OTHER.texts:
        for run in runs_of_five(text):
            assert run not in taken, (text, taken.get(run))


def test_no_whole_description_of_the_file_is_ever_said():
    rng = np.random.default_rng(0)
    theirs = {" ".join(words(text)) for text in OTHER.texts if len(words(text)) > 3}
    for labels in OTHER.labels:
        texts = construct_texts(facs.constructs(labels), rng)
        for _ in range(4):
            assert " ".join(words(paraphrase(labels, texts, rng))) not in theirs


# --- Rewording -----------------------------------------------------------------------------------


def test_clauses_that_go_leave_every_pull_stated():
    rng = np.random.default_rng(0)
    shorter = 0
    for name, text in TEXTS:
        kept = drop_clauses(name, text, rng, share=1.0)
        assert not unstated_pulls(name, clauses(kept)), (kept, text)
        shorter += len(kept) < 0.75 * len(text)
        assert set(clauses(kept)) <= set(clauses(text))
        # Nothing more could go.
        parts = clauses(kept)
        for place in range(len(parts)):
            fewer = parts[:place] + parts[place + 1 :]
            assert kept == text or not fewer or unstated_pulls(name, fewer)
    assert shorter > len(TEXTS) / 2


def test_nothing_is_dropped_or_exchanged_at_rate_zero():
    rng = np.random.default_rng(0)
    for name, text in TEXTS:
        assert drop_clauses(name, text, rng, share=0.0) == text
        assert exchange_words(text, rng, rate=0.0) == text


def test_words_are_exchanged_within_their_row():
    rng = np.random.default_rng(0)
    text = "Raised eyelids, as the lip corners sink."
    found = {exchange_words(text, rng, rate=1.0) for _ in range(300)}
    assert len(found) > 60
    for other in found:
        assert other[0].isupper() and other.endswith(".")
        assert re.search(r"\b(eye)?lids\b", other)
        assert not {"brow", "up.", "rise"} & set(words(other))


def test_exchanged_words_tell_of_no_other_movement():
    rng = np.random.default_rng(0)
    neutral = facs.load_dictionary(None).neutral
    for text in [text for _, text in TEXTS] + list(neutral):
        for _ in range(4):
            added = directions_in(exchange_words(text, rng, rate=1.0)) - directions_in(text)
            # Lips that are compressed are pressed together.
            assert added <= {"inward"} and (not added or "pressed" in directions_in(text)), text


def test_rows_of_equal_words_have_no_word_twice():
    flat = [word for row in synonyms.SAME for word in row]
    assert len(flat) == len(set(flat)) and all(len(row) > 1 for row in synonyms.SAME)
    assert set(synonyms.LOOSER) <= set(flat)


def test_a_reworded_text_keeps_its_sentences_in_some_order():
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


# --- Saying anew ---------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", facs.ACTION_UNITS, ids=lambda unit: unit.code)
def test_a_unit_said_anew_names_what_it_moves_and_nothing_far_from_it(unit):
    """Of the parts that the lexicon knows, few are foreign: a word may have another sense there."""
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


def test_many_words_are_said_of_the_same_units():
    rng = np.random.default_rng(0)
    found = {compose([6, 12, 15], rng) for _ in range(500)}
    assert len(found) > 490
    used = {word for text in found for word in words(text)}
    assert {"smile", "cheeks", "commissures", "your", "zygomaticus"} <= used
    lengths = [len(words(text)) for text in found]
    assert min(lengths) <= 6 and max(lengths) >= 20


def test_a_neutral_face_is_said_from_its_own_table():
    rng = np.random.default_rng(0)
    assert {compose([], rng) for _ in range(500)} == set(phrases.NEUTRAL)


def test_every_set_can_be_said_in_every_manner():
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
def test_typing_errors_touch_few_letters(seed):
    text = TEXTS[seed % len(TEXTS)][1]
    wrong = misspell(text, np.random.default_rng(seed))
    assert len(wrong.split()) == len(text.split())
    changed = [(a, b) for a, b in zip(text.split(), wrong.split(), strict=True) if a != b]
    assert len(changed) <= 0.4 * len(text.split())
    assert all(a[0] == b[0] and abs(len(a) - len(b)) <= 1 for a, b in changed)


def test_some_texts_have_typing_errors_and_most_none():
    text = " ".join(text for _, text in TEXTS[:5])
    rng = np.random.default_rng(0)
    wrong = [misspell(text, rng) != text for _ in range(300)]
    assert 0.2 < np.mean(wrong) < 0.45


def test_letters_change_their_size_and_nothing_else():
    rng = np.random.default_rng(0)
    text = TEXTS[0][1]
    found = {recase(text, rng) for _ in range(1_000)}
    assert {text, text.lower(), text.upper(), text.title()} == found


# --- Whole ---------------------------------------------------------------------------------------


def test_a_paraphrase_depends_on_its_generator_alone():
    labels = facs.labels_from_units([4, 7, 17])
    texts = construct_texts(facs.constructs(labels), np.random.default_rng(0))
    one = [paraphrase(labels, texts, np.random.default_rng(seed)) for seed in range(40)]
    two = [paraphrase(labels, texts, np.random.default_rng(seed)) for seed in range(40)]
    assert one == two and len(set(one)) == 40


def test_texts_of_constructs_are_what_a_description_joins():
    labels = facs.labels_from_units([1, 6, 12, 24])
    texts = construct_texts(facs.constructs(labels), np.random.default_rng(3))
    assert " ".join(texts) == facs.describe(labels, np.random.default_rng(3))
    assert construct_texts((), np.random.default_rng(0))[0] in DICTIONARY.neutral
