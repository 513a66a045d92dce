"""The pipeline gives each example once an epoch, the same on every run, resumed or split."""

import itertools
import json
import shutil
from pathlib import Path

import grain
import msgspec
import numpy as np
import orbax.checkpoint as ocp
import pytest
from array_record.python import array_record_module
from small_dataset import write_folder

from auface_jax import facs
from auface_jax.data import batches as batches_module
from auface_jax.data import pipeline
from auface_jax.data.build import build
from auface_jax.data.records import (
    REFERENCES,
    RecordError,
    decode_image,
    decode_record,
    encode_record,
)
from auface_jax.data.shards import DatasetError, ShardReader
from auface_jax.data.tokenizer import load_tokenizer

SIZE = 24
BUCKETS = (32, 64, 128, 256, 512, 1024, 2048)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    labels = write_folder(folder / "faces", people=7, frames=8, size=SIZE)
    build(
        folder / "set",
        source="folder",
        labels=str(labels),
        size=SIZE,
        shard_records=5,
        processes=1,
        progress=False,
    )
    return folder / "set"


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture
def batches(directory, tokenizer):
    """An iterator over the small data set, with options changed at will."""

    def make(batch_size=4, seed=0, **options):
        options = {"size": SIZE} | options
        return pipeline.training_iterator(
            directory, batch_size, seed, tokenizer, BUCKETS, **options
        )

    return make


def take(iterator, count: int) -> list[dict]:
    return list(itertools.islice(iterator, count))


