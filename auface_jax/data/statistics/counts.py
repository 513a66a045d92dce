"""What a data set holds, counted: constructs by kind, units, combinations, texts, people, splits.

    python -m auface_jax.data.statistics DIR [--out FOLDER]

writes `statistics.json`, the data card `card.md`, and its plots. It counts what Figure 2 and Table
7 of the paper (arXiv 2603.18588) tell of BP4D-AUText, for any set made by `build`. An *entry* is a
record of a split; references, which are never targets, are not counted. An *occurrence* is a
construct in an entry's text. The paper's entries all have an active unit, so shares are of the
entries that have one; neutral entries are counted beside them.
"""

import collections
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from auface_jax import facs
from auface_jax.data.loading.pipeline import record_text
from auface_jax.data.record import REFERENCES, UNSEEN_NOVEL, Record
from auface_jax.data.shards import ShardReader, read_info
from auface_jax.data.statistics.card import KIND_OF, KINDS, SINGLE
from auface_jax.data.tokenizer import load_tokenizer

SCHEMA_VERSION = 1
_CHUNK = 256  # records read together
_LENGTHS = tuple(2**n for n in range(5, 21))  # tokens: no text is cut, and padding stays small


def statistics(
    directory: str | Path,
    *,
    tokenizer: str = "",
    dictionary: facs.Dictionary | None = None,
) -> dict:
    """Counts a data set.

    Args:
      directory: A folder made by `build`.
      tokenizer: As in `load_tokenizer`; text lengths are given in its tokens.
      dictionary: The texts, from `facs.load_dictionary`; None takes the project's own.

    Returns:
      JSON values; `statistics.json` holds the same. `data/SCHEMA.md` describes them.

    Raises:
      DatasetError, RecordError: No data set there, or a damaged one; names the file.
    """
    info = read_info(directory)
    # Novel label rows are none of the data's.
    splits = [name for name in info["shards"] if name not in (REFERENCES, UNSEEN_NOVEL)]
    counter = _Counter(load_tokenizer(tokenizer), dictionary)
    by_split = {}
    for split in splits:
        before = counter.entries
        counter.count(_records(ShardReader(directory, split, info=info)))
        by_split[split] = {
            "entries": counter.entries - before,
            "people": len(info["people"].get(split, ())),
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "source": info["source"],
        "size": info["size"],
        "fingerprint": info["fingerprint"],
        "exact": counter.exact,
        "splits": by_split,
        "people": {
            "number": len(set().union(*info["people"].values())),
            "entries": _summary(
                [count for people in info["people"].values() for count in people.values()]
            ),
        },
        "left_out": info["left_out"],
        "tokenizer": tokenizer,
        **counter.result(),
    }


def combination_rates(rows: Iterable[np.ndarray]) -> dict:
    """Share of label rows with a combination, and combinations a row, among rows with a unit.

    Args:
      rows: int [A] each, 1 for an active unit.

    Returns:
      `rows` that have a unit, `share` of them with one of the 26 combinations, in [0, 1], and
      `occurrences` of combinations a row.
    """
    number = with_combination = occurrences = 0
    for row in rows:
        names = facs.constructs(np.asarray(row) == 1)
        combinations = sum(KIND_OF[name] != SINGLE for name in names)
        number += bool(names)
        with_combination += combinations > 0
        occurrences += combinations
    if not number:
        raise ValueError("no row has an active unit, so there is nothing to count")
    return {
        "rows": number,
        "share": with_combination / number,
        "occurrences": occurrences / number,
    }


def _records(reader: ShardReader) -> Iterable[Record]:
    """All records of a shard reader, in order."""
    for start in range(0, len(reader), _CHUNK):
        indices = range(start, min(start + _CHUNK, len(reader)))
        encoded = reader.read(indices) or itertools.repeat(None)
        for index, data in zip(indices, encoded, strict=False):
            yield reader.decode(index, data)


