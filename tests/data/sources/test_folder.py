"""A folder of images becomes a data set, and every image that is left out has a reason."""

import csv
from pathlib import Path

import numpy as np
import pytest

from auface_jax.data.build import builder
from auface_jax.data.build.splits import ExcludedPerson, choose_reference
from auface_jax.data.sources.base import ONLY_IMAGE, ImageIndex, LoadedImages, Sample, SourceError
from auface_jax.data.sources.folder import FolderFaces
from auface_jax.data.sources.photographs import UNKNOWN_CODE
from auface_jax.faces.template import TEMPLATE, anchor_points
from tests.helpers.small_dataset import COLUMNS, read_table, write_folder, write_table


def sample(subject: str, frame: int) -> Sample:
    return Sample(
        image=np.zeros((16, 16, 3), np.uint8),
        subject=subject,
        task="T",
        frame=frame,
        labels=np.zeros(12, np.int8),
        intensities=None,
        landmarks=None,
    )


class Spoilt:
    """A source of three people with four images each, of which `usable` are usable."""

    name, exact, options, left_out = "spoilt", False, {}, {"never coded": 5}
    subjects, summary_lines = ("A", "B", "C"), ()

    def __init__(self, usable: dict[str, int]):
        self.usable = usable

    def index(self, subject: str) -> ImageIndex:
        names = tuple(("T", frame) for frame in range(4))
        return ImageIndex(names=names, labels=np.zeros((4, 12), np.int8))

    def load(self, subject: str, numbers) -> LoadedImages:
        usable = self.usable[subject]
        return LoadedImages(
            samples=[sample(subject, frame) for frame in numbers if frame < usable],
            left_out=[(f"{subject}/T/{frame}", "no face") for frame in numbers if frame >= usable],
        )


def build_spoilt(monkeypatch, out, **usable):
    monkeypatch.setattr(builder, "open_source", lambda *_, **__: Spoilt(usable))
    options = {"source": "folder", "labels": "labels.csv", "size": 16}
    return builder.build(out, **options, processes=1, progress=False)


def test_unusable_images_are_counted_by_reason(monkeypatch, tmp_path):
    info = build_spoilt(monkeypatch, tmp_path / "set", A=4, B=2, C=3)
    reasons = {reason.split(" (first")[0]: n for reason, n in info["left_out"].items()}
    assert reasons == {"never coded": 5, "no face": 3}
    assert sum(info["counts"].values()) == 9


def test_person_with_one_usable_image_has_no_record():
    refused = choose_reference(Spoilt({"A": 1}), "A", seed=0)
    assert isinstance(refused, ExcludedPerson) and refused.left_out[-1] == ("A/T/0", ONLY_IMAGE)
    assert sorted(refused.left_out[:-1]) == [(f"A/T/{frame}", "no face") for frame in (1, 2, 3)]


def test_unusable_reference_gives_way_to_the_next():
    chosen = {choose_reference(Spoilt({"A": 2}), "A", seed=seed).reference for seed in range(20)}
    assert chosen == {0, 1}


def test_too_few_usable_people_are_an_error_with_reasons(monkeypatch, tmp_path):
    with pytest.raises(SourceError, match="1 people with two usable images") as error:
        build_spoilt(monkeypatch, tmp_path / "set", A=4, B=0, C=1)
    assert "7 x no face" in str(error.value) and "1 x a person's only" in str(error.value)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


# --- Tables --------------------------------------------------------------------------------------


