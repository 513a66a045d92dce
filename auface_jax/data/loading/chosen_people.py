"""The people that a run trains on and is evaluated on, in place of the data set's own splits.

A config may have a part `people`:

    train, test   people by name: "" takes the split of the data set; else a text file of names, or
                  the names themselves, separated by blanks, commas or lines
    half          "first" or "second" takes every other one of the training people, so that two runs
                  on one data set have nobody in common; "" takes all

The records of these people are taken from all splits of the data set.
"""

import bisect
import contextlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int8

from auface_jax.data.record import SPLITS, Record, RecordError
from auface_jax.data.shards import DatasetError, ShardReader, read_info
from auface_jax.data.sources.base import format_faults

HALVES = ("", "first", "second")


class PeopleReader(Sequence[Record]):
    """Random access to the records of some people, from all splits, in the form of `ShardReader`.

    Args:
      directory: folder of a data set.
      people: names of the people.
      skip_damaged: open the data set in spite of damaged shards, as `ShardReader` does.

    Attributes:
      info: content of `dataset.json`.
      directory: folder of the data set.
      counts: number of records of each of `people`, in the same order.

    Raises:
      DatasetError: people are not in the data set; the message lists all of them.
    """

    def __init__(self, directory: str | Path, people: Sequence[str], *, skip_damaged: bool = False):
        self.info = read_info(directory)
        self.directory = Path(directory)
        if self.info["options"]["split"] == "image":
            raise DatasetError(
                f"{directory} was split by image, so that its people are in several splits: choose "
                "people in a data set built with --split person"
            )
        check_people(directory, self.info, people)
        self._readers = {
            split: ShardReader(directory, split, info=self.info, skip_damaged=skip_damaged)
            for split in SPLITS
            if self.info["counts"][split]
        }
        starts = {}  # subject -> split, and number of the first record there
        for split in SPLITS:
            numbers = itertools.accumulate(self.info["people"][split].values(), initial=0)
            # The last of the numbers is the number of all records, and belongs to nobody.
            starts |= zip(self.info["people"][split], ((split, n) for n in numbers), strict=False)
        self._starts = [starts[person] for person in people]
        self.counts = [self.info["people"][starts[person][0]][person] for person in people]
        self._ends = list(itertools.accumulate(self.counts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Record:
        return self.decode(index, None)

    def decode(self, index: int, data: bytes | None) -> Record:
        """Decodes record `index`, see `ShardReader.decode`."""
        split, number = self._find(index)
        return self._readers[split].decode(number, data)

    def read(self, indices: Sequence[int]) -> list[bytes] | None:
        """Reads the undecoded records of `indices`, see `ShardReader.read`."""
        by_split: dict[str, list[int]] = {}  # split -> positions in `indices`
        located = [self._find(index) for index in indices]
        for position, (split, _) in enumerate(located):
            by_split.setdefault(split, []).append(position)
        data = [b""] * len(indices)
        for split, positions in by_split.items():
            records = self._readers[split].read([located[position][1] for position in positions])
            if records is None:
                return None
            for position, record in zip(positions, records, strict=True):
                data[position] = record
        return data

    def where(self, index: int) -> str:
        """Names the file of record `index` and its number there, for messages."""
        split, number = self._find(index)
        return self._readers[split].where(number)

    def _find(self, index: int) -> tuple[str, int]:
        """The split of record `index`, and its number there."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        person = bisect.bisect_right(self._ends, index)
        split, start = self._starts[person]
        return split, start + index - (self._ends[person] - self.counts[person])


def open_records(
    directory: str | Path,
    split: str,
    people: Sequence[str] | None = None,
    *,
    skip_damaged: bool = False,
) -> ShardReader | PeopleReader:
    """Opens the records of a split, or of `people` from all splits.

    Args:
      directory: folder of a data set.
      split: name of a split, which `people` replace.
      people: names of people; None or nobody takes the split.
      skip_damaged: open the data set in spite of damaged shards.

    Raises:
      DatasetError: see `ShardReader` and `PeopleReader`.
    """
    if people:
        return PeopleReader(directory, people, skip_damaged=skip_damaged)
    return ShardReader(directory, split, skip_damaged=skip_damaged)


def check_people(directory: str | Path, info: dict, people: Sequence[str]) -> None:
    """Raises DatasetError unless `people` names somebody, nobody twice, and only people of the set.

    Args:
      directory: folder of the data set, for the message.
      info: content of `dataset.json`.
      people: names of people.
    """
    known = [person for split in SPLITS for person in info["people"][split]]
    faults = [f"{person!r} is not in the set" for person in people if person not in known]
    faults += [f"{person!r} is named twice" for person in set(people) if people.count(person) > 1]
    if faults or not people:
        faults = faults or ["nobody is named"]
        message = format_faults(faults, f"people of {directory}")
        first = ", ".join(known[:5])
        raise DatasetError(f"{message}\nits {len(known)} people begin with {first}")


def parse_people(text: str) -> list[str]:
    """Parses names from a text file, or from the text itself."""
    with contextlib.suppress(OSError):  # A list of names may be too long for a file name.
        if Path(text).is_file():
            text = Path(text).read_text()
    return [name for name in re.split(r"[\s,]+", text) if name]


def chosen_people(directory: str | Path, config: Any) -> dict[str, list[str]]:
    """Resolves a config's `people` part.

    Args:
      directory: folder of a data set.
      config: the part with `train`, `test` and `half`; None changes nothing.

    Returns:
      Names of the people of "train" and "test"; empty where the data set's own splits are used.

    Raises:
      DatasetError: a person is not in the data set, or is both trained and tested on, or `half` is
        illegal.
    """
    if config is None or not (config.train or config.test or config.half):
        return {}
    info = read_info(directory)
    if config.half not in HALVES:
        raise DatasetError(f"people.half={config.half!r} is none of {', '.join(map(repr, HALVES))}")
    people = {
        split: parse_people(config[split]) if config[split] else list(info["people"][split])
        for split in ("train", "test")
    }
    for split in people:
        check_people(directory, info, people[split])
    if both := sorted(set(people["train"]) & set(people["test"])):
        raise DatasetError(
            f"{', '.join(both[:5])}{' …' if len(both) > 5 else ''} ({len(both)} people) would be "
            "trained on and tested on; name people.train and people.test without overlap"
        )
    if config.half:
        people["train"] = people["train"][HALVES.index(config.half) - 1 :: 2]
        check_people(directory, info, people["train"])
    return people


def training_labels(config: Any, limit: int) -> Int8[np.ndarray, "M A"]:
    """Reads labels of the records that a run trains on: at most `limit`, evenly spread.

    Args:
      config: config of the run.
      limit: largest number M of records.
    """
    directory, skip = config.data.dir, config.data.skip_corrupt
    people = chosen_people(directory, config.get("people")).get("train")
    records = open_records(directory, "train", people, skip_damaged=skip)
    indices = np.linspace(0, len(records) - 1, min(limit, len(records))).round().astype(int)
    labels = []
    for index in indices.tolist():
        try:
            labels.append(records[index].labels)
        except RecordError:
            if not skip:
                raise
    return np.stack(labels)
