"""Counts a data set: constructs by kind, units, combinations, texts, people and splits.

    python -m auface_jax.data.statistics DIR [--out FOLDER]

writes `statistics.json`, the data card `card.md`, and its plots. The counts are those that the
paper (arXiv 2603.18588) gives for BP4D-AUText in Figure 2 and Table 7. An *entry* is a record of a
split; references, which are never targets, are not counted. An *occurrence* is a construct in an
entry's text. All entries of the paper have an active unit, so shares are of the entries that have
one; neutral entries are counted separately.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from auface_jax import facs
from auface_jax.data.loading.pipeline import record_text
from auface_jax.data.record import REFERENCES, UNSEEN_NOVEL, Record
from auface_jax.data.shards import ShardReader, read_info
from auface_jax.data.statistics.kinds import KIND_OF, KINDS, SINGLE
from auface_jax.data.tokenizer import EMBEDDED, Tokenizer, load_tokenizer

SCHEMA_VERSION = 1
_CHUNK = 256  # records that are read together
# Text lengths in tokens: no text is truncated, and padding stays small.
_LENGTHS = tuple(2**n for n in range(5, 21))


def statistics(
    directory: str | Path,
    *,
    tokenizer: str = EMBEDDED,
    dictionary: facs.Dictionary | None = None,
) -> dict:
    """Counts a data set.

    Args:
      directory: folder of a data set.
      tokenizer: argument of `load_tokenizer`; text lengths are given in its tokens.
      dictionary: texts from `facs.load_dictionary`; None takes the project's own.

    Returns:
      The content of `statistics.json`, which `data/SCHEMA.md` describes.

    Raises:
      DatasetError: the folder holds no data set, or a damaged one; the message names the file.
      RecordError: a record cannot be read; the message names shard and record.
    """
    info = read_info(directory)
    # No image of the source has the novel AU combinations, so they do not count.
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


def combination_rates(vectors: Iterable[Shaped[np.ndarray, "A"]]) -> dict:
    """Counts combinations in label vectors that have an active unit.

    Args:
      vectors: label vectors, 1 for an active unit.

    Returns:
      `number` of vectors with an active unit, `share` of them with one of the 26 combinations, in
      [0, 1], and mean `occurrences` of combinations in each.

    Raises:
      ValueError: no vector has an active unit.
    """
    number = with_combination = occurrences = 0
    for vector in vectors:
        names = facs.constructs(np.asarray(vector) == 1)
        combinations = sum(KIND_OF[name] != SINGLE for name in names)
        number += bool(names)
        with_combination += combinations > 0
        occurrences += combinations
    if not number:
        raise ValueError("no label vector has an active unit, so there is nothing to count")
    return {
        "number": number,
        "share": with_combination / number,
        "occurrences": occurrences / number,
    }


def _records(reader: ShardReader) -> Iterator[Record]:
    """Yields all records of a shard reader, in order."""
    for start in range(0, len(reader), _CHUNK):
        indices = range(start, min(start + _CHUNK, len(reader)))
        encoded = reader.read(indices) or itertools.repeat(None)
        for index, data in zip(indices, encoded, strict=False):
            yield reader.decode(index, data)


class _Counter:
    """Running counts over records.

    Attributes:
      entries: number of records so far.
      exact: True while all labels are true by construction.
    """

    def __init__(self, tokenizer: Tokenizer, dictionary: facs.Dictionary | None):
        self._tokenizer, self._dictionary = tokenizer, dictionary
        self.entries = 0
        self.exact = True
        self._vectors = collections.Counter()  # bytes of a label vector -> entries
        self._constructs = collections.Counter()  # the constructs of an entry -> entries
        self._texts: set[int] = set()  # hashes, since a million texts would take a gigabyte
        self._words: list[int] = []  # number of words of each text
        self._tokens: list[int] = []  # number of tokens of each text

    def count(self, records: Iterable[Record]) -> None:
        """Adds records to the counts."""
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
                self._vectors[record.labels.tobytes()] += 1
                self._constructs[record.constructs] += 1

    def result(self) -> dict:
        """Returns the counts as JSON values."""
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
                # An entry is named after the most opposed kind in it.
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
            "label_rows": len(self._vectors),
            "texts": len(self._texts),
            "text_words": _summary(self._words) | {"histogram": _histogram(self._words)},
            "text_tokens": _summary(self._tokens) | {"histogram": _histogram(self._tokens)},
        }

    def _units(self) -> dict[str, dict]:
        """Number of entries where each unit is present, absent, and not coded."""
        vectors = np.array([np.frombuffer(data, np.int8) for data in self._vectors])  # [M, A]
        entries = np.array(list(self._vectors.values()))  # [M]
        units = {}
        for column, unit in enumerate(facs.ACTION_UNITS):
            present, absent, uncoded = (
                int(entries[vectors[:, column] == label].sum()) for label in (1, 0, -1)
            )
            units[unit.code] = {
                "present": present,
                "absent": absent,
                "uncoded": uncoded,
                "rate": present / (present + absent) if present + absent else None,
            }
        return units


def _summary(values: Sequence[int]) -> dict[str, float]:
    """Least and greatest value, mean, median, and 5th and 95th percentile."""
    low, median, high = np.percentile(values, (5, 50, 95)).tolist()
    return {
        "min": min(values),
        "p5": low,
        "median": median,
        "mean": float(np.mean(values)),
        "p95": high,
        "max": max(values),
    }


def _histogram(values: Sequence[int], bins: int = 40) -> dict[str, list]:
    """Histogram of at most `bins` bins of equal whole width: `edges`, one more than `counts`."""
    low, high = min(values), max(values) + 1
    width = -(-(high - low) // bins)
    edges = np.arange(low, high + width, width)
    return {"edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()}
