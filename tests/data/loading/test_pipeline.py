"""Batches have each example once an epoch, and are equal in every run, resumed or split."""

import itertools
import json

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from auface_jax import facs
from auface_jax.data.build.builder import build
from auface_jax.data.loading import collate as batches_module
from auface_jax.data.loading import pipeline
from auface_jax.data.loading.stream_order import ExampleOrder, PositionGenerator
from auface_jax.data.record import decode_image
from auface_jax.data.shards import DatasetError, ShardReader
from auface_jax.facs.wording import DICTIONARY_ONLY, Wording
from tests.helpers.small_batches import BUCKETS, SIZE, assert_same_batches, take, who


@pytest.fixture
def batches(directory, tokenizer):
    """Makes iterators over the small data set."""

    def make(batch_size=4, seed=0, **options):
        options = {"size": SIZE} | options
        return pipeline.training_iterator(
            directory, batch_size, seed, tokenizer, BUCKETS, **options
        )

    return make


def test_batch_has_documented_names_shapes_and_types(batches):
    batch = next(batches(batch_size=5))
    names = {"image", "reference", "reference_row", "labels", "intensities"}
    names |= {"text_tokens", "text_mask"}
    assert batch.keys() == names
    for name in ("image", "reference"):
        assert batch[name].shape == (5, SIZE, SIZE, 3) and batch[name].dtype == np.uint8
    assert batch["labels"].shape == (5, 12) and batch["labels"].dtype == np.int8
    assert batch["text_tokens"].shape == batch["text_mask"].shape
    assert batch["text_tokens"].shape[1] in BUCKETS
    assert batch["text_tokens"].dtype == np.int32 and batch["text_mask"].dtype == bool
    people = [person for person, _ in who(batch)]
    assert people == [image[0, 0, 0] // 10 for image in batch["reference"]]


def test_reference_row_selects_the_reference_among_all(batches, directory):
    references = batches_module.References(directory, "train")
    every = references.all(mirrored=True)
    rows = set()
    for batch in take(batches(batch_size=5), 4):
        assert batch["reference_row"].dtype == np.int32
        np.testing.assert_array_equal(every[batch["reference_row"]], batch["reference"])
        rows |= set((batch["reference_row"] % 2).tolist())
    assert rows == {0, 1}  # as they are, and mirrored
    np.testing.assert_array_equal(references.all(mirrored=False)[::2], every[::2])


def test_epoch_has_each_example_once_and_the_next_another_order(batches, directory):
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


def test_stream_depends_on_the_seed(batches):
    assert_same_batches(take(batches(seed=3), 6), take(batches(seed=3), 6))
    assert [who(b) for b in take(batches(seed=3), 3)] != [who(b) for b in take(batches(), 3)]


def test_batch_equals_examples_made_one_by_one(batches, directory, tokenizer):
    records = list(ShardReader(directory, "train"))
    references = {s: pipeline.load_reference(directory, s) for s in {r.subject for r in records}}
    order, generator = ExampleOrder(len(records), 5), PositionGenerator(5)

    def example(position):
        record, rng = records[order[position]], generator.at(position)
        mirrored = rng.random() < 0.5
        text = DICTIONARY_ONLY.describe(record.labels, rng).text
        images = (decode_image(record, SIZE), references[record.subject])
        image, reference = (i[:, ::-1] if mirrored else i for i in images)
        return {"image": image, "reference": reference, "labels": record.labels}, text

    for number, batch in enumerate(take(batches(3, seed=5), len(records))):
        examples = [example(3 * number + place) for place in range(3)]
        for name in ("image", "reference", "labels"):
            np.testing.assert_array_equal(batch[name], np.stack([e[name] for e, _ in examples]))
        tokens, mask = tokenizer.encode_batch([text for _, text in examples], BUCKETS)
        np.testing.assert_array_equal(batch["text_tokens"], tokens)
        np.testing.assert_array_equal(batch["text_mask"], mask)


@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_cache_sizes_do_not_change_batches(batches, monkeypatch, kept_bytes):
    expected = take(batches(), 25)
    monkeypatch.setattr(batches_module, "_SPLIT_BYTES", kept_bytes)
    monkeypatch.setattr(batches_module, "_REFERENCE_BYTES", kept_bytes)
    assert_same_batches(take(batches(), 25), expected)


@pytest.mark.parametrize("taken", [0, 1, 13])
def test_resumed_stream_is_bit_identical(batches, taken):
    iterator = batches()
    take(iterator, taken)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = take(iterator, 12)
    resumed = batches()
    next(resumed)
    resumed.set_state(state)
    assert_same_batches(take(resumed, 12), expected)


def test_checkpoint_restores_the_iterator_state(batches, tmp_path):
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
    assert_same_batches(take(resumed, 4), expected)


def test_batches_of_all_processes_form_the_global_batch(batches):
    whole = take(batches(batch_size=6), 9)
    parts = [take(batches(batch_size=2, process_index=i, process_count=3), 9) for i in range(3)]
    # Texts are padded alike, whoever has the longest.
    assert len({batch["text_tokens"].shape[1] for batch in whole}) > 1
    joined = [
        {name: np.concatenate([part[step][name] for part in parts]) for name in whole[step]}
        for step in range(9)
    ]
    assert_same_batches(joined, whole)
    with pytest.raises(ValueError, match="process_index is 3, expected 0 to 2"):
        batches(process_index=3, process_count=3)


def is_mirrored(images: np.ndarray) -> np.ndarray:
    """Returns True for images whose bright side in blue is the right one."""
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


def test_record_has_one_text_or_a_new_one_each_time(batches, tokenizer):
    assert all(
        len(texts) == 1 for texts in texts_of_each(batches, tokenizer, redescribe=False).values()
    )
    assert all(len(texts) > 2 for texts in texts_of_each(batches, tokenizer).values())


def test_degree_words_precede_unchanged_texts(tmp_path, tokenizer):
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


@pytest.mark.parametrize("kind", ["dictionary", "paraphrase", "corpus"])
def test_texts_come_in_the_words_of_the_wording(directory, tokenizer, kind):
    shares = {name: float(name == kind) for name in ("dictionary", "paraphrase", "corpus")}
    wording = Wording(**shares)
    batch = next(
        pipeline.training_iterator(directory, 12, 0, tokenizer, (256,), size=SIZE, wording=wording)
    )
    dictionary = facs.load_dictionary()
    sentences = [*dictionary.neutral, *(t for five in dictionary.constructs.values() for t in five)]
    texts = [tokenizer.decode(tokens) for tokens in batch["text_tokens"]]
    told = [any(sentence in text for sentence in sentences) for text in texts]
    assert all(told) if kind == "dictionary" else not all(told)


def test_batches_of_a_group_are_parted_by_text_length_and_lose_no_example(batches):
    plain = take(batches(batch_size=4), 6)
    grouped = take(batches(batch_size=4, group=3), 6)
    for first in (0, 3):
        one, two = plain[first : first + 3], grouped[first : first + 3]
        assert sorted(sum(map(who, one), [])) == sorted(sum(map(who, two), []))
        lengths = sorted((b["text_mask"].sum(1) for b in two), key=lambda found: found.mean())
        # Batches are parted by characters, of which a token has a few.
        assert all(a.mean() <= b.mean() for a, b in itertools.pairwise(lengths))


def test_split_is_loaded_whole_with_one_text_each(directory, tokenizer):
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


def test_limit_is_spread_over_people(directory, tokenizer):
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


def test_people_and_references_are_found_by_name(directory):
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


def test_wrong_folder_or_size_is_refused(batches, directory, tokenizer, tmp_path):
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
