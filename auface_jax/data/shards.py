"""The files of a built data set: ArrayRecord shards and `dataset.json`.

    train-00000-of-00002.array_record ...   val-...   test-...
    unseen_held_out-...  unseen_novel-...   only with --held-out-rows or --novel-rows
    references-00000-of-00001.array_record  one record for each person: the reference image
    test_list.json                          the test samples that published figures use
    dataset.json                            a description of all files; written last

The records of one person follow each other, in the order of `people` in `dataset.json`.
"""

import bisect
import itertools
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from array_record.python import array_record_module

from auface_jax.data.record import (
    SCHEMA_VERSION,
    SPLITS,
    UNSEEN_SPLITS,
    Record,
    RecordError,
    decode_record,
)

INFO_NAME = "dataset.json"
TEST_LIST_NAME = "test_list.json"
# Records are read at random, so each is a group of its own; PNG and JPEG do not compress further.
WRITER_OPTIONS = "group_size:1,uncompressed"


class DatasetError(ValueError):
    """A folder holds no complete data set of this schema, or another one than expected."""


def read_info(directory: str | Path) -> dict:
    """Reads `dataset.json` of a data set.

    Raises:
      DatasetError: the file is missing, is not JSON, or has another schema version.
    """
    path = Path(directory) / INFO_NAME
    try:
        info = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError(
            f"{directory} holds no data set ({INFO_NAME} is missing): build one with "
            f"python -m auface_jax.data.build --source builtin --out {directory} ..."
        ) from None
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error}): build the data set again") from error
    version = info.get("schema_version") if isinstance(info, dict) else None
    if version != SCHEMA_VERSION:
        raise DatasetError(
            f"{path} has schema version {version!r}, this code reads {SCHEMA_VERSION}: "
            "remove the folder and build the data set again"
        )
    return info


def split_names(directory: str | Path, split: str | None) -> tuple[str, ...]:
    """Returns `(split,)`, or `SPLITS` for None.

    Raises:
      DatasetError: the data set has no such split.
    """
    if split is None:
        return SPLITS
    people = read_info(directory)["people"]
    if split not in people:
        cure = " (build it with --held-out-rows or --novel-rows)" if split in UNSEEN_SPLITS else ""
        raise DatasetError(f"{directory} has no split {split!r}, only {', '.join(people)}{cure}")
    return (split,)


def read_test_list(directory: str | Path) -> list[int]:
    """Reads the record numbers of the test samples that published figures use, ascending.

    Raises:
      DatasetError: the folder holds no data set, or one without its test list.
    """
    read_info(directory)
    path = Path(directory) / TEST_LIST_NAME
    try:
        return json.loads(path.read_text())["indices"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): build the data set again") from error


class ShardReader(Sequence[Record]):
    """Random access to the records of one split, or of `REFERENCES`; safe to use from threads.

    Args:
      directory: folder of a data set.
      name: name of a split, or `REFERENCES`.
      info: result of `read_info`; None reads it.
      skip_damaged: open the split in spite of damaged shards, unless all are damaged. Their records
        raise RecordError when read.

    Attributes:
      directory: folder of the data set.
      info: content of `dataset.json`.

    Raises:
      DatasetError: a shard is missing, damaged, or has another number of records than
        `dataset.json` says.
    """

    def __init__(
        self,
        directory: str | Path,
        name: str,
        *,
        info: dict | None = None,
        skip_damaged: bool = False,
    ):
        self.directory = Path(directory)
        self.info = info or read_info(directory)
        shards = self.info["shards"][name]
        self._paths = [self.directory / shard["file"] for shard in shards]
        self._ends = list(itertools.accumulate(shard["records"] for shard in shards))
        self._damaged: dict[int, str] = {}  # number of the shard -> error message
        for number, (path, shard) in enumerate(zip(self._paths, shards, strict=True)):
            try:
                check_shard(path, shard["records"])
            except DatasetError as error:
                if not skip_damaged:
                    raise
                self._damaged[number] = str(error)
        if len(self._damaged) == len(shards):
            raise DatasetError(next(iter(self._damaged.values())))
        self._readers: list[array_record_module.ArrayRecordReader | None] = [None] * len(shards)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Record:
        """Reads and decodes record `index`; a RecordError names the shard and the record in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self.decode(index, None)

    def decode(self, index: int, data: bytes | None) -> Record:
        """Decodes record `index`.

        Args:
          index: number of the record.
          data: its bytes from `read`; None reads them.

        Raises:
          RecordError: the record cannot be read; the message names the shard and the record in it.
        """
        try:
            if data is None:
                if fault := self._damaged.get(self._shard(index)):
                    raise RecordError(fault)
                (data,) = self._read([index])
            return decode_record(data)
        except Exception as error:  # The reader raises errors of its own for a damaged block.
            raise RecordError(f"{self.where(index)}: {error}") from error

    def read(self, indices: Sequence[int]) -> list[bytes] | None:
        """Reads the undecoded records of `indices`, in half the time of single reads.

        Returns:
          The bytes of each record, or None where one of them cannot be read; `decode` of each
          record then names the damaged one.
        """
        if self._damaged and any(self._shard(index) in self._damaged for index in indices):
            return None
        try:
            return self._read(indices)
        except Exception:  # See `decode`.
            return None

    def _read(self, indices: Sequence[int]) -> list[bytes]:
        records = []
        # One thread at a time, by a seek and a read for each record: reading a list of records
        # by one call of array_record takes twice as long.
        with self._lock:
            for index in indices:
                shard = self._shard(index)
                reader = self._readers[shard] or self._open(shard)
                reader.seek(index - self._ends[shard - 1] if shard else index)
                try:
                    records.append(reader.read())
                except Exception:
                    self._readers[shard] = None  # It would repeat the error for every record.
                    raise
        return records

    def _open(self, shard: int) -> array_record_module.ArrayRecordReader:
        """Opens the reader of a shard, at the first use."""
        # Records are read at random, so nothing is read ahead.
        self._readers[shard] = array_record_module.ArrayRecordReader(
            str(self._paths[shard]),
            options="readahead_buffer_size:0,max_parallelism:0",
            file_reader_buffer_size=8192,
        )
        return self._readers[shard]

    def _shard(self, index: int) -> int:
        return bisect.bisect_right(self._ends, index)

    def where(self, index: int) -> str:
        """Names the file of record `index` and its number there, for messages."""
        shard = self._shard(index)
        before = self._ends[shard - 1] if shard else 0
        return f"{self._paths[shard]} record {index - before}"


def check_shard(path: Path, records: int) -> None:
    """Raises DatasetError unless a shard is complete and has the given number of records."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build the data set again")
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        number = reader.num_records()
        reader.close()
    except Exception as error:  # The reader raises bare RuntimeError and IndexError.
        raise DatasetError(f"{path} is damaged ({error}): build the data set again") from error
    if number != records:
        raise DatasetError(
            f"{path} has {number} records, {INFO_NAME} says {records}: build the data set again"
        )


def build_options(directory: str | Path) -> dict:
    """Reads the options that a data set was built with; empty where there is no data set."""
    return read_info(directory)["options"] if (Path(directory) / INFO_NAME).exists() else {}


def built_unaligned(directory: str | Path) -> bool:
    """Returns True where a data set was built without alignment, from pictures as they are."""
    return build_options(directory).get("align") == "off"
