"""The project's dictionary agrees with FACS, by a lexicon of regions and directions."""

import re

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.facs.lexicon import clauses, regions_in, statements, unstated_pulls

DICTIONARY = facs.load_dictionary()
TEXTS = [
    pytest.param(name, text, id=f"{name}-{index}")
    for name, texts in DICTIONARY.constructs.items()
    for index, text in enumerate(texts)
]
UNITS = {unit.code: unit for unit in facs.ACTION_UNITS}
ANTAGONISTIC = {i.name for i in facs.INTERACTIONS if i.kind == "antagonistic"}

# Directions in which a unit may move a region; they include its pulls, which a text must state.
ALLOWED = {
    "AU1": {"inner brow": "up", "brow": "up", "forehead": "up"},
    "AU2": {"outer brow": "up", "brow": "up", "forehead": "up"},
    "AU4": {
        "brow": "down inward", "inner brow": "down inward",
        "glabella": "down inward pressed outward",
    },
    "AU6": {
        "cheek": "up", "infraorbital triangle": "up inward", "lower lid": "up",
        "eye opening": "tight outward", "eye corner": "outward",
    },
    "AU7": {
        "lids": "tight inward down", "lower lid": "tight up down", "eye opening": "tight inward",
    },
    "AU10": {
        "upper lip": "up", "nasolabial furrow": "up", "nostrils": "up outward",
        "infraorbital triangle": "up", "mouth": "up",
    },
    "AU12": {
        "lip corners": "up outward", "mouth": "up outward", "nasolabial furrow": "outward up",
    },
    "AU14": {"lip corners": "inward tight pressed", "mouth": "outward"},
    "AU15": {"lip corners": "down", "mouth": "down"},
    "AU17": {"chin": "up", "lower lip": "up", "mouth": "up"},
    "AU23": {
        "mouth": "tight inward", "upper lip": "tight inward", "lower lip": "tight inward",
    },
    "AU24": {
        "mouth": "pressed inward tight", "upper lip": "pressed", "lower lip": "pressed tight",
    },
}  # fmt: skip
EMOTIONS = (
    "smil grin smirk frown scowl sneer pout grimac laugh cry weep happ joy sad sorrow anger angr "
    "fear afraid scare surpris disgust contempt pain worr doubt shame pride calm seren delight "
    "cheer gloom upset nerv emotion feel mood amus puzzl squint stern determin thoughtful concern "
    "express friend hostil pleas bored excit"
).split()
CONTRAST = r"\b(but|yet|while|although|though|against|despite|still|at once|neither|compete|oppose)"


def units_of(name):
    return [UNITS[code] for code in name.split("+")]


def foreign_regions(name, text):
    """Regions in the text that no unit of the construct moves."""
    allowed = {region for unit in units_of(name) for region in (*unit.regions, *ALLOWED[unit.code])}
    return regions_in(text) - allowed


def wrong_ways(name, text):
    """Directions in the text that no unit of the construct gives to the regions beside them."""
    allowed = {}
    for unit in units_of(name):
        for region, directions in ALLOWED[unit.code].items():
            allowed.setdefault(region, set()).update(directions.split())
    # Opposed pulls leave tense tissue behind.
    tense = {"tight"} if name in ANTAGONISTIC else set()
    wrong = []
    for regions, directions in statements(clauses(text)):
        legal = set().union(*(allowed.get(region, set()) for region in regions or allowed)) | tense
        if directions - legal:
            wrong.append((regions, directions - legal))
    return wrong


def test_lexicon_knows_every_pull():
    for unit in facs.ACTION_UNITS:
        for region, direction in unit.pulls:
            assert direction in ALLOWED[unit.code][region].split()
        assert set(ALLOWED[unit.code]) <= {*unit.regions, "brow", "inner brow"}


def test_dictionary_has_its_number_of_different_texts():
    texts = [text for texts in DICTIONARY.constructs.values() for text in texts]
    assert tuple(DICTIONARY.constructs) == facs.CONSTRUCT_NAMES
    assert len(texts) == len(set(texts)) == 190
    assert len(set(DICTIONARY.neutral) | set(texts)) == 195


@pytest.mark.parametrize(("name", "text"), TEXTS)
def test_text_agrees_with_its_construct(name, text):
    assert not foreign_regions(name, text)
    assert not unstated_pulls(name, clauses(text))
    assert not wrong_ways(name, text)


@pytest.mark.parametrize(("name", "text"), TEXTS)
def test_text_agrees_with_no_other_construct(name, text):
    """The checks of the test above can fail, and a text identifies its units."""
    for other in facs.CONSTRUCT_NAMES:
        if other != name:
            assert (
                foreign_regions(other, text)
                or unstated_pulls(other, clauses(text))
                or wrong_ways(other, text)
            ), other


@pytest.mark.parametrize("name", sorted(ANTAGONISTIC))
def test_texts_of_antagonists_name_the_contrast(name):
    for text in DICTIONARY.constructs[name]:
        assert re.search(CONTRAST, text.lower()), text


def test_only_the_dimpler_has_dimples():
    for name, texts in DICTIONARY.constructs.items():
        assert any("dimpl" in text for text in texts) == ("AU14" in name.split("+")), name


def test_texts_are_plain_sentences_of_similar_length():
    texts = [*DICTIONARY.neutral, *(t for v in DICTIONARY.constructs.values() for t in v)]
    words = [len(text.split()) for text in texts]
    assert min(words) >= 20 and max(words) <= 40 and 24 <= np.mean(words) <= 32
    for text in texts:
        assert text.isascii() and text[0].isupper() and text.endswith(".")
        assert "  " not in text and not re.search(r"\d|\bAU\b|\b(left|right)\b", text)
        assert not re.search(r"\s[.,;:]|[,;:]\S", text), text


@pytest.mark.parametrize("text", [p.values[1] for p in TEXTS] + [*DICTIONARY.neutral])
def test_text_names_no_emotion(text):
    assert not re.search(rf"\b({'|'.join(EMOTIONS)})", text.lower())


def test_texts_of_a_construct_differ_in_words():
    stop = set(
        "the a an and of to at in on by so that is are its it their them while but yet with from "
        "as both each under over into".split()
    )
    for name, texts in {**DICTIONARY.constructs, "neutral": DICTIONARY.neutral}.items():
        bags = [set(re.findall(r"[a-z']+", text.lower())) - stop for text in texts]
        for i, a in enumerate(bags):
            for b in bags[:i]:
                assert len(a & b) / len(a | b) < 0.3, (name, sorted(a & b))