class _Counter:
    """Running counts over records."""

    def __init__(self, tokenizer, dictionary: facs.Dictionary | None):
        self._tokenizer, self._dictionary = tokenizer, dictionary
        self.entries = 0
        self.exact = True
        self._rows = collections.Counter()  # label row -> entries
        self._constructs = collections.Counter()  # the constructs of an entry -> entries
        self._texts = set()  # hashes: a million texts would take a gigabyte
        self._words, self._tokens = [], []

    def count(self, records: Iterable[Record]) -> None:
        """Adds records."""
        records = iter(records)
        while chunk := list(itertools.islice(records, _CHUNK)):
            texts = [record_text(record, self._dictionary) for record in chunk]
            _, mask = self._tokenizer.encode_batch(texts, _LENGTHS)
            self._tokens += mask.sum(axis=1).tolist()
            self._words += [len(text.split()) for text in texts]
            self._texts.update(map(hash, texts))
            self.entries += len(chunk)
            for record in chunk:
                self.exact &= record.exact
                self._rows[record.labels.tobytes()] += 1
                self._constructs[record.constructs] += 1

    def result(self) -> dict:
        """The counts as JSON values."""
        names = collections.Counter()
        kinds = {kind: {"entries": 0, "occurrences": 0, "leading": 0} for kind in KINDS}
        numbers = collections.Counter()
        active = with_combination = 0
        for constructs, entries in self._constructs.items():
            numbers[len(constructs)] += entries
            names.update(dict.fromkeys(constructs, entries))
            occurring = [KIND_OF[name] for name in constructs]
            for kind in occurring:
                kinds[kind]["occurrences"] += entries
            for kind in set(occurring):
                kinds[kind]["entries"] += entries
            if occurring:
                active += entries
                with_combination += entries * (set(occurring) != {SINGLE})
                # An entry is called after the most opposed kind in it.
                kinds[max(occurring, key=KINDS.index)]["leading"] += entries
        combinations = sum(kinds[kind]["occurrences"] for kind in KINDS if kind != SINGLE)
        return {
            "entries": self.entries,
            "active_entries": active,
            "neutral_entries": self.entries - active,
            "kinds": kinds,
            "combinations": {
                "entries": with_combination,
                "share": with_combination / active if active else None,
                "occurrences": combinations,
                "occurrences_per_entry": combinations / active if active else None,
            },
            "constructs": {name: names[name] for name in facs.CONSTRUCT_NAMES},
            "constructs_per_entry": {str(n): numbers[n] for n in sorted(numbers)},
            "units": self._units(),
            "label_rows": len(self._rows),
            "texts": len(self._texts),
            "text_words": _summary(self._words) | {"histogram": _histogram(self._words)},
            "text_tokens": _summary(self._tokens) | {"histogram": _histogram(self._tokens)},
        }

    def _units(self) -> dict[str, dict]:
        """For each unit the entries where it is present, absent, and not coded."""
        rows = np.array([np.frombuffer(row, np.int8) for row in self._rows])  # [R, A]
        entries = np.array(list(self._rows.values()))
        units = {}
        for column, unit in enumerate(facs.ACTION_UNITS):
            present, absent, uncoded = (
                int(entries[rows[:, column] == label].sum()) for label in (1, 0, -1)
            )
            units[unit.code] = {
                "present": present,
                "absent": absent,
                "uncoded": uncoded,
                "rate": present / (present + absent) if present + absent else None,
            }
        return units


def _summary(values: list[int]) -> dict[str, float]:
    low, median, high = np.percentile(values, (5, 50, 95)).tolist()
    return {
        "min": min(values),
        "p5": low,
        "median": median,
        "mean": float(np.mean(values)),
        "p95": high,
        "max": max(values),
    }


def _histogram(values: list[int], bins: int = 40) -> dict[str, list]:
    """At most so many bins of one whole width: `edges`, one more than `counts`."""
    low, high = min(values), max(values) + 1
    width = -(-(high - low) // bins)
    edges = np.arange(low, high + width, width)
    return {"edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()}
