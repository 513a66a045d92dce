"""The files of a built data set: ArrayRecord shards and `dataset.json`.

    train-00000-of-00002.array_record ...   val-...   test-...
    unseen_held_out-...  unseen_novel-...   where the build was asked for them
    references-00000-of-00001.array_record  one record a person: the reference image
    test_list.json                          the samples of test that figures are measured on
    dataset.json                            what is in them; written last

Records of one person lie next to each other, in the order of `dataset.json`'s `people`.
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
# Grain reads at random, so each record is its own group; PNG and JPEG do not compress further.
WRITER_OPTIONS = "group_size:1,uncompressed"


class DatasetError(ValueError):
    """A folder that is no complete data set of this schema, or another one than asked for."""


def read_info(directory: str | Path) -> dict:
    """What `dataset.json` of a built folder holds.

    Raises:
      DatasetError: There is no such file, it is no JSON, or its schema version is another.
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
    """`(split,)`, or `SPLITS` for None; DatasetError for a name that is no split of the set."""
    if split is None:
        return SPLITS
    people = read_info(directory)["people"]
    if split not in people:
        cure = " (build it with --held-out-rows or --novel-rows)" if split in UNSEEN_SPLITS else ""
        raise DatasetError(f"{directory} has no split {split!r}, only {', '.join(people)}{cure}")
    return (split,)


def read_test_list(directory: str | Path) -> list[int]:
    """Places in the split `test` of the samples that published figures are measured on, ascending.

    Raises:
      DatasetError: The folder holds no data set, or one without its list.
    """
    read_info(directory)
    path = Path(directory) / TEST_LIST_NAME
    try:
        return json.loads(path.read_text())["indices"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): build the data set again") from error


class ShardReader(Sequence[Record]):
    """The records of one split (or of `REFERENCES`), at random; safe to read from threads.

    Args:
      directory: A folder made by `build`.
      name: A split, or `REFERENCES`.
      info: What `read_info` gives, where it is known already.
      skip_damaged: Open in spite of damaged shards. Their records raise RecordError when read.

    Raises:
      DatasetError: A shard is missing, damaged, or has another number of records than
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
        self._damaged: dict[int, str] = {}  # number of the shard -> what is wrong with it
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
        """Record `index`, decoded; RecordError names the shard and the place in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        return self.decode(index, None)

    def decode(self, index: int, data: bytes | None) -> Record:
        """Record `index` from its bytes, which `read` gave; None reads them. Errors as above."""
        try:
            if data is None:
                if fault := self._damaged.get(self._shard(index)):
                    raise RecordError(fault)
                (data,) = self._read([index])
            return decode_record(data)
        except Exception as error:  # the reader has its own errors for a damaged block
            raise RecordError(f"{self.where(index)}: {error}") from error

    def read(self, indices: Sequence[int]) -> list[bytes] | None:
        """The undecoded records of `indices`, in half the time of one by one.

        None when one of them cannot be read: ask for each by itself, to be told which.
        """
        if self._damaged and any(self._shard(index) in self._damaged for index in indices):
            return None
        try:
            return self._read(indices)
        except Exception:  # as in `decode`
            return None

    def _read(self, indices: Sequence[int]) -> list[bytes]:
        found = []
        # One thread at a time, by going to a record and reading on from there: asked for a list
        # of records, array_record takes twice as long.
        with self._lock:
            for index in indices:
                shard = self._shard(index)
                reader = self._readers[shard] or self._open(shard)
                reader.seek(index - self._ends[shard - 1] if shard else index)
                try:
                    found.append(reader.read())
                except Exception:
                    self._readers[shard] = None  # it would repeat the error for every record
                    raise
        return found

    def _open(self, shard: int) -> array_record_module.ArrayRecordReader:
        """The reader of a shard; each is opened when first needed."""
        # Read at random: what lies ahead in the file is of no use.
        self._readers[shard] = array_record_module.ArrayRecordReader(
            str(self._paths[shard]),
            options="readahead_buffer_size:0,max_parallelism:0",
            file_reader_buffer_size=8192,
        )
        return self._readers[shard]

    def _shard(self, index: int) -> int:
        return bisect.bisect_right(self._ends, index)

    def where(self, index: int) -> str:
        """The file of record `index` and its number there, for messages."""
        shard = self._shard(index)
        before = self._ends[shard - 1] if shard else 0
        return f"{self._paths[shard]} record {index - before}"


def check_shard(path: Path, records: int) -> None:
    """Raises DatasetError unless the file is there, whole, and of so many records."""
    if not path.is_file():
        raise DatasetError(f"{path} is missing: build the data set again")
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        found = reader.num_records()
        reader.close()
    except Exception as error:  # the reader raises bare RuntimeError and IndexError
        raise DatasetError(f"{path} is damaged ({error}): build the data set again") from error
    if found != records:
        raise DatasetError(
            f"{path} has {found} records, {INFO_NAME} says {records}: build the data set again"
        )


def build_options(directory: str | Path) -> dict:
    """What a data set was built with; nothing is known of one that is not here."""
    return read_info(directory)["options"] if (Path(directory) / INFO_NAME).exists() else {}


def built_unaligned(directory: str | Path) -> bool:
    """Whether a data set was built from pictures as they were cropped."""
    return build_options(directory).get("align") == "off"
