"""Dictionaries: five texts for each of the 38 constructs, and five for a neutral face.

The project's own dictionary, `dictionary.json` beside this file, describes FACS in its own words.
Any other dictionary of the same format can be loaded: the paper's, a translation, a laboratory's.

The format is one JSON object:

    {
      "schema_version": 1,
      "language": "en",
      "neutral": [five texts],
      "constructs": {"AU1": [five texts], ..., "AU6+AU12+AU15": [five texts], ...}
    }
"""

import dataclasses
import difflib
import functools
import importlib.resources
import json
import os
import pathlib
import unicodedata
from collections.abc import Mapping

from auface_jax.facs.action_units import ACTION_UNITS
from auface_jax.facs.interactions import INTERACTIONS

SCHEMA_VERSION = 1
TEXTS_PER_CONSTRUCT = 5

# All 38 constructs, combinations first, in the order in which the processor scans them.
CONSTRUCT_NAMES = tuple(
    [interaction.name for interaction in INTERACTIONS] + [unit.code for unit in ACTION_UNITS]
)

_KEYS = ("schema_version", "language", "neutral", "constructs")


class DictionaryError(ValueError):
    """A dictionary cannot be used.

    Attributes:
      faults: all faults of the dictionary, one line each.
    """

    def __init__(self, source: str, faults: list[str]):
        self.faults = tuple(faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n  - ".join([f"dictionary {source} has {count}:", *faults]))


@dataclasses.dataclass(frozen=True)
class Dictionary:
    """A validated dictionary.

    Attributes:
      language: the language of the texts, such as "en".
      neutral: five texts for a face with no active unit.
      constructs: five texts for each name of `CONSTRUCT_NAMES`.
    """

    language: str
    neutral: tuple[str, ...]
    constructs: Mapping[str, tuple[str, ...]]


def load_dictionary(path: str | os.PathLike | None = None) -> Dictionary:
    """Loads and validates a dictionary.

    Args:
      path: a JSON file of the format above; None is the project's own dictionary, which is read
        once in a process.

    Raises:
      FileNotFoundError: the file does not exist.
      DictionaryError: the file is not a valid dictionary; the message lists all faults.
    """
    if path is None:
        return _own_dictionary()
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no dictionary file at {str(path)!r}; give the path of a JSON file of the format of "
            "auface_jax/facs/dictionary.json, or omit it to use that one"
        )
    return parse_dictionary(path.read_bytes(), source=str(path))


@functools.cache
def _own_dictionary() -> Dictionary:
    """The project's own dictionary."""
    file = importlib.resources.files("auface_jax.facs") / "dictionary.json"
    return parse_dictionary(file.read_bytes(), source="dictionary.json")


def parse_dictionary(data: bytes, *, source: str) -> Dictionary:
    """Parses and validates the bytes of a dictionary file.

    Args:
      data: content of the file.
      source: name of the file for messages.

    Raises:
      DictionaryError: the file is not a valid dictionary; the message lists all faults.
    """
    faults: list[str] = []

    def object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # Python's JSON reader silently keeps the last of two equal keys: five texts would be lost.
        for key in sorted({key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1}):
            faults.append(f"key {key!r} is given more than once; keep one")
        return dict(pairs)

    try:
        content = json.loads(data.decode("utf-8-sig"), object_pairs_hook=object_without_repeats)
    except (ValueError, RecursionError) as error:  # numbers of endless digits are a ValueError too
        raise DictionaryError(source, [f"not a UTF-8 JSON file: {error}"]) from None
    if not isinstance(content, dict):
        raise DictionaryError(
            source, [f"holds a JSON {type(content).__name__}, not an object with {_listed(_KEYS)}"]
        )

    for key in content:
        if key not in _KEYS:
            faults.append(f"unknown key {key!r}{_nearest(key, _KEYS)}; legal: {_listed(_KEYS)}")
    for key in _KEYS:
        if key not in content:
            faults.append(f"missing key {key!r}")

    version = content.get("schema_version", SCHEMA_VERSION)
    if type(version) is not int or version != SCHEMA_VERSION:
        faults.append(f"schema_version is {version!r}; this program reads version {SCHEMA_VERSION}")
    language = content.get("language", "")
    if "language" in content and (not isinstance(language, str) or not language.strip()):
        faults.append(f"language is {language!r}; give a language tag such as 'en'")

    seen: dict[str, str] = {}
    neutral = ()
    if "neutral" in content:
        neutral = _check_texts("neutral", content["neutral"], seen, faults)

    constructs = {}
    table = content.get("constructs", {})
    if not isinstance(table, dict):
        faults.append(f"constructs is a {type(table).__name__}, not an object of names and texts")
    else:
        for name in table:
            if name not in CONSTRUCT_NAMES:
                faults.append(f"unknown construct {name!r}{_nearest(name, CONSTRUCT_NAMES)}")
        for name in CONSTRUCT_NAMES:
            if name in table:
                constructs[name] = _check_texts(name, table[name], seen, faults)
            elif "constructs" in content:
                faults.append(f"missing construct {name}")
    if faults:
        raise DictionaryError(source, faults)
    return Dictionary(language=language, neutral=neutral, constructs=constructs)


def _check_texts(
    name: str, texts: object, seen: dict[str, str], faults: list[str]
) -> tuple[str, ...]:
    """Checks the texts of one construct.

    Args:
      name: name of the construct.
      texts: its value in the file.
      seen: place of every text before, by its normalised form; extended in place.
      faults: faults found so far; extended in place.
    """
    if not isinstance(texts, list):
        faults.append(f"{name} is {texts!r:.60}, not a list of {TEXTS_PER_CONSTRUCT} texts")
        return ()
    if len(texts) != TEXTS_PER_CONSTRUCT:
        faults.append(f"{name} has {len(texts)} texts, not {TEXTS_PER_CONSTRUCT}")
    for index, text in enumerate(texts):
        place = f"{name}[{index}]"
        if not isinstance(text, str):
            faults.append(f"{place} is {text!r:.60}, not a text")
            continue
        if not text.strip():
            faults.append(f"{place} is blank")
            continue
        if text != text.strip():
            faults.append(f"{place} begins or ends with white space")
        strange = sorted({c for c in text if unicodedata.category(c) in ("Cc", "Cs")})
        if strange:
            faults.append(f"{place} holds control characters {strange}; write it on one line")
        key = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
        if key in seen:
            faults.append(f"{place} repeats the text of {seen[key]}")
        seen.setdefault(key, place)
    return tuple(texts)


def _nearest(word: str, legal: tuple[str, ...]) -> str:
    """A hint at the legal word that is most similar, or nothing."""
    close = difflib.get_close_matches(word, legal, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _listed(words: tuple[str, ...]) -> str:
    """Words joined by commas."""
    return ", ".join(words)
