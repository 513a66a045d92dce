"""Data sets with records that are damaged on purpose."""

from array_record.python import array_record_module


def write_shard(path, records: list[bytes]):
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for data in records:
        writer.write(data)
    writer.close()


def change_records(shard, change):
    """Rewrites a shard with what `change` makes of the list of its records' bytes."""
    reader = array_record_module.ArrayRecordReader(str(shard))
    records = list(reader.read_all())
    reader.close()
    change(records)
    write_shard(shard, records)
