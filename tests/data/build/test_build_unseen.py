"""AU combinations that training never sees, and other decisions of a build's plan."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from auface_jax import facs
from auface_jax.data.build import finalize
from auface_jax.data.build.builder import build
from auface_jax.data.build.options import DatasetOptions
from auface_jax.data.build.plan import WITHHELD
from auface_jax.data.build.unseen import combination_codes, draw_held_out, draw_novel, units_of_code
from auface_jax.data.loading import pipeline
from auface_jax.data.loading.chosen_people import PeopleReader
from auface_jax.data.record import REFERENCES, SPLITS, UNSEEN_HELD_OUT, UNSEEN_NOVEL
from auface_jax.data.shards import DatasetError, ShardReader, read_info, read_test_list
from auface_jax.data.tokenizer import load_tokenizer
from tests.helpers.small_dataset import build_folder, read_table, write_folder, write_table

CODED = np.ones(12, np.int8)


def few_rows(folder, people=8, frames=16):
    """Writes a folder of people who share 20 AU combinations."""
    table = write_folder(folder, people=people, frames=frames)
    rows, rng = read_table(table), np.random.default_rng(0)
    shown = rng.integers(0, 2, (20, 12))
    shown[:, 3] |= ~shown.any(axis=1)
    for row in rows:
        if int(row[2]) > 1:
            row[4:] = shown[rng.integers(len(shown))].tolist()
    return write_table(table, rows)


def codes_in(directory, name) -> set[int]:
    return {int(combination_codes(record.labels)) for record in ShardReader(directory, name)}


@pytest.mark.parametrize("split", ["person", "image"])
def test_training_records_have_no_unseen_combination(split, tmp_path):
    labels = few_rows(tmp_path / "faces")
    out = tmp_path / "set"
    info = build_folder(labels, out, split=split, held_out_rows=0.3, novel_rows=50)
    held_out, novel = codes_in(out, UNSEEN_HELD_OUT), codes_in(out, UNSEEN_NOVEL)
    assert held_out and len(novel) == 50 == info["counts"][UNSEEN_NOVEL]
    trained = codes_in(out, "train")
    people = info["people"]
    for record in ShardReader(out, REFERENCES):
        if record.subject in people["train"]:
            trained.add(int(combination_codes(record.labels)))
    assert not trained & (held_out | novel)
    # A held-out row is in no other split, a novel one nowhere else.
    assert not held_out & (codes_in(out, "val") | codes_in(out, "test"))
    everywhere = set.union(*(codes_in(out, n) for n in (*SPLITS, REFERENCES, UNSEEN_HELD_OUT)))
    assert not novel & everywhere
    assert held_out <= {sum(1 << facs.AU_NUMBERS.index(u) for u in row)
                        for row in info["held_out_rows"]}  # fmt: skip
    # Nothing is lost: each image is a record or counted as withheld.
    counts = info["counts"]
    known = sum(counts.values()) - counts[UNSEEN_NOVEL] + info["left_out"].get(WITHHELD, 0)
    assert known == 8 * 16
    if split == "person":
        assert people[UNSEEN_HELD_OUT].keys() | people[UNSEEN_NOVEL].keys() <= people["test"].keys()
        assert not people["train"].keys() & people["test"].keys()
    else:
        assert WITHHELD not in info["left_out"]


def test_novel_combinations_without_an_image_have_text_and_reference(tmp_path):
    labels = few_rows(tmp_path / "faces")
    build_folder(labels, tmp_path / "set", novel_rows=30)
    references = {r.subject: r for r in ShardReader(tmp_path / "set", REFERENCES)}
    for record in ShardReader(tmp_path / "set", UNSEEN_NOVEL):
        assert record.image is None and record.intensities is None
        assert record.reference == references[record.subject].id
        assert record.constructs == facs.constructs(record.labels) != ()
        assert pipeline.record_text(record)
    with pytest.raises(DatasetError, match="no split 'unseen_held_out'.*--held-out-rows"):
        pipeline.load_references(tmp_path / "set", UNSEEN_HELD_OUT)


def test_novel_combinations_of_drawn_faces_have_images(tmp_path):
    options = {"people": 4, "frames": 6, "size": 24, "processes": 1, "progress": False}
    plain = build(tmp_path / "plain", source="builtin", **options)
    info = build(tmp_path / "set", source="builtin", novel_rows=5, **options)
    records = list(ShardReader(tmp_path / "set", UNSEEN_NOVEL))
    assert len(records) == 5 and all(record.exact for record in records)
    for record in records:
        np.testing.assert_array_equal(record.labels, record.intensities >= 0.3)
        assert record.frame == combination_codes(record.labels)
    test = pipeline.load_split(tmp_path / "set", UNSEEN_NOVEL, load_tokenizer(), (256,))
    assert test["image"].shape == (5, 24, 24, 3)
    # The rest of the set is what it was.
    for name in SPLITS:
        assert info["shards"][name] == plain["shards"][name]


def test_novel_combinations_have_no_uncoded_unit():
    coded = CODED.copy()
    coded[[4, 5]] = 0  # AU7 and AU10
    novel = draw_novel({0b111111}, coded, count=4096, seed=0)
    assert novel and not any({7, 10} & set(units_of_code(code)) for code in novel)


@given(
    known=st.sets(st.integers(1, 4095), min_size=1, max_size=300),
    count=st.integers(0, 3000),
    seed=st.integers(0, 9),
)
def test_novel_combinations_are_new_plausible_and_of_every_kind(known, count, seed):
    novel = draw_novel(known, CODED, count=count, seed=seed)
    assert len(novel) == len(set(novel)) <= count and not known & set(novel)
    assert all(0 < code.bit_count() <= max(k.bit_count() for k in known) for code in novel)
    kinds = [["+" in name for name in facs.constructs(row(code))] for code in novel[:2]]
    if len(novel) >= 2 and max(known) > 2048 and len(known) > 100:
        assert any(not any(kind) for kind in kinds) and any(any(kind) for kind in kinds)
    assert novel == draw_novel(known, CODED, count=count, seed=seed)


def row(code: int) -> np.ndarray:
    return facs.labels_from_units(units_of_code(code))


def test_combination_codes_invert_units_of_code():
    for code in range(4096):
        assert combination_codes(row(code)) == code
    assert combination_codes(np.array([[1, -1] * 6], np.int8)).tolist() == [0b010101010101]


def test_held_out_combinations_are_a_share_without_references():
    shown, references = set(range(40)), set(range(10))
    held_out = draw_held_out(shown, references, share=0.5, seed=0)
    assert len(held_out) == 20 and not set(held_out) & references
    assert len(draw_held_out(shown, references, share=0.99, seed=0)) == 30
    assert draw_held_out(shown, references, share=0.0, seed=0) == []
    assert held_out != draw_held_out(shown, references, share=0.5, seed=1)
    for share in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"held_out_rows is .*at least 0 and less than 1"):
            DatasetOptions(source="builtin", size=16, held_out_rows=share)
    with pytest.raises(ValueError, match="neutral or a reference's"):
        draw_held_out({0, 3}, {3}, share=0.5, seed=0)


def test_test_list_is_a_seeded_draw_or_all_records(tmp_path, monkeypatch):
    labels = write_folder(tmp_path / "faces", people=10, frames=8)
    build_folder(labels, tmp_path / "all")
    count = read_info(tmp_path / "all")["counts"]["test"]
    assert read_test_list(tmp_path / "all") == list(range(count))
    monkeypatch.setattr(finalize, "TEST_SAMPLES", 4)
    build_folder(labels, tmp_path / "some")
    listing = json.loads((tmp_path / "some" / "test_list.json").read_text())
    records = ShardReader(tmp_path / "some", "test")
    indices = read_test_list(tmp_path / "some")
    assert len(set(indices)) == 4 and sorted(indices) == indices == listing["indices"]
    assert listing["records"] == [records[index].id for index in indices]
    build_folder(labels, tmp_path / "again")
    assert read_test_list(tmp_path / "again") == indices
    (tmp_path / "again" / "test_list.json").unlink()
    with pytest.raises(DatasetError, match="test_list.json cannot be read"):
        read_test_list(tmp_path / "again")


def test_shards_have_about_the_requested_size(tmp_path):
    rng = np.random.default_rng(0)
    labels = write_folder(tmp_path / "faces", people=10, frames=24)
    for path in (tmp_path / "faces" / "images").iterdir():
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    info = build_folder(labels, tmp_path / "set", size=32, shard_mib=0.0625)
    sizes = [shard["bytes"] for shard in info["shards"]["train"]]
    assert len(sizes) > 4 and all(0.8 < size / 2**16 < 1.1 for size in sizes[:-1])


def test_split_by_image_ignores_people(tmp_path):
    labels = write_folder(tmp_path / "faces", people=5, frames=12)
    info = build_folder(labels, tmp_path / "set", split="image", fractions=(0.6, 0.2, 0.2))
    assert info["counts"] == {"train": 33, "val": 11, "test": 11, "references": 5}
    records = [r for name in (*SPLITS, REFERENCES) for r in ShardReader(tmp_path / "set", name)]
    assert len({record.id for record in records}) == 60
    assert info["people"]["train"].keys() & info["people"]["test"].keys()
    assert len(pipeline.reference_subjects(tmp_path / "set")) == 5
    with pytest.raises(DatasetError, match="split by image.*--split person"):
        PeopleReader(tmp_path / "set", ["S00"])
    with pytest.raises(ValueError, match="split is 'row', expected person or image"):
        build_folder(labels, tmp_path / "other", split="row")


def test_held_out_share_that_empties_train_is_refused(tmp_path):
    labels = write_folder(tmp_path / "faces", people=3, frames=3)
    rows = [[*r[:4], *([0] * 12 if int(r[2]) < 1 else [1] * 12)] for r in read_table(labels)]
    write_table(labels, rows)
    with pytest.raises(ValueError, match="no image is left for train"):
        build_folder(labels, tmp_path / "set", held_out_rows=0.5)
    assert {path.name for path in tmp_path.iterdir()} == {"faces", ".set.lock"}
