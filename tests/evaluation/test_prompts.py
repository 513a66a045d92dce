"""Prompts for an outside system, and the pictures that it made of them."""

import dataclasses
import json
import shutil
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from auface_jax import evaluate
from auface_jax.data.shards import DatasetError
from auface_jax.evaluation import prompts
from auface_jax.evaluation.population import load_population
from auface_jax.facs import AU_NUMBERS, load_dictionary
from tests.helpers import evaluation_runs
from tests.helpers.csv_files import read_csv


@pytest.fixture(scope="module")
def population(data):
    return load_population(data)


def save(folder, images, *, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:05d}{suffix}")
    return folder


def test_folder_of_prompts_has_text_reference_and_labels_of_each_record(population, tmp_path):
    out = prompts.export_prompts(population, tmp_path / "prompts")
    manifest, labels = read_csv(out / "manifest.csv"), read_csv(out / "labels.csv")
    assert len(manifest) == len(labels) == len(population)
    for index, (line, of_labels) in enumerate(zip(manifest, labels, strict=True)):
        assert line["name"] == of_labels["name"] and line["image"] == f"{index:05d}.png"
        assert (out / line["text"]).read_text() == population.texts[index] + "\n"
        assert line["record"] == population.record_ids[index]
        assert line["subject"] == population.subjects[index]
        face = np.asarray(Image.open(out / line["reference"]))
        np.testing.assert_array_equal(face, population.reference[index])
        units = [int(of_labels[f"AU{number}"]) for number in AU_NUMBERS]
        assert units == population.labels[index].tolist()
    # The real pictures are not in it.
    files = [path for path in out.rglob("*") if path.suffix == ".png"]
    assert len(files) == len(population.people)


def test_load_prompts_restores_the_records(population, data, tmp_path):
    out = prompts.export_prompts(population, tmp_path / "prompts")
    again = prompts.load_prompts(out)
    assert again.fingerprint == population.fingerprint
    moved = shutil.copytree(data, tmp_path / "moved")
    assert prompts.load_prompts(out, moved).fingerprint == population.fingerprint
    few = load_population(data, "unseen-novel", limit=3)
    out = prompts.export_prompts(few, tmp_path / "few")
    assert prompts.load_prompts(out).record_ids == few.record_ids and len(few) == 3


def test_load_prompts_restores_texts_of_another_dictionary(population, data, tmp_path):
    own = dataclasses.asdict(load_dictionary())
    other = {
        name: [text + " Indeed." for text in texts] for name, texts in own["constructs"].items()
    }
    words = tmp_path / "words.json"
    words.write_text(json.dumps({"schema_version": 1, **own, "constructs": other}))
    out = tmp_path / "prompts"
    command = ["--data", str(data), "--dictionary", str(words), "--out", str(out)]
    evaluate.main(["export-prompts", *command])
    words.unlink()  # the folder has a copy
    asked = prompts.load_prompts(out)
    assert asked.texts != population.texts
    assert any("Indeed." in text for text in asked.texts)
    assert (out / "texts" / "00000.txt").read_text() == asked.texts[0] + "\n"
    assert asked.seen_test().fingerprint == asked.fingerprint
    (out / "dictionary.json").write_text(json.dumps({"schema_version": 1, **own}))
    with pytest.raises(prompts.PromptsError, match="has other texts now"):
        prompts.load_prompts(out)


def test_read_pictures_returns_equal_pixels(population, tmp_path):
    folder = save(tmp_path / "made", population.image)
    (folder / "log.txt").write_text("no picture")
    found = prompts.read_pictures(population, folder)
    np.testing.assert_array_equal(found, population.image)


FAULTS = ("missing", "there more than once", "unreadable", "of another size", "not asked for")


