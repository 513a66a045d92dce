"""Degrees: words before constructs, letters of intensities, scores in lists of units."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auface_jax import facs
from auface_jax.data.tokenizer import load_tokenizer

WORDS = tuple(facs.DEGREES.values())
LABELS = list(itertools.product((0, 1), repeat=12))


@given(
    labels=st.sampled_from(LABELS),
    intensities=st.lists(st.floats(0, 1), min_size=12, max_size=12),
    seed=st.integers(0, 2**63 - 1),
)
def test_text_without_its_degree_words_is_the_plain_one(labels, intensities, seed):
    names = facs.constructs(labels)
    plain = facs.describe_constructs(names, np.random.default_rng(seed))
    graded = facs.describe_constructs(names, np.random.default_rng(seed), intensities=intensities)
    words = [word for name in names if (word := facs.degree_word(name, intensities))]
    for word in words:
        assert f"{word}: " in graded
        graded = graded.replace(f"{word}: ", "", 1)
    assert graded == plain


def test_no_text_of_the_dictionary_has_a_degree_word():
    dictionary = facs.load_dictionary()
    for texts in (*dictionary.constructs.values(), dictionary.neutral):
        assert not any(f"{word}:" in text for word in WORDS for text in texts)


def test_degrees_are_monotone_and_keep_the_letters_of_codes():
    for code, letter in enumerate(facs.DEGREES, start=1):
        assert facs.degree(code / 5) == facs.degree(np.float32(code) / np.float32(5)) == letter
    assert facs.degree(1e-9) == "A" and facs.degree(0.3) == facs.degree(np.float32(0.3)) == "B"
    letters = [facs.degree(value) for value in np.linspace(0.001, 1, 500)]
    assert letters == sorted(letters) and set(letters) == set(facs.DEGREES)
    for wrong in (0, -0.2, 1.01, 3, float("nan")):
        with pytest.raises(ValueError, match="not above 0 and at most 1"):
            facs.degree(wrong)


def test_construct_has_the_degree_of_the_mean_of_its_units():
    intensities = np.zeros(12, np.float32)
    intensities[[3, 6]] = 0.2, 1.0  # AU6 and AU12
    assert facs.degree_word("AU6", intensities) == "Trace"
    assert facs.degree_word("AU12", intensities) == "Maximum"
    assert facs.degree_word("AU6+AU12", intensities) == "Marked"
    # AU15 is present and was not scored: it does not count, and alone it has no word.
    assert facs.degree_word("AU6+AU12+AU15", intensities) == "Marked"
    assert facs.degree_word("AU15", intensities) is None


def test_tokenizer_encodes_degree_words_without_byte_tokens():
    tokenizer = load_tokenizer()
    for word in WORDS:
        tokens, mask = tokenizer.encode_batch([f"{word}: The chin rises."], (64,))
        pieces = [tokenizer._backend.id_to_token(int(token)) for token in tokens[mask]]
        assert not any(piece.startswith("<0x") for piece in pieces), (word, pieces)
        assert tokenizer.decode(tokens[0]) == f"{word}: The chin rises."


@pytest.mark.parametrize(
    ("text", "units", "scores"),
    [
        ("6C,12E", (6, 12), {3: 0.6, 6: 1.0}),
        ("AU12a au15B", (12, 15), {6: 0.2, 8: 0.4}),
        ("6,12", (6, 12), None),
        ("", (), None),
    ],
)
def test_scores_are_parsed_as_facs_writes_them(text, units, scores):
    got, intensities = facs.parse_scores(text)
    assert got == units
    if scores is None:
        assert intensities is None
    else:
        expected = np.zeros(12, np.float32)
        expected[list(scores)] = list(scores.values())
        np.testing.assert_allclose(intensities, expected)


def test_unit_with_two_degrees_is_rejected():
    np.testing.assert_array_equal(facs.parse_scores("12C,12C")[1], facs.parse_scores("12C")[1])
    with pytest.raises(ValueError, match="AU12 has two degrees; give it one"):
        facs.parse_scores("12A,6B,12E")


@pytest.mark.parametrize("text", ["6C,12", "6,12E"])
def test_degrees_for_only_some_units_are_rejected(text):
    with pytest.raises(ValueError, match="every unit a degree"):
        facs.parse_scores(text)
    with pytest.raises(ValueError, match="cannot read '6F'"):
        facs.parse_scores("6F,12C")
