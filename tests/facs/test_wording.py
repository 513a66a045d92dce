"""The kinds of words in which a description is drawn."""

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.facs.degrees import ADVERBS, code, state_degree
from auface_jax.facs.wording import (
    KINDS,
    Wording,
    common_intensity,
    describe_in,
    random_intensities,
)

LABELS = facs.labels_from_units([1, 4, 12])


@pytest.mark.parametrize("kind", KINDS)
def test_wording_with_one_share_draws_that_kind_alone(kind):
    shares = {name: float(name == kind) for name in KINDS}
    rng = np.random.default_rng(3)
    told = [Wording(**shares).describe(LABELS, rng) for _ in range(20)]
    rng = np.random.default_rng(3)
    expected = []
    for _ in range(20):
        rng.choice(3, p=list(shares.values()))
        expected.append(describe_in(kind, LABELS, rng))
    assert [t.text for t in told] == [t.text for t in expected]
    assert not any(t.degrees.any() for t in told)


def test_dictionary_without_degrees_is_the_text_of_describe():
    one = describe_in("dictionary", LABELS, np.random.default_rng(0)).text
    assert one == facs.describe(LABELS, np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_stated_degrees_are_near_the_intensities_of_present_units(kind):
    rng, seen = np.random.default_rng(0), 0
    for _ in range(60):
        intensities = random_intensities(LABELS, rng)
        told = describe_in(kind, LABELS, rng, intensities=intensities)
        seen += (told.degrees > 0).sum()
        for index in np.flatnonzero(told.degrees):
            assert LABELS[index]
            assert abs(told.degrees[index] - code(intensities[index])) <= 1
    assert seen > 30


def test_one_degree_is_stated_of_a_construct_whose_units_are_alike():
    intensities = np.zeros(12)
    intensities[[0, 2]] = 0.2, 1.0
    assert common_intensity("AU1+AU4", intensities) is None
    intensities[2] = 0.4
    assert common_intensity("AU1+AU4", intensities) == pytest.approx(0.3)
    assert common_intensity("AU1+AU2", intensities) is None  # AU2 was not scored


def test_degree_leaves_the_sentence_in_place():
    rng = np.random.default_rng(0)
    for intensity, letter in ((0.2, "A"), (0.6, "C"), (1.0, "E")):
        for _ in range(40):
            text = state_degree("The chin rises.", intensity, rng)
            assert "The chin rises" in text and text != "The chin rises."
            marks = [facs.DEGREES[letter], f"({letter})", f"degree {letter}", *ADVERBS[letter]]
            marks.append(f"{round(100 * intensity)}%")
            assert any(mark.lower() in text.lower() for mark in marks)


def test_adverbs_belong_to_one_letter():
    words = [word for adverbs in ADVERBS.values() for word in adverbs]
    assert len(words) == len(set(words))


def test_shares_that_are_none_are_refused():
    with pytest.raises(ValueError, match="data.wording is dictionary=0.5, .*have the sum 1"):
        Wording(0.5, 0.2, 0.2)
    with pytest.raises(ValueError, match="degrees must be from 0 to 1"):
        Wording(degrees=1.5)
    with pytest.raises(ValueError, match="no kind 'poem'; the kinds are dictionary"):
        describe_in("poem", LABELS, np.random.default_rng(0))
