"""Sources give labels at a threshold, pictures and drawn faces, and list all faults at once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auface_jax.data.build.builder import build
from auface_jax.data.record import REFERENCES, SPLITS
from auface_jax.data.shards import ShardReader
from auface_jax.data.sources.base import SourceError
from auface_jax.data.sources.folder import FolderFaces
from auface_jax.data.sources.open_faces import OpenFaces
from auface_jax.faces import sampler
from tests.helpers.small_dataset import COLUMNS, build_folder, read_table, write_folder, write_table

FOREIGN_FACES = Path(__file__).parents[4] / "shared" / "foreign_faces"


@pytest.fixture
def table(tmp_path):
    return write_folder(tmp_path / "faces")


def test_threshold_turns_intensities_into_labels(table, tmp_path):
    rows = [[*row[:4], *(3 * int(v) + 1 for v in row[4:])] for row in read_table(table)]
    write_table(table, rows)
    with pytest.raises(SourceError, match="AU1 is '1', expected 0 to 0.5") as error:
        FolderFaces(labels=str(table), size=16, threshold=0.3, maximum=0.5)
    assert "--maximum" in str(error.value)
    with pytest.raises(SourceError, match="AU\\d+ is '4', expected 0, 1 or nothing .*--threshold"):
        FolderFaces(labels=str(table), size=16)
    build_folder(table, tmp_path / "set", threshold=2.0, maximum=5.0)
    for record in ShardReader(tmp_path / "set", "train"):
        np.testing.assert_array_equal(record.labels, record.intensities >= 0.4)
        assert {round(float(v), 6) for v in record.intensities} <= {0.2, 0.8}


def test_table_faults_are_all_listed(table):
    rows = read_table(table)
    rows[0][0] = ""
    rows[1][2] = "one"
    rows[2][3] = "images/lost.png"
    rows[3][4:6] = ["9", "x"]
    rows[4] = rows[4][:-1]
    rows.append(list(rows[6]))
    write_table(table, rows)
    with pytest.raises(SourceError) as error:
        FolderFaces(labels=str(table), size=16)
    message = str(error.value)
    for part in (
        "7 fault(s)",
        "line 2: subject is empty",
        "line 3: frame 'one' is not a number",
        "line 4: no such image: images/lost.png",
        "line 5: AU1 is '9', expected 0, 1 or nothing",
        "line 5: AU2 is 'x', expected 0, 1 or nothing",
        "line 6: more or fewer fields",
        "line 32: subject, task and frame as in line 8",
    ):
        assert part in message, message
    write_table(table, [[*row[:3], "lost.png", *row[4:]] for row in rows[6:]])
    with pytest.raises(SourceError, match=r"25 fault\(s\)[\s\S]*and 5 more"):
        FolderFaces(labels=str(table), size=16)


def test_table_without_the_columns_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    for text, message in (
        ("subject,task,frame,path,AU1\n", "columns AU2, AU4, .* are missing"),
        ("subject;task;frame;path;AU1\n", "are missing; .*; separate them by commas"),
        ("", "columns subject, task"),
        (",".join(COLUMNS) + "\n", "no line below"),
        ("\ufeff" + ",".join(COLUMNS) + "\n", "no line below"),
    ):
        path.write_text(text)
        with pytest.raises(SourceError, match=message):
            FolderFaces(labels=str(path), size=16)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="not a CSV file in UTF-8"):
        FolderFaces(labels=str(path), size=16)
    with pytest.raises(SourceError, match="cannot be opened"):
        FolderFaces(labels=str(tmp_path / "none.csv"), size=16)


def test_unreadable_images_are_all_listed_and_stop_the_build(table, tmp_path):
    images = sorted((table.parent / "images").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:50])
    images[7].write_text("not a picture")
    Image.fromarray(np.zeros((20, 20), np.uint16)).save(images[9])
    with pytest.raises(SourceError) as error:
        build_folder(table, tmp_path / "set", processes=2)
    message = str(error.value)
    assert "3 fault(s)" in message and "8 bits a channel" in message
    assert all(images[n].name in message for n in (0, 7, 9))
    assert {path.name for path in tmp_path.iterdir()} == {"faces", ".set.lock"}


def test_builtin_faces_have_a_neutral_reference_and_exact_labels(tmp_path):
    options = {"source": "builtin", "frames": 4, "size": 24, "seed": 5, "progress": False}
    info = build(tmp_path / "set", people=3, processes=1, **options)
    again = build(tmp_path / "again", people=3, processes=2, **options)
    assert info == again
    assert info["counts"] == {"train": 3, "val": 3, "test": 3, "references": 3}
    for split in SPLITS:
        records = list(ShardReader(tmp_path / "set", split))
        assert all(record.exact and record.source == "builtin" for record in records)
        assert sum(not record.labels.any() for record in records) == 1
        for record in records:
            np.testing.assert_array_equal(record.labels, record.intensities >= 0.3)
            assert record.landmarks is not None
    assert not any(r.labels.any() for r in ShardReader(tmp_path / "set", REFERENCES))


def test_builtin_faces_equal_those_of_the_sampler():
    source = OpenFaces(people=3, frames=5, size=24, seed=5)
    whole = sampler.person_frames(2, num_frames=5, size=24, seed=5)
    index = source.index("P00002")
    np.testing.assert_array_equal(index.labels, [frame.labels for frame in whole])
    assert index.names == tuple(("render", frame.frame) for frame in whole)
    for numbers in (range(5), [3], [1, 4]):
        for number, sample in zip(numbers, source.load("P00002", numbers).samples, strict=True):
            for name in ("image", "landmarks", "labels", "intensities", "frame"):
                np.testing.assert_array_equal(getattr(sample, name), getattr(whole[number], name))


@pytest.mark.skipif(not FOREIGN_FACES.is_dir(), reason="needs the faces drawn by others")
def test_foreign_faces_are_read(tmp_path):
    info = build_folder(FOREIGN_FACES / "labels.csv", tmp_path / "labels", size=64)
    assert sum(info["counts"].values()) == 320 and info["counts"]["references"] == 16
    assert not any(r.labels.any() for r in ShardReader(tmp_path / "labels", REFERENCES))
    build_folder(FOREIGN_FACES / "intensities.csv", tmp_path / "graded", size=64, threshold=0.3)
    for coded, graded in zip(
        ShardReader(tmp_path / "labels", "test"),
        ShardReader(tmp_path / "graded", "test"),
        strict=True,
    ):
        assert coded.id == graded.id and coded.image == graded.image
        np.testing.assert_array_equal(coded.labels, graded.labels)