def write_columns(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_columns(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def load_all(source, subject: str) -> LoadedImages:
    return source.load(subject, range(len(source.index(subject).names)))


@pytest.fixture
def table(tmp_path):
    return write_folder(tmp_path / "faces")


def test_unknown_code_drops_its_frame(table):
    rows = read_table(table)
    rows[2][4] = rows[8][9] = ""
    write_table(table, rows)
    faces = FolderFaces(labels=str(table), size=16)
    assert faces.left_out == {f"{UNKNOWN_CODE} (first: S00/T1/2)": 2}
    names = faces.index("S00").names
    assert len(names) == 4 and ("T1", 2) not in names
    assert [len(faces.index(subject).names) for subject in faces.subjects] == [4, 4, 5, 5, 5, 5]
    assert "30 images, 28 of them with every code" in faces.summary_lines[0]


@pytest.mark.parametrize("spelling", ["no column", "empty column"])
def test_uncoded_units_are_refused_or_marked(table, tmp_path, spelling):
    rows = read_columns(table)
    for row in rows:
        for unit in ("AU7", "AU24"):
            row[unit] = ""
            if spelling == "no column":
                del row[unit]
    write_columns(table, rows)
    with pytest.raises(SourceError, match="AU7, AU24.*--uncoded-units absent"):
        FolderFaces(labels=str(table), size=16)
    info = builder.build(
        tmp_path / "set",
        source="folder",
        labels=str(table),
        uncoded_units="absent",
        size=16,
        processes=1,
        progress=False,
    )
    assert info["options"]["uncoded_units"] == [7, 24] and not info["left_out"]
    faces = FolderFaces(labels=str(table), size=16, uncoded_units="absent")
    assert any("never coded: AU7, AU24" in line for line in faces.summary_lines)
    labels = faces.index("S00").labels
    np.testing.assert_array_equal((labels == -1).any(axis=0), np.isin(COLUMNS[4:], ["AU7", "AU24"]))
    for found, row in zip(labels, rows, strict=False):
        assert all(found[n] in (-1, int(row.get(u) or 0)) for n, u in enumerate(COLUMNS[4:]))


def test_missing_key_column_is_not_an_uncoded_unit(table):
    rows = read_columns(table)
    for row in rows:
        del row["task"], row["AU1"]
    write_columns(table, rows)
    with pytest.raises(SourceError, match="columns task, AU1 are missing") as error:
        FolderFaces(labels=str(table), size=16, uncoded_units="absent")
    assert "uncoded" not in str(error.value)


def test_missing_intensity_is_zero_with_an_uncoded_label(table):
    rows = [[*row[:4], *(3 * int(v) for v in row[4:-1]), ""] for row in read_table(table)]
    write_table(table, rows)
    faces = FolderFaces(
        labels=str(table), size=16, threshold=2.0, maximum=5.0, uncoded_units="absent"
    )
    for sample in load_all(faces, "S01").samples:
        assert sample.labels[-1] == -1 and sample.intensities[-1] == 0
        np.testing.assert_array_equal(sample.labels[:-1], sample.intensities[:-1] >= 0.4)


# --- Alignment -----------------------------------------------------------------------------------


def write_landmarks(table: Path, form: str) -> np.ndarray:
    """Writes the points of a small face in the lower right for every row, and returns them."""
    points = np.random.default_rng(0).uniform(0.2, 0.8, (68, 2))
    (left, right, nose), half = TEMPLATE, np.array([0.06, 0.0])
    points[[36, 39, 42, 45, 33]] = left - half, left + half, right - half, right + half, nose
    points = points * 16 + 6
    rows = read_columns(table)
    for number, row in enumerate(rows):
        path = table.parent / f"{number}.{form}"
        if form == "pts":
            lines = [f"{x} {y}" for x, y in points]
            lines = ["version: 1", "n_points:  68", "{", *lines, "}"]
        else:
            lines = [f"{x},{y}" for x, y in points]
        path.write_text("\n".join(lines) + "\n")
        row["landmarks"] = path.name
    write_columns(table, rows)
    return points


@pytest.mark.parametrize("form", ["pts", "csv"])
def test_landmarks_align_faces_to_the_template(table, form):
    write_landmarks(table, form)
    faces = FolderFaces(labels=str(table), size=32)
    assert faces.options["align"] == "landmarks"
    for sample in load_all(faces, "S02").samples:
        np.testing.assert_allclose(anchor_points(sample.landmarks), TEMPLATE * 32, atol=1e-3)
        # The left half of a picture is bright in blue up to column 12: (12 - 6) / 16 of the crop.
        np.testing.assert_array_equal(sample.image[16, :9, 2], 200)
        np.testing.assert_array_equal(sample.image[16, 15:, 2], 0)
    plain = FolderFaces(labels=str(table), size=32, align="off")
    assert plain.options["content"] == faces.options["content"] != ""
    assert plain.options["align"] == "off" and load_all(plain, "S02").samples[0].landmarks is None


def test_face_without_usable_landmarks_is_left_out_with_a_reason(table, tmp_path):
    write_landmarks(table, "pts")
    rows = read_columns(table)
    (table.parent / "far.pts").write_text("1 1\n" * 68)
    rows[1]["landmarks"] = "far.pts"
    rows[2]["landmarks"] = ""
    write_columns(table, rows)
    loaded = load_all(FolderFaces(labels=str(table), size=16), "S00")
    assert len(loaded.samples) == 3 and not loaded.faults
    assert loaded.left_out == [
        ("S00/T1/1", "eyes too close together"),
        ("S00/T1/2", "no landmarks"),
    ]
    (table.parent / "far.pts").write_text("1 1\nno point\n")
    faults = load_all(FolderFaces(labels=str(table), size=16), "S00").faults
    assert len(faults) == 1 and "far.pts, line 2: 'no point'" in faults[0]
    rows[3]["landmarks"] = "lost.pts"
    write_columns(table, rows)
    with pytest.raises(SourceError, match="line 5: no such file: lost.pts"):
        FolderFaces(labels=str(table), size=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"align": "landmarks"}, "has no column landmarks"),
        ({"align": "eyes"}, "align is 'eyes', expected auto, landmarks, detector or off"),
        ({"align": "off", "margin": 0.1}, "margin is 0.1, but align is off"),
        ({"margin": 2.0}, "margin is 2.0, expected a number, more than -0.25 and at most 1"),
        ({"uncoded_units": "drop"}, "uncoded_units is 'drop', expected refuse or absent"),
        ({"maximum": 5.0}, "maximum is 5.0, which belongs to intensities"),
        ({"threshold": 3.0}, "threshold is 3.0, expected at most the maximum, 1.0"),
    ],
)
def test_illegal_or_conflicting_options_are_refused(table, options, message):
    with pytest.raises(ValueError, match=message):
        _ = FolderFaces(labels=str(table), size=16, **options).options
