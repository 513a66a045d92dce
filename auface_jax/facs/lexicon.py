"""A lexicon of regions and directions, which finds the movements that a text states.

A text is read clause by clause. The lexicon knows the words of descriptions in the style of the
dictionary, not everything that people say, which is the task of the text recogniser. It checks the
dictionary and keeps paraphrases true.
"""

import functools
import re
from collections.abc import Sequence

from auface_jax.facs.action_units import ACTION_UNITS

Statement = tuple[frozenset[str], frozenset[str]]  # regions and directions

# Phrases are removed from a text in this order, so that "outer corners of the eyes" is gone when
# "outer" and "corners" are searched.
REGION_WORDS = [
    ("glabella", r"glabella|(skin|space) between the (eye)?brows|(root|bridge) of the nose"),
    ("eye corner", r"crow's feet|outer corners of the eyes|(outer )?eye corners?"),
    ("infraorbital triangle", r"infraorbital( skin| triangle)?|skin below the eyes|below the eyes"),
    ("eye opening", r"eye opening"),
    ("lower lid", r"lower (eye)?lids?"),
    ("lids", r"(eye)?lids?"),
    ("nasolabial furrow", r"nasolabial (furrow|fold|crease)s?|folds from nose to mouth"),
    (
        "lip corners",
        r"(mouth|lip) corners?|corners? of the mouth|(?<!eye )corners?|(?<!inner )tips?",
    ),
    ("nostrils", r"nostril wings|nostrils?"),
    ("upper lip", r"upper lip"),
    ("lower lip", r"lower lip"),
    ("mouth", r"lips?|mouth|vermilion"),
    ("chin", r"chin( boss)?"),
    ("cheek", r"cheeks?"),
    ("forehead", r"forehead"),
    ("inner brow", r"inner|medial|brow heads?|nearest the midline"),
    ("outer brow", r"outer|lateral|tails?"),
    ("brow", r"(eye)?brows?"),
    ("eye opening", r"eyes?|iris"),
    ("unknown", r"nose|jaw|teeth|tongue|neck|temples?|pupils?|ears?|gaze|hair|head|throat"),
]
WHOLE_BROW = (
    r"\b(whole (brow|length)|from end to end|full width|entire length|complete (brow|arcs))"
)
DIRECTION_WORDS = {
    "up": r"up|upwards?|upturned|rais\w+|ris(e|es|ing)|lift(s|ed|ing)?|hoist\w*|climb\w*"
    r"|elevat\w+|heav(e|es|ed|ing)|higher",
    "down": r"down|downwards?|lower(s|ed|ing)|drops?|dropp\w+|sink\w*|sunk|droop\w*|sag\w*"
    r"|descend\w*|dip(s|ped)?|hang(s|ing)?",
    "inward": r"together|inwards?|toward each other|closer|knit\w*|gather\w*|converg\w+|pinch\w*"
    r"|bunch\w*|sucked",
    "outward": r"outwards?|sideways|wide|widen\w*|wider|stretch\w*|broad(?!th)\w*|spread\w*|apart"
    r"|lengthen\w*|fan",
    "tight": r"tight\w*|tens\w+|taut|firm\w*|stiff\w*|narrow\w*|thin\w*|harden\w*|slender|slim",
    "pressed": r"press\w*|compress\w*|flatten\w*|squeez\w*|clamp\w*|squash\w*",
}
# Regions whose movement also states that of the region on the left.
STANDS_FOR = {
    "cheek": {"infraorbital triangle"},
    "lids": {"lower lid"},
    "brow": {"inner brow", "outer brow", "glabella"},
    "mouth": {"upper lip", "lower lip"},
}

_UNITS = {unit.code: unit for unit in ACTION_UNITS}


@functools.lru_cache(maxsize=8192)
def regions_in(text: str) -> frozenset[str]:
    """The regions that a text names; "unknown" stands for parts that no unit moves."""
    regions = set()
    text = text.lower()
    if re.search(WHOLE_BROW, text) and "brow" in text:
        regions |= {"inner brow", "outer brow"}
    for region, words in REGION_WORDS:
        text, count = re.subn(rf"\b({words})\b", " ", text)
        if count:
            regions.add(region)
    return frozenset(regions)


@functools.lru_cache(maxsize=8192)
def directions_in(text: str) -> frozenset[str]:
    """The directions that a text names."""
    text = text.lower()
    return frozenset(
        d for d, words in DIRECTION_WORDS.items() if re.search(rf"\b({words})\b", text)
    )


@functools.lru_cache(maxsize=8192)
def clauses(text: str) -> tuple[str, ...]:
    """Splits a text at punctuation and before "but", "yet" and "while"."""
    parts = re.split(r"[.,;:]|\b(?=but\b|yet\b|while\b)", text)
    return tuple(part.strip() for part in parts if part.strip())


def statements(parts: Sequence[str]) -> list[Statement]:
    """The regions and directions of each clause.

    A clause that names no region is read as one about the regions of the clause before it.
    """
    found, regions = [], frozenset()
    for clause in parts:
        regions = regions_in(clause) or regions
        found.append((regions, directions_in(clause)))
    return found


@functools.lru_cache(maxsize=64)
def required_pulls(name: str) -> tuple[tuple[str, tuple[tuple[frozenset[str], str], ...]], ...]:
    """The pulls that a text must state to describe the construct `name`.

    In a combination one pull of each unit is enough, since the joint result replaces the other
    (1+4 leaves the inner brow high, but drawn inward; 12+15 the mouth wide, but not high).

    Returns:
      Pairs of a unit's code and a choice; a choice is a tuple of (regions, direction), one of
      which a clause must state.
    """
    units = [_UNITS[code] for code in name.split("+")]
    required = []
    for unit in units:
        choices = [[pull] for pull in unit.pulls]
        if unit.code == "AU4" and len(units) > 1:
            choices = [[("brow", "inward")]]
        elif unit.code == "AU12":
            choices = [[unit.pulls[0]], [unit.pulls[1], ("mouth", "outward")]]
            if len(units) > 1:
                choices = [[*choices[0], *choices[1], ("nasolabial furrow", "up")]]
        elif unit.code == "AU14" or len(units) > 1:
            choices = [list(unit.pulls)]
        for choice in choices:
            wanted = [
                (frozenset({region} | STANDS_FOR.get(region, set())), way) for region, way in choice
            ]
            required.append((unit.code, tuple(wanted)))
    return tuple(required)


def unstated_pulls(name: str, parts: Sequence[str]) -> list[tuple[str, tuple]]:
    """The entries of `required_pulls(name)` that none of the clauses `parts` states."""
    stated = statements(parts)
    return [
        (code, choice)
        for code, choice in required_pulls(name)
        if not any(
            places & regions and way in ways for regions, ways in stated for places, way in choice
        )
    ]
