"""Descriptions in other words: what a reader of text is trained on, beside the dictionary's texts.

A recogniser that has seen one dictionary knows its sentences; one that is to read anatomy must meet
the same movements in many words. A description is either kept and reworded,

1. redundant clauses are dropped: what is left still states every pull (`lexicon`);
2. words give way to others of one meaning: regions, directions, degrees;
3. sentences change places;

or said anew from the units alone, in the manner of notes, of a clinic, of talk or of a request
(`synonyms`, `sayings`); in both cases letters may turn small or capital and typing errors creep in.
"""

import re
import string
from collections.abc import Sequence

import numpy as np

from auface_jax.facs import sayings, synonyms
from auface_jax.facs.action_units import AU_NUMBERS
from auface_jax.facs.lexicon import clauses, unstated_pulls
from auface_jax.facs.processor import constructs

MANNERS = ("notes", "clinic", "talk", "request")

# What may stand for a word, the word itself included.
_GROUPS = {word: row + synonyms.LOOSER.get(word, ()) for row in synonyms.SAME for word in row}
_WORD = re.compile(
    r"\b(" + "|".join(re.escape(w) for w in sorted(_GROUPS, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)
_LETTERS = string.ascii_lowercase


def paraphrase(labels, texts: Sequence[str], rng: np.random.Generator) -> str:
    """A description of a label row in words that may differ from the dictionary's.

    Args:
      labels: [A] of 0 and 1, as for `processor.constructs`.
      texts: of its constructs, or the one of a neutral face, from `processor.construct_texts`.
      rng: the only source of chance.

    Returns:
      `texts` reworded, for about half of the draws; for the others the units said anew.
    """
    if rng.random() < 0.45:
        text = reword(constructs(labels), texts, rng)
    else:
        units = [n for n, present in zip(AU_NUMBERS, labels, strict=True) if present]
        text = say(units, rng)
    return misspell(recase(text, rng), rng)


def reword(names: Sequence[str], texts: Sequence[str], rng: np.random.Generator) -> str:
    """The texts of constructs with clauses dropped, words exchanged and sentences in another order.

    Args:
      names: of the constructs; empty for a neutral face, whose one text is kept whole.
      texts: one for each name.
    """
    if names:
        share = rng.choice([0.0, 0.5, 1.0])
        texts = [
            drop_clauses(name, text, rng, share=share)
            for name, text in zip(names, texts, strict=True)
        ]
    rate = rng.uniform(0.0, 0.8)
    texts = [exchange_words(text, rng, rate=rate) for text in texts]
    if rng.random() < 0.5:
        texts = [texts[place] for place in rng.permutation(len(texts))]
    return " ".join(texts)


def drop_clauses(name: str, text: str, rng: np.random.Generator, *, share: float = 1.0) -> str:
    """The text without some clauses that are redundant in it.

    Args:
      name: of the construct that `text` describes.
      share: how many of the clauses are tried, in random order; 1 leaves none that could go.

    Returns:
      Clauses in their order, every pull of the construct still stated; the text itself when none
      is redundant or the lexicon does not find the pulls in it.
    """
    parts = list(clauses(text))
    if unstated_pulls(name, parts):
        return text
    kept = list(range(len(parts)))
    for place in rng.permutation(len(parts)):
        if len(kept) > 1 and rng.random() < share:
            fewer = [other for other in kept if other != place]
            if not unstated_pulls(name, [parts[other] for other in fewer]):
                kept = fewer
    if len(kept) == len(parts):
        return text
    joiner = ", " if rng.random() < 0.7 else ". "
    return joiner.join(parts[place] for place in kept) + "."


def exchange_words(text: str, rng: np.random.Generator, *, rate: float) -> str:
    """The text with each word or phrase of `synonyms.SAME` replaced with probability `rate`, by
    another of its row or by one of `synonyms.LOOSER`."""

    def other(match: re.Match) -> str:
        word = match[0]
        if rng.random() >= rate:
            return word
        row = _GROUPS[word.lower()]
        chosen = row[rng.integers(len(row))]
        return chosen[0].upper() + chosen[1:] if word[0].isupper() else chosen

    return _WORD.sub(other, text)


def say(units: Sequence[int], rng: np.random.Generator) -> str:
    """Units in a few words of one manner, joined in random order.

    Args:
      units: FACS numbers of the active units; none of them is a neutral face.
    """
    if not units:
        return _one(sayings.NEUTRAL, rng)
    manner = _one(MANNERS, rng)
    parts = [_say_set(s, manner, rng) for s in _grouped(units, rng)]
    if rng.random() < 0.1:  # what is not there must not be read as if it were
        absent = [number for number in AU_NUMBERS if number not in units]
        if absent:
            parts.append(_deny(absent[rng.integers(len(absent))], rng))
    joiners = [_one(synonyms.JOINERS, rng) for _ in range(1 if rng.random() < 0.5 else len(parts))]
    text = parts[0]
    for place, part in enumerate(parts[1:]):
        text += joiners[place % len(joiners)] + part
    if rng.random() < 0.25:
        text = f"{_one(synonyms.BEFORE, rng)} {text}"
    if rng.random() < 0.25:
        text = f"{text}{_one((' ', ', '), rng)}{_one(synonyms.AFTER, rng)}"
    if rng.random() < 0.1:
        text = f"{text}{_one((', ', '. ', '; '), rng)}{_one(sayings.ELSEWHERE, rng)}"
    text = re.sub(r"[.;] +(\w)", lambda match: match[0][:-1] + match[1].upper(), text)
    return text[0].upper() + text[1:] + _one((".", ".", "", "!"), rng)


def recase(text: str, rng: np.random.Generator) -> str:
    """The text as it is, or all in small letters, in capitals, or each word with one."""
    u = rng.random()
    if u < 0.15:
        return text.lower()
    if u < 0.20:
        return text.upper()
    return text.title() if u < 0.22 else text


def misspell(text: str, rng: np.random.Generator) -> str:
    """The text with typing errors: in one text of three, in about one of its twenty words."""
    if rng.random() < 0.67:
        return text
    return " ".join(_mistype(w, rng) if rng.random() < 0.05 else w for w in text.split(" "))


def _mistype(word: str, rng: np.random.Generator) -> str:
    """The word with one letter left out, doubled, exchanged with the next, or hit wrongly."""
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


def _grouped(units: Sequence[int], rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The units in random order, some of them joined to sets that have sayings of their own."""
    left, sets = list(units), []
    joint = [s for s in sayings.SAYINGS if len(s) > 1]
    for place in rng.permutation(len(joint)):
        if set(joint[place]) <= set(left) and rng.random() < 0.5:
            sets.append(joint[place])
            left = [unit for unit in left if unit not in joint[place]]
    sets += [(unit,) for unit in left]
    return [sets[place] for place in rng.permutation(len(sets))]


def _say_set(units: tuple[int, ...], manner: str, rng: np.random.Generator) -> str:
    """One unit, or a set with sayings of its own, in a few words."""
    said = sayings.SAYINGS[units]
    kinds = {"movements": 0.6, "signs": 0.2, "acts": 0.2, "muscles": 0.0}
    if manner == "clinic":
        kinds = {"movements": 0.6, "signs": 0.08, "acts": 0.02, "muscles": 0.3}
    usable = {kind: share for kind, share in kinds.items() if share and getattr(said, kind)}
    if not usable:
        usable = {kind: 1.0 for kind in kinds if getattr(said, kind)}
    shares = np.array(list(usable.values()))
    kind = list(usable)[rng.choice(len(usable), p=shares / shares.sum())]
    chosen = getattr(said, kind)[rng.integers(len(getattr(said, kind)))]
    if kind == "movements":
        return _say_movement(*chosen, manner, rng)
    if kind == "muscles":
        return _fill(
            (
                "{} contraction", "contraction of {}", "{} active", "{} activity", "{} contracts",
                "activation of {}", "{} is active", "{} recruited", "recruitment of {}",
                "{} contracted", "{} tension", "{} involvement", "{} at work", "{} is contracting",
            ),
            rng, chosen,
        )  # fmt: skip
    if kind == "acts":
        verb = _Verb(chosen)
        if manner == "request":
            return _fill(("{0}", "you {0}", "you are {2}", "try to {0}"), rng, *verb.forms)
        return _fill(
            ("{p} is {2}", "{2}", "{p} {1}", "{p} {1}", "{2}", "{p} keeps {2}"),
            rng, *verb.forms, p=_one(synonyms.PEOPLE, rng),
        )  # fmt: skip
    if manner == "request":
        return _fill(
            ("show {}", "make {}", "you have {}", "{}", "you show {}", "with {}"), rng, chosen
        )
    return _fill(
        ("{}", "{}", "{p} has {}", "{p} shows {}", "{} visible", "there is {}", "{} present"),
        rng, chosen, p=_one(synonyms.PEOPLE, rng),
    )  # fmt: skip


def _say_movement(
    region: synonyms.Region, way: synonyms.Way, manner: str, rng: np.random.Generator
) -> str:
    """A region and its movement in one manner."""
    plural = rng.random() < len(region[0]) / (len(region[0]) + len(region[1]))
    place = _one(region[0] if plural else region[1], rng)
    done, does = _Verb(_one(way.done, rng)), _Verb(_one(way.does, rng))
    state = _one(way.is_, rng) if rng.random() < 0.4 else done.forms[1]
    degree = f"{_one(synonyms.DEGREES, rng)} " if rng.random() < 0.2 else ""
    words = {
        "r": place, "state": state, "degree": degree, "be": "are" if plural else "is",
        "does": does.forms[0 if plural else 1], "doing": does.forms[2],
        "do": done.around(0, place), "dos": done.around(3, place), "doings": done.around(2, place),
        "noun": _one(way.nouns, rng), "o": _one(synonyms.OWNERS, rng),
        "p": _one(synonyms.PEOPLE, rng),
    }  # fmt: skip
    templates = {
        "notes": ("{r} {degree}{state}", "{degree}{state} {r}", "{r} {doing}", "{r}: {state}",
                  "{r} {state}", "{noun} of {r}"),
        "clinic": ("{degree}{noun} of the {r}", "{r} {be} {degree}{state}", "{r} {degree}{state}",
                   "{noun} of {r}", "the {r} {be} {state}", "{r} {noun}", "{degree}{r} {noun}"),
        "talk": ("{o} {r} {be} {degree}{state}", "{o} {r} {does}", "{p} {dos}", "{p} is {doings}",
                 "{p} has {o} {r} {degree}{state}", "{o} {r} {be} all {state}", "{r} {state}",
                 "{r} {degree}{state}", "{p} got {o} {r} {state}"),
        "request": ("{do}", "{do}", "you {do}", "your {r} {be} {degree}{state}", "your {r} {does}",
                    "keep your {r} {degree}{state}", "let your {r} {does}", "{doings}",
                    "make your {r} {state}", "have your {r} {degree}{state}"),
    }  # fmt: skip
    text = _one(templates[manner], rng).format(**words)
    owner = {"request": "your ", "talk": f"{words['o']} "}.get(manner, "the ")
    return text.replace("\0", owner)


def _deny(unit: int, rng: np.random.Generator) -> str:
    """Says that a unit is absent."""
    said = sayings.SAYINGS[(unit,)]
    region, way = said.movements[rng.integers(len(said.movements))]
    place, noun = _one(region[0] + region[1], rng), _one(way.nouns, rng)
    return _fill(
        ("no {noun} of the {r}", "without {noun} of the {r}", "no {r} {noun}", "without {sign}",
         "no {sign}", "not {done} the {r}", "the {r} not {is_}", "without {done} the {r}"),
        rng, noun=noun, r=place, sign=_one(said.signs, rng), is_=_one(way.is_, rng),
        done=_Verb(_one(way.done, rng)).forms[2],
    )  # fmt: skip


class _Verb:
    """A verb of the tables: "pull pulled pulling + up"."""

    def __init__(self, entry: str):
        verb, _, self._rest = entry.partition(" + ")
        self._words = verb.split()
        self.forms = tuple(f"{word} {self._rest}".strip() for word in self._words)

    def around(self, form: int, place: str) -> str:
        """The verb with its object, whose owner is left open as a null character."""
        word = _third_person(self._words[0]) if form == 3 else self._words[form]
        return f"{word} \0{place} {self._rest}".strip()


def _third_person(verb: str) -> str:
    return verb + ("es" if verb.endswith(("s", "sh", "ch", "x")) else "s")


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def _fill(templates: Sequence[str], rng: np.random.Generator, *words: str, **named: str) -> str:
    return _one(templates, rng).format(*words, **named)