@settings(max_examples=15)
@given(kinds=st.lists(st.sampled_from(("right", *FAULTS)), min_size=8, max_size=8))
def test_read_pictures_reports_every_fault_and_nothing_else(population, kinds):
    with tempfile.TemporaryDirectory() as folder:
        folder = save(Path(folder), population.image)
        expected = {kind: 0 for kind in FAULTS}
        for number, kind in enumerate(kinds):
            path = folder / f"{number:05d}.png"
            if kind == "missing":
                path.unlink()
            elif kind == "there more than once":
                Image.open(path).save(path.with_suffix(".bmp"))
            elif kind == "unreadable":
                path.write_bytes(path.read_bytes()[:60])
            elif kind == "of another size":
                Image.new("RGB", (16, 15)).save(path)
            elif kind == "not asked for":
                shutil.copy(path, folder / f"copy{number}.png")
            if kind != "right":
                expected[kind] += 1
        if set(kinds) == {"right"}:
            prompts.read_pictures(population, folder)
            return
        with pytest.raises(prompts.PicturesError, match="nothing is scored") as raised:
            prompts.read_pictures(population, folder)
        faults = raised.value.faults
        assert {kind: len(lines) for kind, lines in faults.items()} == {
            kind: count for kind, count in expected.items() if count
        }
        for number, kind in enumerate(kinds):
            if kind in ("missing", "there more than once", "unreadable", "of another size"):
                assert sum(f"{number:05d}" in line for line in faults[kind]) == 1
                assert f"{number:05d}" in raised.value.listing


def test_resize_accepts_squares_of_one_other_size(population, tmp_path):
    large = population.image.repeat(4, axis=1).repeat(4, axis=2)
    folder = save(tmp_path / "made", large)
    with pytest.raises(prompts.PicturesError, match=r"64 x 64 px, expected 16 x 16 .*--resize"):
        prompts.read_pictures(population, folder)
    found = prompts.read_pictures(population, folder, resize=True)
    assert found.shape == population.image.shape
    assert np.abs(found.astype(int) - population.image).mean() < 3
    Image.new("RGB", (32, 32)).save(folder / "00002.png")
    Image.new("RGB", (64, 60)).save(folder / "00003.png")
    with pytest.raises(prompts.PicturesError) as raised:
        prompts.read_pictures(population, folder, resize=True)
    assert [line[:5] for line in raised.value.faults["of another size"]] == ["00002", "00003"]


def test_large_pictures_are_resized_one_by_one(population, tmp_path):
    large = population.image.repeat(32, axis=1).repeat(32, axis=2)
    folder = save(tmp_path / "made", large)
    tracemalloc.start()
    prompts.read_pictures(population, folder, resize=True)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 * large[0].nbytes < len(large) * large[0].nbytes / 2


def test_long_lists_of_faults_are_shortened_in_the_message_alone(population, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(prompts.PicturesError) as raised:
        prompts.read_pictures(population, tmp_path / "empty")
    assert len(raised.value.faults["missing"]) == len(population)
    assert raised.value.listing.count("\n") == len(population)


def test_changed_prompts_are_refused(population, data, tmp_path):
    out = prompts.export_prompts(population, tmp_path / "prompts")
    with pytest.raises(prompts.PromptsError, match="is not empty"):
        prompts.export_prompts(population, out)
    with pytest.raises(prompts.PromptsError, match="no complete folder of prompts"):
        prompts.load_prompts(tmp_path)
    other = evaluation_runs.build_data(tmp_path / "other", seed=1)
    with pytest.raises(prompts.PromptsError, match="name the right one with --data"):
        prompts.load_prompts(out, other)
    manifest = out / "manifest.csv"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:1] + lines[2:]))
    with pytest.raises(prompts.PromptsError, match="was changed since it was written"):
        prompts.load_prompts(out)


def test_missing_split_is_refused(tmp_path):
    data = evaluation_runs.build_data(tmp_path / "data", held_out_rows=0.0, novel_rows=0)
    with pytest.raises(DatasetError, match="--held-out-rows"):
        load_population(data, "unseen-held-out")
    with pytest.raises(ValueError, match="'nope' is not one of test"):
        load_population(data, "nope")
    with pytest.raises(ValueError, match="limit is 1"):
        load_population(data, limit=1)
