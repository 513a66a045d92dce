"""A build by an Apache Beam runner gives the same bytes as a build on this machine.

Beam needs older packages than the rest: `make test-beam` runs these in an environment of its own.
"""

import json

import pytest

from auface_jax.data.build.builder import build
from tests.helpers.small_dataset import assert_same_sets, write_folder

pytest.importorskip("apache_beam", reason="needs the extra beam: make test-beam")

OPTIONS = {"size": 16, "seed": 2, "shard_records": 6, "progress": False}


@pytest.mark.parametrize("split", ["person", "image"])
def test_folder_source_gives_the_same_data_set(split, tmp_path):
    labels = str(write_folder(tmp_path / "faces", people=6, frames=9))
    options = {"source": "folder", "labels": labels, "split": split, **OPTIONS}
    options |= {"held_out_rows": 0.3, "novel_rows": 12}
    here = build(tmp_path / "here", processes=1, **options)
    by_beam = build(tmp_path / "beam", runner="DirectRunner", **options)
    assert here == by_beam and here["counts"]["unseen_novel"] == 12
    assert_same_sets(tmp_path / "here", tmp_path / "beam")


def test_drawn_source_gives_the_same_data_set(tmp_path):
    options = {"source": "builtin", "people": 4, "frames": 4, "novel_rows": 3, **OPTIONS}
    assert build(tmp_path / "here", processes=1, **options) == build(
        tmp_path / "beam", runner="DirectRunner", **options
    )
    assert_same_sets(tmp_path / "here", tmp_path / "beam")


def test_faults_are_reported_and_no_files_remain(tmp_path):
    labels = write_folder(tmp_path / "faces", people=4, frames=5)
    (tmp_path / "faces" / "images" / "1_3.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="1 fault.*\n.*1_3.png"):
        build(
            tmp_path / "set", source="folder", labels=str(labels), runner="DirectRunner", **OPTIONS
        )
    assert {path.name for path in tmp_path.iterdir()} == {"faces", ".set.lock"}


def test_finished_shard_is_not_written_again(tmp_path, monkeypatch):
    labels = str(write_folder(tmp_path / "faces", people=4, frames=6))
    options = {"source": "folder", "labels": labels, "runner": "DirectRunner", **OPTIONS}
    whole = build(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr("auface_jax.data.build.beam.finish", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            build(tmp_path / "set", **options)
    partial = tmp_path / ".set.partial"
    notes = list(partial.glob("train-*.json"))
    times = {note.name: note.stat().st_mtime_ns for note in notes}
    assert times and json.loads(notes[0].read_text())["split"] == "train"
    shards = {p.name: p.stat().st_mtime_ns for p in partial.glob("train-*.array_record")}
    assert build(tmp_path / "set", **options) == whole
    assert {
        p.name: p.stat().st_mtime_ns for p in (tmp_path / "set").glob("train-*.array_record")
    } == shards
