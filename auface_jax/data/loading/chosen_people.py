"""Whom a run trains on and whom it is judged on, where that is not the data set's own split.

A config may have a part `people`:

    train, test   people by name: "" for the split of the set, else a text file of names, or the
                  names themselves, separated by blanks, commas or lines
    half          "", "first" or "second": every other one of the training people, so that two runs
                  on one set have nobody in common

Their records are taken from all splits of the set.
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
    """The records of some people, of all splits, at random; reads as `ShardReader` does.

    Attributes:
      counts: records of each of `people`, in their order.

    Raises:
      DatasetError: somebody is not in the set; all of them are listed.
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
        places = {}  # of each person: split and number of the first record
        for split in SPLITS:
            starts = itertools.accumulate(self.info["people"][split].values(), initial=0)
            places |= dict(
                zip(self.info["people"][split], ((split, n) for n in starts), strict=False)
            )
        self._places = [places[person] for person in people]
        self.counts = [self.info["people"][places[person][0]][person] for person in people]
        self._ends = list(itertools.accumulate(self.counts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Record:
        return self.decode(index, None)

    def decode(self, index: int, data: bytes | None) -> Record:
        """As `ShardReader.decode`."""
        split, number = self._find(index)
        return self._readers[split].decode(number, data)

    def read(self, indices: Sequence[int]) -> list[bytes] | None:
        """As `ShardReader.read`."""
        wanted: dict[str, list[int]] = {}  # split -> places in `indices`
        found = [self._find(index) for index in indices]
        for place, (split, _) in enumerate(found):
            wanted.setdefault(split, []).append(place)
        data = [b""] * len(indices)
        for split, places in wanted.items():
            read = self._readers[split].read([found[place][1] for place in places])
            if read is None:
                return None
            for place, record in zip(places, read, strict=True):
                data[place] = record
        return data

    def where(self, index: int) -> str:
        """The file of record `index` and its number there, for messages."""
        split, number = self._find(index)
        return self._readers[split].where(number)

    def _find(self, index: int) -> tuple[str, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        person = bisect.bisect_right(self._ends, index)
        split, start = self._places[person]
        return split, start + index - (self._ends[person] - self.counts[person])


def open_records(
    directory: str | Path,
    split: str,
    people: Sequence[str] | None = None,
    *,
    skip_damaged: bool = False,
) -> ShardReader | PeopleReader:
    """The records of a split, or of `people` whatever their split; errors as theirs."""
    if people:
        return PeopleReader(directory, people, skip_damaged=skip_damaged)
    return ShardReader(directory, split, skip_damaged=skip_damaged)


def check_people(directory: str | Path, info: dict, people: Sequence[str]) -> None:
    """Raises a DatasetError unless there is somebody, nobody twice, and all are in the set."""
    known = [person for split in SPLITS for person in info["people"][split]]
    faults = [f"{person!r} is not in the set" for person in people if person not in known]
    faults += [f"{person!r} is named twice" for person in set(people) if people.count(person) > 1]
    if faults or not people:
        faults = faults or ["nobody is named"]
        message = format_faults(faults, f"people of {directory}")
        first = ", ".join(known[:5])
        raise DatasetError(f"{message}\nits {len(known)} people begin with {first}")


def parse_people(text: str) -> list[str]:
    """Names in a text file, or in the text itself."""
    with contextlib.suppress(OSError):  # a list of names is too long for the name of a file
        if Path(text).is_file():
            text = Path(text).read_text()
    return [name for name in re.split(r"[\s,]+", text) if name]


def chosen_people(directory: str | Path, config: Any) -> dict[str, list[str]]:
    """The people of the splits that a config's `people` part changes: of "train", "test" or both.

    Args:
      config: `train`, `test`, `half`, see above; None changes nothing.

    Raises:
      DatasetError: a name that is not in the set, somebody both trained and tested on, or another
        half; the message says what is legal.
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
    """Labels of the records that a run trains on: at most `limit`, spread evenly."""
    directory, skip = config.data.dir, config.data.skip_corrupt
    people = chosen_people(directory, config.get("people")).get("train")
    records = open_records(directory, "train", people, skip_damaged=skip)
    rows = np.linspace(0, len(records) - 1, min(limit, len(records))).round().astype(int)
    labels = []
    for row in rows.tolist():
        try:
            labels.append(records[row].labels)
        except RecordError:
            if not skip:
                raise
    return np.stack(labels)
