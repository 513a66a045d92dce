"""Small corpora in the published layouts are read, and malformed files are named."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from ml_collections import ConfigDict
from PIL import Image

from auface_jax import facs
from auface_jax.data.build.builder import build
from auface_jax.data.build.from_config import build_data
from auface_jax.data.options import OptionError
from auface_jax.data.record import SPLITS
from auface_jax.data.shards import DatasetError, ShardReader
from auface_jax.data.sources.base import SourceError
from auface_jax.data.sources.bp4d import NO_PICTURE, NOT_CODED, BP4DFaces
from auface_jax.data.sources.landmark_files import read_sequence
from auface_jax.data.sources.photographs import UNKNOWN_CODE
from auface_jax.evaluation import cross_validation
from auface_jax.faces.template import TEMPLATE, anchor_points
from auface_jax.runs.checkpoints import CheckpointError
from auface_jax.runs.run_config import check_same_config, write_config
from tests.helpers import tiny

CODED = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 18, 23, 24)  # more than our twelve
SCORED = (6, 10, 12, 14, 17)
FRAMES = range(98, 103)  # the number of digits changes on the way


def occurrence(frame: int, unit: int) -> int:
    return 0 if frame == FRAMES[0] else (frame * unit // 7) % 2


def points_of(frame: int) -> np.ndarray:
    """Makes 49 landmarks [49, 2] of a face that moves to the right by a pixel each frame."""
    points = np.random.default_rng(1).uniform(0.2, 0.8, (49, 2))
    (left, right, nose), half = TEMPLATE, np.array([0.06, 0.0])
    points[[19, 22, 25, 28, 16]] = left - half, left + half, right - half, right + half, nose
    return points * 32 + (4 + frame - FRAMES[0], 5)


def write_table(path: Path, rows: list[list[int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def write_sequence(root: Path, person: str, task: str, *, name="{}.jpg", sequences="") -> None:
    """Writes pictures, occurrence, intensities and landmarks of five frames."""
    folder = root / sequences / person / task
    folder.mkdir(parents=True)
    for frame in FRAMES:
        image = np.full((48, 48, 3), (frame, 40, int(person[1:])), np.uint8)
        Image.fromarray(image).save(folder / name.format(frame), quality=95)
    codes = [[frame, *(occurrence(frame, unit) for unit in CODED)] for frame in FRAMES]
    write_table(root / f"AUCoding/AU_OCC/{person}_{task}.csv", [[0, *CODED], *codes])
    for unit in SCORED:
        scores = [[frame, 3 * occurrence(frame, unit)] for frame in FRAMES]
        write_table(root / f"AUCoding/AU_INT/AU{unit:02}/{person}_{task}_AU{unit:02}.csv", scores)
    points = np.stack([points_of(frame) for frame in FRAMES])
    (root / "2DFeatures").mkdir(exist_ok=True)
    scipy.io.savemat(root / f"2DFeatures/{person}_{task}.mat", {"points": points})


@pytest.fixture
def bp4d(tmp_path):
    root = tmp_path / "BP4D"
    for person in ("F001", "F002", "M001"):
        for task in ("T1", "T8"):
            write_sequence(root, person, task, name="{:04}.jpg")
    return root


@pytest.fixture
def bp4d_plus(tmp_path):
    root = tmp_path / "BP4D+"
    for person in ("F001", "M058"):
        write_sequence(root, person, "T6", sequences="2D+3D")
    return root


def load_all(source, subject: str):
    return source.load(subject, range(len(source.index(subject).names)))


def test_corpus_is_read_as_published(bp4d):
    faces = BP4DFaces(size=32, bp4d=str(bp4d))
    assert faces.subjects == ("BP4D-F001", "BP4D-F002", "BP4D-M001") and not faces.left_out
    assert faces.index("BP4D-M001").names == tuple((t, f) for t in ("T1", "T8") for f in FRAMES)
    loaded = load_all(faces, "BP4D-M001")
    assert not loaded.faults and not loaded.left_out
    for sample in loaded.samples:
        expected = [occurrence(sample.frame, unit) for unit in facs.AU_NUMBERS]
        np.testing.assert_array_equal(sample.labels, expected)
        scored = [0.6 * v * (u in SCORED) for u, v in zip(facs.AU_NUMBERS, expected, strict=True)]
        np.testing.assert_allclose(sample.intensities, scored, atol=1e-6)
        np.testing.assert_allclose(anchor_points(sample.landmarks), TEMPLATE * 32, atol=1e-3)
        assert np.abs(sample.image.astype(int) - (sample.frame, 40, 1)).max() <= 4


def test_summary_lines_count_the_files(bp4d, bp4d_plus):
    lines = BP4DFaces(size=16, bp4d=str(bp4d), bp4d_plus=str(bp4d_plus)).summary_lines
    assert lines[0] == "BP4D: 6 sequences of pictures, 6 of codes, 6 of landmarks"
    assert lines[1].startswith("BP4D: 30 coded frames, 30 of them with every code, 3 people; ")
    assert lines[1].endswith("intensities of AU6, AU10, AU12, AU14, AU17")
    assert lines[2].startswith("BP4D+: 2 sequences") and lines[4].endswith("by: landmarks")


def test_people_with_one_id_in_both_corpora_are_distinct(bp4d, bp4d_plus, tmp_path):
    info = build(
        tmp_path / "set",
        source="bp4d",
        bp4d=str(bp4d),
        bp4d_plus=str(bp4d_plus),
        size=32,
        processes=1,
        progress=False,
    )
    people = [subject for split in SPLITS for subject in info["people"][split]]
    assert sorted(people) == [
        "BP4D+-F001", "BP4D+-M058", "BP4D-F001", "BP4D-F002", "BP4D-M001",
    ]  # fmt: skip
    records = [r for split in (*SPLITS, "references") for r in ShardReader(tmp_path / "set", split)]
    assert len(records) == 40 == len({record.id for record in records})
    assert {record.source for record in records} == {"bp4d"}
    assert {r.subject for r in records if r.task == "T6"} == {"BP4D+-F001", "BP4D+-M058"}


def test_published_folds_name_people_of_a_built_data_set(tmp_path):
    folds = cross_validation.read_folds("")
    for person in (person.removeprefix("BP4D-") for fold in folds for person in fold):
        write_sequence(tmp_path / "BP4D", person, "T1")
    options = {"source": "bp4d", "bp4d": str(tmp_path / "BP4D"), "size": 16, "progress": False}
    build(tmp_path / "set", processes=1, **options)
    cross_validation.check_data(str(tmp_path / "set"), folds)
    with pytest.raises(DatasetError, match="'BP4D-F007' is not in the set"):
        write_sequence(tmp_path / "other", "F001", "T1")
        for person in ("F002", "F003"):
            write_sequence(tmp_path / "other", person, "T1")
        build(tmp_path / "few", processes=1, **options | {"bp4d": str(tmp_path / "other")})
        cross_validation.check_data(str(tmp_path / "few"), folds)
    build(tmp_path / "held", processes=1, held_out_rows=0.3, **options)
    with pytest.raises(DatasetError, match="--held-out-rows 0.3: .* build a set without"):
        cross_validation.check_data(str(tmp_path / "held"), folds)


def test_config_adopts_the_options_of_a_built_data_set(bp4d, tmp_path, capsys):
    directory = tmp_path / "set"
    options = {"size": 32, "margin": 0.2, "processes": 1, "progress": False}
    build(directory, source="bp4d", bp4d=str(bp4d), **options)
    data = tiny.load_config("au_probe", "paper").data
    data.update({"dir": str(directory), "novel_rows": 7})
    build_data(data)
    assert (data.margin, data.held_out_rows, data.novel_rows) == (0.2, 0.0, 0)
    said = capsys.readouterr().out
    assert f"data.margin is 0.2, as {directory} was built, not 0.0" in said
    assert "held_out_rows" not in said
    build_data(data)
    assert not capsys.readouterr().out
    config = ConfigDict({"data": data})
    with config.unlocked():
        write_config(config, tmp_path / "run")
        data.update({"margin": 0.1})
    with pytest.raises(CheckpointError, match="data.margin: 0.2 there, 0.1 now"):
        check_same_config(config, tmp_path / "run")


def test_unknown_code_of_a_unit_drops_one_frame(bp4d):
    path = bp4d / "AUCoding/AU_OCC/F001_T1.csv"
    lines = path.read_text().splitlines()
    for number, unit, code in ((1, 4, 9), (2, 5, 9), (3, 24, 999), (4, 6, -1)):
        fields = lines[number].split(",")
        fields[1 + CODED.index(unit)] = str(code)
        lines[number] = ",".join(fields)
    path.write_text("\n".join(lines) + "\n")
    faces = BP4DFaces(size=16, bp4d=str(bp4d))
    # AU5 is none of our twelve.
    assert faces.left_out == {f"{UNKNOWN_CODE} (first: BP4D-F001/T1/98)": 3}
    assert faces.index("BP4D-F001").names[:2] == (("T1", 99), ("T1", 102))


def test_frames_without_picture_or_code_are_counted(bp4d):
    (bp4d / "F001/T1/0099.jpg").unlink()
    Image.new("RGB", (8, 8)).save(bp4d / "F001/T1/7.jpg")
    (bp4d / "F002/T3").mkdir()
    Image.new("RGB", (8, 8)).save(bp4d / "F002/T3/0.jpg")
    (bp4d / "F002/T1/thumbs.db").write_text("no picture")
    (bp4d / "AUCoding/AU_OCC/readme.txt").write_text("no codes")
    faces = BP4DFaces(size=16, bp4d=str(bp4d), align="off")
    assert faces.left_out == {
        f"{NOT_CODED} (first: BP4D-F001/T1/7)": 2,
        f"{NO_PICTURE} (first: BP4D-F001/T1/99)": 1,
    }


def test_uncoded_units_of_a_corpus_are_refused_or_marked(bp4d, bp4d_plus):
    for path in (bp4d_plus / "AUCoding/AU_OCC").iterdir():
        rows = [line.split(",") for line in path.read_text().splitlines()]
        for row in rows[1:]:
            row[1 + CODED.index(7)] = "9"
        write_table(path, [row[:-1] for row in rows])  # no column of AU24
    roots = {"bp4d": str(bp4d), "bp4d_plus": str(bp4d_plus)}
    with pytest.raises(SourceError, match=r"BP4D\+ .BP4D\+.: nothing codes AU7, AU24; .*absent"):
        BP4DFaces(size=16, **roots)
    faces = BP4DFaces(size=16, uncoded_units="absent", **roots)
    assert faces.options["uncoded_units"] == [7, 24]
    for subject in faces.subjects:
        marked = (faces.index(subject).labels == -1).all(axis=0)
        units = {u for u, mark in zip(facs.AU_NUMBERS, marked, strict=True) if mark}
        assert units == ({7, 24} if subject.startswith("BP4D+") else set())


def test_malformed_files_are_all_named(bp4d):
    occurrence_folder = bp4d / "AUCoding/AU_OCC"
    (occurrence_folder / "F001_T1.csv").write_text("frame,AU1\n1,0\n")
    write_table(occurrence_folder / "F001_T8.csv", [[1, 2, 4], [0, 0, 1]])
    write_table(occurrence_folder / "F002_T1.csv", [[0, *CODED], [5, 1]])
    write_table(occurrence_folder / "F002_T8.csv", [[0, 1], [5, 1], [5, 0]])
    write_table(bp4d / "AUCoding/AU_INT/AU06/M001_T1_AU06.csv", [[98, 1, 2]])
    Image.new("RGB", (8, 8)).save(bp4d / "M001/T8/98.jpg")
    with pytest.raises(SourceError, match=r"6 fault\(s\)") as error:
        BP4DFaces(size=16, bp4d=str(bp4d))
    for part in (
        "F001_T1.csv: not a CSV of numbers",
        "F001_T8.csv: the first line is [1, 2, 4]..., expected the numbers of units and one 0",
        "F002_T1.csv, line 2: 2 fields, the first line has 17",
        "F002_T8.csv, line 3: frame 5 is negative or there twice",
        "M001_T1_AU06.csv, line 1: [98, 1, 2], expected a frame and a code",
        "98.jpg: a second picture of frame 98",
    ):
        assert part in str(error.value), str(error.value)


def test_folder_without_a_corpus_is_an_error_with_the_layout(bp4d, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"3 fault\(s\)") as error:
        BP4DFaces(size=16, bp4d=str(tmp_path / "empty"))
    for part in ("<person>/<task>/<frame>.jpg", "AU_OCC/", "2DFeatures/", "--align detector"):
        assert part in str(error.value)
    with pytest.raises(SourceError, match="no such folder"):
        BP4DFaces(size=16, bp4d_plus=str(tmp_path / "none"))
    with pytest.raises(OptionError, match="name one folder or both"):
        BP4DFaces(size=16)


def test_lost_face_is_left_out_and_wrong_frame_count_is_a_fault(bp4d):
    points = np.stack([points_of(frame) for frame in FRAMES])
    points[1], points[2] = np.nan, 0
    path = bp4d / "2DFeatures/F001_T1.mat"
    scipy.io.savemat(path, {"points": points})
    (bp4d / "2DFeatures/F001_T8.mat").unlink()
    loaded = load_all(BP4DFaces(size=16, bp4d=str(bp4d)), "BP4D-F001")
    assert len(loaded.samples) == 3 and not loaded.faults
    lost = [("T1", 99), ("T1", 100), *(("T8", frame) for frame in FRAMES)]
    assert loaded.left_out == [(f"BP4D-F001/{t}/{f}", "no landmarks") for t, f in lost]
    scipy.io.savemat(bp4d / "2DFeatures/F002_T1.mat", {"points": points[:3]})
    faults = load_all(BP4DFaces(size=16, bp4d=str(bp4d)), "BP4D-F002").faults
    assert len(faults) == 5 and "landmarks of 3 frames" in faults[0] and "5 pictures" in faults[0]


@pytest.mark.parametrize("form", ["F M 2", "M 2 F", "F 2M", "fit", "fit with numbers"])
def test_landmark_files_of_all_forms_give_the_same_points(tmp_path, form):
    points = np.stack([points_of(frame) for frame in FRAMES]).astype(np.float64)
    tracked = np.array([1, 1, 0, 1, 1])
    if form.startswith("fit"):
        fields = [("isTracked", object), ("pred", object), ("frame", object)]
        fit = np.zeros((1, len(FRAMES)), fields[: 3 if "numbers" in form else 2])
        for n, frame in enumerate(FRAMES):
            fit[0, n]["isTracked"] = float(tracked[n])
            fit[0, n]["pred"] = points[n] if tracked[n] else np.zeros((0, 0))
            if "numbers" in form:
                fit[0, n]["frame"] = float(frame)
        content = {"fit": fit}
    else:
        points[2] = np.nan
        shaped = {
            "F M 2": points,
            "M 2 F": points.transpose(1, 2, 0),
            "F 2M": points.reshape(len(FRAMES), -1),
        }
        content = {"info": np.array(["about"]), "points": shaped[form]}
    scipy.io.savemat(tmp_path / "F001_T1.mat", content)
    found, numbers = read_sequence(tmp_path / "F001_T1.mat")
    assert [frame is not None for frame in found] == tracked.astype(bool).tolist()
    for n in np.flatnonzero(tracked):
        np.testing.assert_allclose(found[n], points[n], rtol=1e-6)
    if "numbers" in form:
        np.testing.assert_array_equal(numbers, list(FRAMES))
    else:
        assert numbers is None


def test_file_without_landmarks_is_an_error_with_its_variables(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"pose": np.zeros((5, 3))})
    with pytest.raises(SourceError, match=r"a.mat: no array of 68, 66, 51, 49 .*pose \(5, 3\)"):
        read_sequence(tmp_path / "a.mat")
    (tmp_path / "b.mat").write_text("text")
    with pytest.raises(SourceError, match="b.mat: not a MATLAB file"):
        read_sequence(tmp_path / "b.mat")
