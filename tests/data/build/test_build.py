"""A build depends on its options alone, separates people, and is complete or absent."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.data.build import build_folder as partial_module
from auface_jax.data.build import local
from auface_jax.data.build.__main__ import main
from auface_jax.data.build.builder import build, build_if_absent
from auface_jax.data.build.splits import choose_reference, reference_order, split_people
from auface_jax.data.build.work_units import RecordMaker, WorkUnit
from auface_jax.data.record import REFERENCES, SPLITS, decode_record
from auface_jax.data.shards import DatasetError, ShardReader, read_info
from auface_jax.data.sources.base import ImageIndex, LoadedImages, Sample
from tests.helpers.small_dataset import (
    assert_same_sets,
    build_folder,
    read_table,
    write_folder,
    write_table,
)


@pytest.fixture
def table(tmp_path):
    return write_folder(tmp_path / "faces")


def all_records(directory: Path) -> dict:
    return {name: list(ShardReader(directory, name)) for name in (*SPLITS, REFERENCES)}


def test_every_image_is_a_target_or_reference_in_one_split(table, tmp_path):
    info = build_folder(table, tmp_path / "set", shard_records=4)
    records = all_records(tmp_path / "set")
    given = {(row[0], row[1], int(row[2])) for row in read_table(table)}
    found = [(r.subject, r.task, r.frame) for name in records for r in records[name]]
    assert len(found) == len(set(found)) and set(found) == given

    people = {split: {r.subject for r in records[split]} for split in SPLITS}
    assert all(people.values())
    assert sum(map(len, people.values())) == 6 == len(set.union(*people.values()))
    references = {r.subject: r for r in records[REFERENCES]}
    assert references.keys() == set.union(*people.values())
    for split in SPLITS:
        assert list(info["people"][split]) == list(dict.fromkeys(r.subject for r in records[split]))
        for record in records[split]:
            assert record.split == split and references[record.subject].split == REFERENCES
            assert record.reference == references[record.subject].id
            assert record.constructs == tuple(facs.constructs(record.labels))
    assert info["counts"] == {name: len(records[name]) for name in records}
    assert all(shard["records"] <= 4 for s in info["shards"].values() for shard in s)
    assert len(info["shards"]["train"]) == 4
    on_disk = {path.name for path in (tmp_path / "set").iterdir()}
    named = {shard["file"] for shards in info["shards"].values() for shard in shards}
    described = {"dataset_info.json", "features.json", "LICENSE"}  # for TensorFlow Datasets
    assert on_disk == named | {"dataset.json", "test_list.json"} | described


def test_build_depends_on_the_seed_and_not_on_processes(table, tmp_path):
    one = build_folder(table, tmp_path / "one", processes=1)
    two = build_folder(table, tmp_path / "two", processes=2)
    assert one == two == read_info(tmp_path / "two")
    assert_same_sets(tmp_path / "one", tmp_path / "two")
    other = build_folder(table, tmp_path / "other", seed=1)
    assert other["fingerprint"] != one["fingerprint"]


def test_moved_source_is_the_same_and_changed_source_is_refused(table, tmp_path):
    first = build_folder(table, tmp_path / "set")
    moved = Path(shutil.move(table.parent, tmp_path / "moved")) / "labels.csv"
    assert build_folder(moved, tmp_path / "set") == first
    rows = read_table(moved)
    rows[-1][4] = 1 - int(rows[-1][4])
    write_table(moved, rows)
    with pytest.raises(DatasetError, match="built with other options .content"):
        build_folder(moved, tmp_path / "set")


def test_complete_data_set_is_not_built_again(table, tmp_path, capsys):
    out = tmp_path / "set"
    options = {"source": "folder", "labels": str(table), "size": 16, "processes": 1}
    options |= {"progress": False, "people": None}
    first = build_if_absent(options, out)
    said = capsys.readouterr().out
    assert "not there yet" in said and said.count("\n") == 1
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert build_if_absent(options, out) == first
    said = capsys.readouterr().out
    assert first["fingerprint"][:12] in said and said.count("\n") == 1
    assert times == {path: path.stat().st_mtime_ns for path in out.iterdir()}
    with pytest.raises(DatasetError, match="size 16, asked for 20"):
        build_if_absent(options | {"size": 20}, out)


def test_folder_of_other_files_is_not_touched(table, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    build_folder(table, out)  # an empty folder may become a data set
    shutil.rmtree(out)
    out.mkdir()
    (out / "chapter1.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="is no data set"):
        build_folder(table, out)
    assert (out / "chapter1.tex").read_text() == "years of work"


def test_failed_build_continues_unless_options_differ(table, tmp_path, monkeypatch):
    out, partial = tmp_path / "set", tmp_path / ".set.partial"
    whole = build_folder(table, tmp_path / "whole", shard_records=4)

    def failing(after: int):
        """Makes a `write_shard` that raises 'disk full' after a number of shards."""
        count = iter(range(after))

        def write_shard(*arguments):
            if next(count, None) is None:
                raise OSError("disk full")
            return partial_module.write_shard(*arguments)

        return write_shard

    for _ in range(2):  # each gets two shards further
        with monkeypatch.context() as patch:
            patch.setattr(local, "write_shard", failing(after=2))
            with pytest.raises(OSError, match="disk full"):
                build_folder(table, out, shard_records=4)
    assert len(list(partial.glob("*.array_record.json"))) == 4 and not out.exists()
    damaged = next(partial.glob("train-*.array_record"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    (partial / "train-00000.writing").write_bytes(b"half")
    assert build_folder(table, out, shard_records=4) == whole
    assert_same_sets(out, tmp_path / "whole")

    with monkeypatch.context() as patch:
        patch.setattr(local, "write_shard", failing(after=2))
        with pytest.raises(OSError, match="disk full"):
            build_folder(table, tmp_path / "other", shard_records=4, seed=1)
    shutil.move(tmp_path / ".other.partial", partial)
    shutil.rmtree(out)
    assert build_folder(table, out, shard_records=4) == whole
    assert_same_sets(out, tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.glob("[!.]*")) == ["faces", "set", "whole"]
    assert {p.suffix for p in tmp_path.glob(".*")} == {".lock"}


def test_build_waits_for_another_of_the_same_data_set(tmp_path):
    began, entered = threading.Event(), threading.Event()

    def other():
        began.set()
        with partial_module.partial_folder(tmp_path / "set", {"seed": 0}):
            entered.set()

    thread = threading.Thread(target=other)
    with partial_module.partial_folder(tmp_path / "set", {"seed": 0}) as partial:
        thread.start()
        assert began.wait(60) and not entered.wait(0.2)
        (partial / "shard.writing").touch()  # which the other would take for a killed build's
    assert entered.wait(60)
    thread.join()


def test_killed_build_continues_without_lost_or_repeated_records(tmp_path):
    options = {"people": 3, "frames": 20, "size": 24, "shard_records": 6}
    command = [sys.executable, "-m", "auface_jax.data.build", "--source", "builtin"]
    command += ["--out", str(tmp_path / "set"), "--processes", "1"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    partial = tmp_path / ".set.partial"
    finished = {}
    for least in (1, 4):  # killed in the midst, twice
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
            while child.poll() is None and len(list(partial.glob("*.json"))) < least + 1:
                time.sleep(0.002)
            child.kill()
        assert child.returncode == -signal.SIGKILL and not (tmp_path / "set").exists()
        for note in partial.glob("*.array_record.json"):
            shard = note.with_suffix("")
            assert finished.setdefault(shard.name, shard.stat().st_mtime_ns) == (
                shard.stat().st_mtime_ns
            )
    assert 4 <= len(finished) < 12
    again = build(tmp_path / "set", source="builtin", processes=1, progress=False, **options)
    for name, written in finished.items():
        assert (tmp_path / "set" / name).stat().st_mtime_ns == written, f"{name} was made again"
    whole = build(tmp_path / "whole", source="builtin", processes=1, progress=False, **options)
    assert again == whole and sum(whole["counts"].values()) == 60
    assert_same_sets(tmp_path / "set", tmp_path / "whole")


@pytest.mark.parametrize("people", [3, 4, 10, 101])
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.01, 0.01, 0.98)])
def test_splits_are_by_person_and_not_empty(people, fractions):
    subjects = tuple(f"S{n}" for n in range(people))
    splits = split_people(subjects, fractions=fractions, seed=0)
    counts = [list(splits.values()).count(split) for split in SPLITS]
    assert tuple(splits) == subjects and min(counts) >= 1
    if fractions == (0.8, 0.1, 0.1) and people >= 10:
        np.testing.assert_allclose(np.divide(counts, people), fractions, atol=0.05)
    assert split_people(subjects[::-1], fractions=fractions, seed=0) == splits
    assert people < 101 or split_people(subjects, fractions=fractions, seed=1) != splits


def test_too_few_people_or_illegal_fractions_are_refused():
    with pytest.raises(ValueError, match="2 people .* at least 3"):
        split_people(("A", "B"), fractions=(0.8, 0.1, 0.1), seed=0)
    for fractions in ((0.8, 0.1), (0.9, 0.1, 0.0), (0.8, 0.1, 0.2)):
        with pytest.raises(ValueError, match="three positive numbers of sum 1"):
            split_people(("A", "B", "C"), fractions=fractions, seed=0)


def samples_of(rows: list[list[int]], subject: str = "A") -> list[Sample]:
    return [
        Sample(
            image=np.zeros((16, 16, 3), np.uint8),
            subject=subject,
            task="T",
            frame=frame,
            labels=np.array(row, np.int8),
            intensities=None,
            landmarks=None,
        )
        for frame, row in enumerate(rows)
    ]


def test_reference_is_a_random_neutral_image_or_the_first():
    active, neutral, uncoded = [1] + [0] * 11, [0] * 12, [0] * 11 + [-1]
    rows = np.array([active, neutral, active, uncoded, neutral], np.int8)
    orders = [list(reference_order(rows, f"S{n}", seed=0)) for n in range(40)]
    assert {order[0] for order in orders} == {1, 3, 4}
    assert all(order[3:] == [0, 2] and sorted(order) == list(range(5)) for order in orders)
    assert orders[3] == list(reference_order(rows, "S3", seed=0))
    assert list(reference_order(rows[:1].repeat(4, axis=0), "A", seed=0)) == [0, 1, 2, 3]


def test_uncoded_units_stay_marked_and_are_described_as_absent():
    class HalfCoded:
        name, exact = "half", False

        def index(self, subject):
            rows = [[1, 0] * 6, [0, 0] * 6]
            rows = [[-1 if unit % 3 == 0 else v for unit, v in enumerate(row)] for row in rows]
            return ImageIndex(names=(("T", 0), ("T", 1)), labels=np.array(rows, np.int8))

        def load(self, subject, numbers):
            samples = samples_of(self.index(subject).labels.tolist(), subject)
            return LoadedImages(samples=[samples[number] for number in numbers])

    source = HalfCoded()
    person = choose_reference(source, "A", seed=0)
    work_unit = WorkUnit("val", "A", person.reference_id, (0,), person.reference)
    made = RecordMaker(source=source, seed=0, image_format="png")(work_unit)
    reference, target = decode_record(made.reference), decode_record(made.records[0])
    assert not made.faults and reference.frame == 1
    assert (target.labels == -1).sum() == 4
    assert target.constructs == facs.constructs(np.maximum(target.labels, 0))


def test_only_image_of_a_person_is_left_out_and_counted(table, tmp_path):
    rows = read_table(table)
    write_table(table, [*rows, ["alone", *rows[0][1:]]])
    info = build_folder(table, tmp_path / "set")
    assert sum(len(people) for people in info["people"].values()) == 6
    assert list(info["left_out"].values()) == [1]


def test_illegal_options_are_refused(table, tmp_path):
    for options, message in (
        ({"source": "web"}, "source is 'web', expected bp4d, builtin, folder"),
        ({"source": "builtin", "people": 3}, "builtin needs --frames"),
        ({"source": "folder"}, "folder needs --labels"),
        ({"source": "folder", "labels": str(table), "people": 3}, "has no option --people"),
        (
            {"source": "builtin", "people": 3, "frames": 2},
            "frames is 2, expected a whole number, at least 3",
        ),
        ({"source": "folder", "labels": str(table), "image_format": "gif"}, "png or jpeg"),
        ({"source": "folder", "labels": str(table), "processes": 0}, "processes is 0"),
        ({"source": "folder", "labels": str(table), "shard_records": 0}, "shard_records is 0"),
        ({"source": "folder", "labels": str(table), "colour": "grey"}, "has no option colour"),
    ):
        with pytest.raises(ValueError, match=message):
            build(tmp_path / "set", size=16, **options)
    with pytest.raises(ValueError, match="a build needs --size"):
        build(tmp_path / "set", source="folder", labels=str(table))
    assert not (tmp_path / "set").exists()


def test_command_builds_and_reports_errors(table, tmp_path, capsys):
    out = str(tmp_path / "set")
    arguments = ["--source", "folder", "--labels", str(table), "--out", out, "--size", "16"]
    main([*arguments, "--processes", "1"])
    assert "6 people, 16 px" in capsys.readouterr().out
    assert json.loads((Path(out) / "dataset.json").read_text())["size"] == 16
    with pytest.raises(SystemExit, match="error: .* other options .size 16, asked for 32"):
        main([*arguments[:-1], "32"])
