"""Careless typing: the case of letters, and typing errors."""

import string

import numpy as np

_LETTERS = string.ascii_lowercase


def recase(text: str, rng: np.random.Generator) -> str:
    """Returns the text as it is, in lower case, in upper case or in title case."""
    u = rng.random()
    if u < 0.15:
        return text.lower()
    if u < 0.20:
        return text.upper()
    return text.title() if u < 0.22 else text


def misspell(text: str, rng: np.random.Generator) -> str:
    """Adds typing errors to one text in three, in about one of twenty words."""
    if rng.random() < 0.67:
        return text
    return " ".join(_mistype(w, rng) if rng.random() < 0.05 else w for w in text.split(" "))


def _mistype(word: str, rng: np.random.Generator) -> str:
    """Omits, doubles, exchanges or replaces one letter inside a word."""
    if len(word) < 4:
        return word
    place, kind = rng.integers(1, len(word) - 1), rng.integers(4)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    if kind == 0:
        return before + after
    if kind == 1:
        return before + 2 * letter + after
    if kind == 2:
        return before + after[0] + letter + after[1:]
    return before + _LETTERS[rng.integers(len(_LETTERS))] + after