def assert_equal(one: list[dict], two: list[dict]):
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def who(batch: dict) -> list[tuple[int, int]]:
    """Person and frame of each example, which the pictures carry in red and green."""
    return [tuple(int(v) // 10 for v in image[0, 0, :2]) for image in batch["image"]]


def test_a_batch_is_what_the_models_are_promised(batches):
    batch = next(batches(batch_size=5))
    names = {"image", "reference", "reference_row", "labels", "text_tokens", "text_mask"}
    assert batch.keys() == names
    for name in ("image", "reference"):
        assert batch[name].shape == (5, SIZE, SIZE, 3) and batch[name].dtype == np.uint8
    assert batch["labels"].shape == (5, 12) and batch["labels"].dtype == np.int8
    assert batch["text_tokens"].shape == batch["text_mask"].shape
    assert batch["text_tokens"].shape[1] in BUCKETS
    assert batch["text_tokens"].dtype == np.int32 and batch["text_mask"].dtype == bool
    people = [person for person, _ in who(batch)]
    assert people == [image[0, 0, 0] // 10 for image in batch["reference"]]


def test_a_reference_has_its_row_among_all(batches, directory):
    references = batches_module.References(directory, "train")
    every = references.all(mirrored=True)
    rows = set()
    for batch in take(batches(batch_size=5), 4):
        assert batch["reference_row"].dtype == np.int32
        np.testing.assert_array_equal(every[batch["reference_row"]], batch["reference"])
        rows |= set((batch["reference_row"] % 2).tolist())
    assert rows == {0, 1}  # as they are, and mirrored
    np.testing.assert_array_equal(references.all(mirrored=False)[::2], every[::2])


def test_an_epoch_gives_each_example_once_and_the_next_in_another_order(batches, directory):
    records = ShardReader(directory, "train")
    number = len(records)
    stream = list(itertools.chain.from_iterable(who(b) for b in take(batches(5), number)))
    epochs = [stream[i * number : (i + 1) * number] for i in range(5)]
    expected = sorted((int(r.subject[1:]), r.frame) for r in records)
    assert all(sorted(epoch) == expected for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_labels_belong_to_their_image(batches, directory):
    labels = {(int(r.subject[1:]), r.frame): r.labels for r in ShardReader(directory, "train")}
    for batch in take(batches(), 10):
        for example, row in zip(who(batch), batch["labels"], strict=True):
            np.testing.assert_array_equal(row, labels[example])


def test_one_seed_gives_one_stream(batches):
    assert_equal(take(batches(seed=3), 6), take(batches(seed=3), 6))
    assert [who(b) for b in take(batches(seed=3), 3)] != [who(b) for b in take(batches(), 3)]


def test_the_stream_is_that_of_a_plain_grain_pipeline(batches, directory, tokenizer):
    """The order and the choices, as Grain's own shuffle and random map make them one by one."""
    records = list(ShardReader(directory, "train"))
    references = {s: pipeline.load_reference(directory, s) for s in {r.subject for r in records}}

    def example(record, rng):
        mirrored = rng.random() < 0.5
        text = facs.describe_constructs(record.constructs, rng)
        images = (decode_image(record, SIZE), references[record.subject])
        image, reference = (i[:, ::-1] if mirrored else i for i in images)
        return {"image": image, "reference": reference, "labels": record.labels}, text

    plain = grain.MapDataset.source(records).seed(5).shuffle().repeat().random_map(example)
    for number, batch in enumerate(take(batches(3, seed=5), len(records))):
        examples = [plain[3 * number + place] for place in range(3)]
        for name in ("image", "reference", "labels"):
            np.testing.assert_array_equal(batch[name], np.stack([e[name] for e, _ in examples]))
        tokens, mask = tokenizer.encode_batch([text for _, text in examples], BUCKETS)
        np.testing.assert_array_equal(batch["text_tokens"], tokens)
        np.testing.assert_array_equal(batch["text_mask"], mask)


@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_what_is_kept_decoded_changes_nothing(batches, monkeypatch, kept_bytes):
    expected = take(batches(), 25)
    monkeypatch.setattr(batches_module, "_SPLIT_BYTES", kept_bytes)
    monkeypatch.setattr(batches_module, "_REFERENCE_BYTES", kept_bytes)
    assert_equal(take(batches(), 25), expected)


@pytest.mark.parametrize("taken", [0, 1, 13])
def test_resuming_continues_to_the_last_bit(batches, taken):
    iterator = batches()
    take(iterator, taken)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = take(iterator, 12)
    resumed = batches()
    next(resumed)
    resumed.set_state(state)
    assert_equal(take(resumed, 12), expected)


def test_state_is_kept_by_a_checkpoint(batches, tmp_path):
    iterator = batches()
    take(iterator, 5)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        save = grain.checkpoint.CheckpointSave(iterator)
        manager.save(5, args=ocp.args.Composite(data=save))
        manager.wait_until_finished()
        expected = take(iterator, 4)
        resumed = batches()
        restore = grain.checkpoint.CheckpointRestore(resumed)
        manager.restore(5, args=ocp.args.Composite(data=restore))
    assert_equal(take(resumed, 4), expected)


def test_processes_together_see_what_one_process_sees(batches):
    whole = take(batches(batch_size=6), 9)
    parts = [take(batches(batch_size=2, process_index=i, process_count=3), 9) for i in range(3)]
    # Texts are padded alike, whoever has the longest.
    assert len({batch["text_tokens"].shape[1] for batch in whole}) > 1
    joined = [
        {name: np.concatenate([part[step][name] for part in parts]) for name in whole[step]}
        for step in range(9)
    ]
    assert_equal(joined, whole)
    with pytest.raises(ValueError, match="process_index is 3, expected 0 to 2"):
        batches(process_index=3, process_count=3)


def is_mirrored(images: np.ndarray) -> np.ndarray:
    """Whether the side that is bright in blue is the right one."""
    return images[:, 0, 0, 2] < images[:, 0, -1, 2]


def test_image_and_reference_are_mirrored_together_half_of_the_time(batches):
    mirrored = [is_mirrored(batch["image"]) for batch in take(batches(batch_size=50), 10)]
    for batch, image in zip(take(batches(batch_size=50), 10), mirrored, strict=True):
        np.testing.assert_array_equal(is_mirrored(batch["reference"]), image)
    assert 0.4 < np.mean(mirrored) < 0.6
    for batch in take(batches(flip=False), 10):
        assert not is_mirrored(batch["image"]).any()


def texts_of_each(batches, tokenizer, **options) -> dict[tuple, set[str]]:
    texts = {}
    for batch in take(batches(batch_size=30, **options), 20):
        for example, tokens, mask in zip(
            who(batch), batch["text_tokens"], batch["text_mask"], strict=True
        ):
            texts.setdefault(example, set()).add(tokenizer.decode(tokens[mask]))
    return texts


def test_a_record_has_one_text_or_a_new_one_each_time(batches, tokenizer):
    assert all(
        len(texts) == 1 for texts in texts_of_each(batches, tokenizer, redescribe=False).values()
    )
    assert all(len(texts) > 2 for texts in texts_of_each(batches, tokenizer).values())


def test_degree_words_go_before_the_same_texts(tmp_path, tokenizer):
    options = {"people": 3, "frames": 5, "size": SIZE, "processes": 1, "progress": False}
    build(tmp_path / "set", source="builtin", **options)
    plain = pipeline.load_split(tmp_path / "set", "test", tokenizer, BUCKETS)
    graded = pipeline.load_split(tmp_path / "set", "test", tokenizer, BUCKETS, degrees=True)
    words = [f"{word}: " for word in facs.DEGREES.values()]
    for text, with_words, labels in zip(
        plain["texts"], graded["texts"], plain["labels"], strict=True
    ):
        count = sum(with_words.count(word) for word in words)
        assert count == len(facs.constructs(labels))
        for word in words:
            with_words = with_words.replace(word, "")
        assert with_words == text
    stream = {}
    for degrees in (False, True):
        iterator = pipeline.training_iterator(
            tmp_path / "set", 3, 0, tokenizer, BUCKETS, size=SIZE, degrees=degrees
        )
        stream[degrees] = tokenizer.decode(next(iterator)["text_tokens"][0])
    graded_text = stream[True]
    for word in words:
        graded_text = graded_text.replace(word, "")
    assert graded_text == stream[False]


def test_a_split_is_loaded_whole_and_alike_each_time(directory, tokenizer):
    split = pipeline.load_split(directory, "train", tokenizer, BUCKETS)
    records = list(ShardReader(directory, "train"))
    assert split["subjects"] == [record.subject for record in records]
    assert split["frames"] == [record.frame for record in records]
    assert split["texts"] == [pipeline.record_text(record) for record in records]
    for index, record in enumerate(records):
        rng = np.random.default_rng(record.variant_seed)
        assert split["texts"][index] == facs.describe(record.labels, rng)
        np.testing.assert_array_equal(split["labels"][index], record.labels)
        reference = pipeline.load_reference(directory, record.subject)
        np.testing.assert_array_equal(split["reference"][index], reference)
    tokens, mask = tokenizer.encode_batch(split["texts"], BUCKETS)
    np.testing.assert_array_equal(split["text_tokens"], tokens)
    np.testing.assert_array_equal(split["text_mask"], mask)
    assert not is_mirrored(split["image"]).any()


def test_a_limit_is_spread_over_the_people(directory, tokenizer):
    def limited(limit, seed=0):
        split = pipeline.load_split(directory, "train", tokenizer, BUCKETS, limit, seed)
        return list(zip(split["subjects"], split["frames"], strict=True))

    people = pipeline.reference_subjects(directory, "train")
    everything = limited(None)
    for limit in (1, len(people), 3 * len(people) + 2):
        taken = limited(limit)
        assert len(taken) == len(set(taken)) == limit and set(taken) <= set(everything)
        assert taken == [example for example in everything if example in taken]
        counts = [sum(subject == person for subject, _ in taken) for person in people]
        assert max(counts) - min(counts) <= 1
        assert taken == limited(limit)
    assert limited(10) != limited(10, seed=1)
    assert limited(10**6) == everything


def test_people_and_their_references_can_be_named(directory):
    by_split = [pipeline.reference_subjects(directory, s) for s in ("train", "val", "test")]
    assert sorted(itertools.chain(*by_split)) == [f"S{n:02d}" for n in range(7)]
    assert pipeline.reference_subjects(directory) == list(itertools.chain(*by_split))
    for subject in pipeline.reference_subjects(directory):
        image = pipeline.load_reference(directory, subject)
        assert image[0, 0, 0] // 10 == int(subject[1:]) and image[0, 0, 1] // 10 in (0, 1)
    with pytest.raises(DatasetError, match="no person 'Mona'.*begin with S0"):
        pipeline.load_reference(directory, "Mona")
    with pytest.raises(DatasetError, match="no split 'tset', only train, val, test"):
        pipeline.reference_subjects(directory, "tset")


def test_a_wrong_folder_or_size_is_refused(batches, directory, tokenizer, tmp_path):
    with pytest.raises(DatasetError, match="holds images of 24 px, the model wants 64"):
        batches(size=64)
    with pytest.raises(DatasetError, match="holds no data set .*auface_jax.data.build"):
        pipeline.load_split(tmp_path, "val", tokenizer, BUCKETS)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match="not JSON"):
        pipeline.reference_subjects(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema_version": 0}')
    with pytest.raises(DatasetError, match="schema version 0, this code reads 2"):
        pipeline.reference_subjects(tmp_path)


@pytest.fixture
def damaged(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "set")


def write_shard(path, records: list[bytes]):
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for data in records:
        writer.write(data)
    writer.close()


def test_a_missing_or_cut_shard_is_named(damaged, tokenizer):
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


def change_records(shard, change):
    """Rewrites a shard with what `change` makes of the list of its records' bytes."""
    reader = array_record_module.ArrayRecordReader(str(shard))
    records = list(reader.read_all())
    reader.close()
    change(records)
    write_shard(shard, records)


def test_a_corrupt_record_is_named_by_shard_and_place(damaged, tokenizer):
    shard = damaged / "train-00001-of-00007.array_record"

    def cut(records):
        records[3] = records[3][:40]

    change_records(shard, cut)
    with pytest.raises(RecordError, match=f"{shard.name} record 3: not a record"):
        pipeline.load_split(damaged, "train", tokenizer, BUCKETS)
    iterator = pipeline.training_iterator(damaged, 4, 0, tokenizer, BUCKETS, size=SIZE)
    with pytest.raises(RecordError, match=f"{shard.name} record 3: not a record"):
        take(iterator, 20)


def test_corrupt_records_and_shards_are_counted_and_passed_over(damaged, directory, tokenizer):
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
    assert_equal(take(iterator, 3), expected)

    split = pipeline.load_split(damaged, "train", tokenizer, BUCKETS, skipped=skipped)
    kept = [record for place, record in enumerate(records) if place not in bad]
    assert split["subjects"] == [record.subject for record in kept]
    np.testing.assert_array_equal(split["labels"], np.stack([r.labels for r in kept]))


def test_a_corrupt_block_takes_no_other_record_with_it(damaged, directory):
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


def test_people_whose_reference_is_corrupt_are_passed_over(damaged, tokenizer):
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


def test_a_set_with_nothing_to_read_is_refused_all_the_same(damaged, tokenizer):
    for shard in damaged.glob("train-*"):
        shard.unlink()
    with pytest.raises(DatasetError, match="train-00000-of-00007.array_record is missing"):
        skipped = pipeline.SkippedRecords([].append)
        pipeline.training_iterator(damaged, 4, 0, tokenizer, BUCKETS, size=SIZE, skipped=skipped)
