"""Missing shards and corrupt records are named, or skipped and counted."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from auface_jax.data.loading import pipeline
from auface_jax.data.record import REFERENCES, RecordError, decode_record, encode_record
from auface_jax.data.shards import DatasetError, ShardReader
from tests.helpers.damaged_records import change_records, write_shard
from tests.helpers.small_batches import BUCKETS, SIZE, assert_same_batches, take, who


@pytest.fixture
def damaged(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "set")


def test_missing_or_truncated_shard_is_named(damaged, tokenizer):
    shard = next(damaged.glob("val-00000*"))
    data = shard.read_bytes()
    for content, message in (
        (data[: len(data) // 2], "is damaged"),
        (b"", "is damaged"),
        (None, "is missing"),
    ):
        shard.unlink()
        if content is not None:
            shard.write_bytes(content)
        with pytest.raises(DatasetError, match=f"{shard.name} {message}"):
            pipeline.load_split(damaged, "val", tokenizer, BUCKETS)
    write_shard(shard, [b"one record"])
    with pytest.raises(DatasetError, match=f"{shard.name} has 1 records, dataset.json says"):
        pipeline.load_split(damaged, "val", tokenizer, BUCKETS)


def test_corrupt_record_is_named_by_shard_and_number(damaged, tokenizer):
    shard = damaged / "train-00001-of-00007.array_record"

    def cut(records):
        records[3] = records[3][:40]

    change_records(shard, cut)
    with pytest.raises(RecordError, match=f"{shard.name} record 3: not a record"):
        pipeline.load_split(damaged, "train", tokenizer, BUCKETS)
    iterator = pipeline.training_iterator(damaged, 4, 0, tokenizer, BUCKETS, size=SIZE)
    with pytest.raises(RecordError, match=f"{shard.name} record 3: not a record"):
        take(iterator, 20)


def test_corrupt_records_and_shards_are_skipped_and_counted(damaged, directory, tokenizer):
    def cut(records):
        records[3] = records[3][:40]
        record = decode_record(records[4])
        records[4] = encode_record(msgspec.structs.replace(record, image=record.image[:50]))

    change_records(damaged / "train-00001-of-00007.array_record", cut)
    (damaged / "train-00003-of-00007.array_record").unlink()
    bad = [8, 9, *range(15, 20)]  # places in the split: five records a shard
    lines = []

    def stream(folder, skipped=None):
        return pipeline.training_iterator(
            folder, 4, 0, tokenizer, BUCKETS, size=SIZE, flip=False, skipped=skipped
        )

    skipped = pipeline.SkippedRecords(lines.append)
    records = list(ShardReader(directory, "train"))
    places = {(int(r.subject[1:]), r.frame): place for place, r in enumerate(records)}
    replaced = 0
    for batch, sound in zip(take(stream(damaged, skipped), 40), stream(directory), strict=False):
        for row, (got, meant) in enumerate(zip(who(batch), who(sound), strict=True)):
            place = places[meant]
            if place in bad:
                place = {8: 10, 9: 10}.get(place, 20)
                replaced += 1
            else:
                text, mask = batch["text_tokens"][row], batch["text_mask"][row]
                np.testing.assert_array_equal(
                    text[mask], sound["text_tokens"][row][sound["text_mask"][row]]
                )
            assert places[got] == place
            np.testing.assert_array_equal(batch["labels"][row], records[place].labels)
    assert replaced > len(bad) and len(skipped) == len(bad) == len(lines)
    for place in bad:
        name = f"train-0000{place // 5}-of-00007.array_record record {place % 5}"
        assert sum(name in line for line in lines) == 1
    assert sum("the image cannot be read" in line for line in lines) == 1

    iterator = stream(damaged, pipeline.SkippedRecords(lines.append))
    iterator.set_state({"next_index": 30})
    expected = take(stream(damaged, skipped), 33)[30:]
    assert_same_batches(take(iterator, 3), expected)

    split = pipeline.load_split(damaged, "train", tokenizer, BUCKETS, skipped=skipped)
    kept = [record for place, record in enumerate(records) if place not in bad]
    assert split["subjects"] == [record.subject for record in kept]
    np.testing.assert_array_equal(split["labels"], np.stack([r.labels for r in kept]))


def test_corrupt_block_damages_no_other_record(damaged, directory):
    shard = damaged / "train-00001-of-00007.array_record"
    records = [encode_record(record) for record in ShardReader(directory, "train")][5:10]
    data = bytearray(shard.read_bytes())
    data[data.find(records[2]) + 100] ^= 1
    shard.write_bytes(data)
    reader, sound = ShardReader(damaged, "train"), ShardReader(directory, "train")
    assert reader.read(range(5, 10)) is None
    for _ in range(2):
        with pytest.raises(RecordError, match=f"{shard.name} record 2: .*hash mismatch"):
            reader[7]
        for index in (5, 6, 8, 9):
            assert encode_record(reader[index]) == encode_record(sound[index])
    assert reader.read([8, 3, 5]) == sound.read([8, 3, 5])


def test_people_with_a_corrupt_reference_are_skipped(damaged, tokenizer):
    records = list(ShardReader(damaged, "train"))
    references = ShardReader(damaged, REFERENCES)
    index = next(i for i, r in enumerate(references) if r.subject == records[0].subject)

    file, place = Path(references.where(index)).name.split(" record ")

    def cut(encoded):
        encoded[int(place)] = encoded[int(place)][:40]

    change_records(damaged / file, cut)
    with pytest.raises(RecordError, match=f"{file} record {place}:"):
        pipeline.load_split(damaged, "train", tokenizer, BUCKETS)
    skipped = pipeline.SkippedRecords([].append)
    split = pipeline.load_split(damaged, "train", tokenizer, BUCKETS, skipped=skipped)
    assert split["subjects"] == [r.subject for r in records if r.subject != records[0].subject]
    assert len(skipped) == 1 + sum(r.subject == records[0].subject for r in records)


def test_data_set_without_any_readable_shard_is_refused(damaged, tokenizer):
    for shard in damaged.glob("train-*"):
        shard.unlink()
    with pytest.raises(DatasetError, match="train-00000-of-00007.array_record is missing"):
        skipped = pipeline.SkippedRecords([].append)
        pipeline.training_iterator(damaged, 4, 0, tokenizer, BUCKETS, size=SIZE, skipped=skipped)
