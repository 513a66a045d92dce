"""Shards with damaged records, for tests."""

from collections.abc import Callable
from pathlib import Path

from array_record.python import array_record_module


def write_shard(path: Path, records: list[bytes]) -> None:
    """Writes a shard of encoded records."""
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for data in records:
        writer.write(data)
    writer.close()


def change_records(shard: Path, change: Callable[[list[bytes]], None]) -> None:
    """Rewrites a shard after `change` has modified the list of its encoded records in place."""
    reader = array_record_module.ArrayRecordReader(str(shard))
    records = list(reader.read_all())
    reader.close()
    change(records)
    write_shard(shard, records)
