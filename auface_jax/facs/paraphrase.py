"""Paraphrases of descriptions, on which the text recogniser is trained beside the dictionary.

A recogniser that has seen one dictionary alone knows its sentences; to read anatomy it must meet
the same movements in many words. A paraphrase is made in one of two ways. Either the texts of the
dictionary are reworded (`reword`):

1. redundant clauses are dropped; the rest still states every pull (`lexicon`);
2. words are replaced by others of the same meaning: regions and directions;
3. sentences change places.

Or a new text is composed from the units alone (`compose`), in the manner of notes, of a clinic, of
talk or of a request (`synonyms`, `phrases`). In both cases the case of letters may change, and
typing errors are added.
"""

import re
from collections.abc import Sequence

import numpy as np

from auface_jax.facs import degrees, phrases, synonyms
from auface_jax.facs.action_units import AU_NUMBERS
from auface_jax.facs.codes import write_codes
from auface_jax.facs.lexicon import clauses, unstated_pulls
from auface_jax.facs.misspelling import misspell, recase
from auface_jax.facs.processor import Labels, constructs

MANNERS = ("notes", "clinic", "talk", "request")
_CODES = 0.05  # share of the composed texts that are codes alone

# The words that may replace a word, itself included.
_GROUPS = {word: group + synonyms.LOOSER.get(word, ()) for group in synonyms.SAME for word in group}
_WORD = re.compile(
    r"\b(" + "|".join(re.escape(w) for w in sorted(_GROUPS, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)


def paraphrase(
    labels: Labels,
    texts: Sequence[str],
    rng: np.random.Generator,
    *,
    intensities: Sequence[float] | None = None,
) -> str:
    """Describes a label vector in words that may differ from the dictionary's.

    Args:
      labels: label vector, as for `processor.constructs`.
      texts: texts of its constructs, or the text of a neutral face, from
        `processor.construct_texts`.
      rng: the only source of chance.
      intensities: intensity of each unit, by which a composed text states degrees; None states
        none. Reworded texts state none, since a dropped clause may be that of a degree.

    Returns:
      In about half of the samples the reworded texts, otherwise a text composed from the units.
    """
    if intensities is None and rng.random() < 0.45:
        text = reword(constructs(labels), texts, rng)
    else:
        units = [n for n, present in zip(AU_NUMBERS, labels, strict=True) if present]
        text = compose(units, rng, intensities=intensities)
    return misspell(recase(text, rng), rng)


def reword(names: Sequence[str], texts: Sequence[str], rng: np.random.Generator) -> str:
    """Rewords the texts of constructs: drops clauses, exchanges words, shuffles the texts.

    Args:
      names: names of the constructs; empty for a neutral face, whose one text is kept whole.
      texts: one text for each name.
      rng: the only source of chance.
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
    """Drops redundant clauses from a text.

    Args:
      name: name of the construct that `text` describes.
      text: the description.
      rng: the only source of chance.
      share: share of the clauses that are tried, in random order; 1 leaves no redundant one.

    Returns:
      The remaining clauses in their order, which still state every pull of the construct; the
      text itself when none is redundant or the lexicon does not find the pulls in it.
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
    """Replaces words by others of the same meaning.

    Args:
      text: any text.
      rng: the only source of chance.
      rate: probability that a word or phrase of `synonyms.SAME` is replaced, by any of its group
        or by one of `synonyms.LOOSER`.
    """

    def other(match: re.Match) -> str:
        word = match[0]
        if rng.random() >= rate:
            return word
        group = _GROUPS[word.lower()]
        chosen = group[rng.integers(len(group))]
        return chosen[0].upper() + chosen[1:] if word[0].isupper() else chosen

    return _WORD.sub(other, text)


def compose(
    units: Sequence[int],
    rng: np.random.Generator,
    *,
    intensities: Sequence[float] | None = None,
) -> str:
    """Composes a short text of one manner that states units in random order.

    Args:
      units: FACS numbers of the active units; none for a neutral face.
      rng: the only source of chance.
      intensities: intensity of each unit, by which degrees are stated; None states none.
    """
    if not units:
        return _one(phrases.NEUTRAL, rng)
    if rng.random() < _CODES:
        return write_codes(units, rng, intensities)
    manner = _one(MANNERS, rng)
    if intensities is None:
        parts = [_state(group, manner, rng) for group in _grouped(units, rng)]
    else:
        parts = [_state_with_degree((unit,), manner, rng, intensities) for unit in units]
        parts = [parts[place] for place in rng.permutation(len(parts))]
    if rng.random() < 0.1:  # a reader must learn that a denied unit is absent
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
        text = f"{text}{_one((', ', '. ', '; '), rng)}{_one(phrases.ELSEWHERE, rng)}"
    text = re.sub(r"[.;] +(\w)", lambda match: match[0][:-1] + match[1].upper(), text)
    return text[0].upper() + text[1:] + _one((".", ".", "", "!"), rng)


def _grouped(units: Sequence[int], rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Groups units at random into combinations that have phrases of their own, in random order."""
    left, sets = list(units), []
    joint = [s for s in phrases.PHRASES if len(s) > 1]
    for place in rng.permutation(len(joint)):
        if set(joint[place]) <= set(left) and rng.random() < 0.5:
            sets.append(joint[place])
            left = [unit for unit in left if unit not in joint[place]]
    sets += [(unit,) for unit in left]
    return [sets[place] for place in rng.permutation(len(sets))]


def _state(units: tuple[int, ...], manner: str, rng: np.random.Generator) -> str:
    """States one unit, or a combination with phrases of its own, in a few words."""
    known = phrases.PHRASES[units]
    kinds = {"movements": 0.6, "signs": 0.2, "acts": 0.2, "muscles": 0.0}
    if manner == "clinic":
        kinds = {"movements": 0.6, "signs": 0.08, "acts": 0.02, "muscles": 0.3}
    usable = {kind: share for kind, share in kinds.items() if share and getattr(known, kind)}
    if not usable:
        usable = {kind: 1.0 for kind in kinds if getattr(known, kind)}
    shares = np.array(list(usable.values()))
    kind = list(usable)[rng.choice(len(usable), p=shares / shares.sum())]
    chosen = getattr(known, kind)[rng.integers(len(getattr(known, kind)))]
    if kind == "movements":
        return _state_motion(*chosen, manner, rng)
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


def _state_with_degree(
    units: tuple[int, ...], manner: str, rng: np.random.Generator, intensities: Sequence[float]
) -> str:
    """States one unit and the degree of its intensity; none where it was not scored."""
    intensity = float(intensities[AU_NUMBERS.index(units[0])])
    if intensity <= 0:
        return _state(units, manner, rng)
    movements = phrases.PHRASES[units].movements
    if movements and rng.random() < 0.5:
        place = movements[rng.integers(len(movements))]
        text = _state_motion(*place, manner, rng, word := degrees.adverb(intensity, rng))
        if word in text:
            return text
    return degrees.state_degree(_state(units, manner, rng), intensity, rng)


def _state_motion(
    region: synonyms.Region,
    motion: synonyms.Motion,
    manner: str,
    rng: np.random.Generator,
    adverb: str = "",
) -> str:
    """States a region and its motion in one manner, with an adverb of degree in some templates."""
    plural = rng.random() < len(region[0]) / (len(region[0]) + len(region[1]))
    place = _one(region[0] if plural else region[1], rng)
    done, does = _Verb(_one(motion.transitive, rng)), _Verb(_one(motion.intransitive, rng))
    state = _one(motion.states, rng) if rng.random() < 0.4 else done.forms[1]
    degree = f"{adverb} " if adverb else ""
    words = {
        "r": place, "state": state, "degree": degree, "be": "are" if plural else "is",
        "does": does.forms[0 if plural else 1], "doing": does.forms[2],
        "do": done.around(0, place), "dos": done.around(3, place), "doings": done.around(2, place),
        "noun": _one(motion.nouns, rng), "o": _one(synonyms.OWNERS, rng),
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
    """States that a unit is absent."""
    known = phrases.PHRASES[(unit,)]
    region, motion = known.movements[rng.integers(len(known.movements))]
    place, noun = _one(region[0] + region[1], rng), _one(motion.nouns, rng)
    return _fill(
        ("no {noun} of the {r}", "without {noun} of the {r}", "no {r} {noun}", "without {sign}",
         "no {sign}", "not {done} the {r}", "the {r} not {is_}", "without {done} the {r}"),
        rng, noun=noun, r=place, sign=_one(known.signs, rng), is_=_one(motion.states, rng),
        done=_Verb(_one(motion.transitive, rng)).forms[2],
    )  # fmt: skip


class _Verb:
    """A verb as the tables write it, such as "pull pulled pulling + up".

    Attributes:
      forms: the three forms, each with the words that follow the verb.
    """

    def __init__(self, entry: str):
        verb, _, self._rest = entry.partition(" + ")
        self._words = verb.split()
        self.forms = tuple(f"{word} {self._rest}".strip() for word in self._words)

    def around(self, form: int, place: str) -> str:
        """The verb with its object, before which a null character stands for the owner.

        Args:
          form: index of the form; 3 is the third person of the first.
          place: the object.
        """
        word = _third_person(self._words[0]) if form == 3 else self._words[form]
        return f"{word} \0{place} {self._rest}".strip()


def _third_person(verb: str) -> str:
    """The third person singular of a verb."""
    return verb + ("es" if verb.endswith(("s", "sh", "ch", "x")) else "s")


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    """Samples one of the choices."""
    return choices[rng.integers(len(choices))]


def _fill(templates: Sequence[str], rng: np.random.Generator, *words: str, **named: str) -> str:
    """Samples one of the templates and fills in words."""
    return _one(templates, rng).format(*words, **named)
