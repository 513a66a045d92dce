"""Sheets of faces, sequences of an expression, and the study of human reading."""

import numpy as np
import pytest
from PIL import Image

from auface_jax import facs
from auface_jax.data.build import __main__ as build_command
from auface_jax.data.build.__main__ import main
from auface_jax.faces import human_reading_study, registry, sampler, sheet


@pytest.fixture(scope="module")
def model():
    return registry.load_model()


def test_sequence_has_onset_apex_and_offset():
    apex = facs.labels_from_units([6, 12]).astype(np.float32) * 0.8
    frames = sampler.sequence(apex, 21)
    assert frames.shape == (21, 12) and frames.dtype == np.float32
    assert not frames[0].any() and not frames[-1].any()
    np.testing.assert_allclose(frames.max(0), apex)
    height = frames[:, facs.AU_NUMBERS.index(12)]
    top = np.flatnonzero(height == height.max())
    assert len(top) >= 5
    assert (np.diff(height[: top[0] + 1]) > 0).all() and (np.diff(height[top[-1] :]) < 0).all()
    with pytest.raises(ValueError, match="num_frames is 4"):
        sampler.sequence(apex, 4)
    with pytest.raises(ValueError, match="AU1 has intensity 2"):
        sampler.sequence(np.full(12, 2.0), 9)


@pytest.mark.slow
def test_sheets_of_every_kind_have_their_rows_and_columns(model):
    assert sheet.conflict_sheet(model, 24, 2, seed=0).height == 7 * 24
    assert sheet.ladder_sheet(model, 16, seed=0).height > 12 * 16
    assert sheet.crowd_sheet(model, 16, 9, seed=0).size == (8 * 16, 2 * 16)
    assert sheet.combination_sheet(model, 16, seed=0).width == 7 * 16
    pictures = sheet.animation(model, (12,), 24, 2, seed=0, frames=7)
    first, apex, last = (np.asarray(pictures[k]) for k in (0, 3, 6))
    assert first.shape == (24, 48, 3)
    assert (first == last).all() and (first != apex).any()


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_sheet_is_written_and_marked_as_synthetic(tmp_path, monkeypatch, suffix):
    out = tmp_path / "sheets" / f"sheet{suffix}"
    command = f"sheet --kind people --people 2 --size 16 --out {out}"
    monkeypatch.setattr("sys.argv", command.split())
    sheet.main()
    with Image.open(out) as written:
        assert written.size == (32, 16)
        assert suffix != ".png" or written.info == {"synthetic": "true"}


def test_study_hides_the_units_and_scores_answers(model, tmp_path, monkeypatch, capsys):
    out, table = tmp_path / "pictures", tmp_path / "apart" / "key.csv"
    human_reading_study.draw_pictures(model, out, table, pictures_per_unit=1, size=16, seed=0)
    key = human_reading_study.read_units(table, "unit")
    assert sorted(key) == sorted(p.name for p in out.iterdir()), "pictures and nothing else"
    for path in out.iterdir():
        with Image.open(path) as picture:
            assert picture.info == {"synthetic": "true"}, "it does not say its unit"
    assert sorted(key.values()) == sorted(facs.AU_NUMBERS)
    assert list(key.values()) != sorted(key.values()), "shuffled"
    with pytest.raises(ValueError, match="key.csv exists"):
        human_reading_study.draw_pictures(
            model, tmp_path / "more", table, pictures_per_unit=1, size=16, seed=0
        )
    with pytest.raises(ValueError, match="pictures is not empty"):
        human_reading_study.draw_pictures(
            model, out, tmp_path / "other.csv", pictures_per_unit=1, size=16, seed=0
        )
    answers = dict(key)
    (confused,) = (name for name, unit in key.items() if unit == 23)
    answers[confused] = 24
    matrix = human_reading_study.confusion_matrix(key, answers)
    assert matrix.sum() == 12 and np.trace(matrix) == 11
    assert "11 of 12 pictures right; 11 of 12 units recognised" in human_reading_study.report(
        matrix
    )
    with pytest.raises(ValueError, match="1 pictures are in one table only"):
        human_reading_study.confusion_matrix(
            key, {k: v for k, v in answers.items() if k != confused}
        )
    for text, message in (
        ("picture,answer\n000.png,13\n", "'13' is none of"),
        ("picture,unit\n000.png,12\n", "expected the columns picture,answer"),
        ("picture,answer\n000.png,12\n000.png,12\n", "appears twice"),
    ):
        (tmp_path / "answers.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            human_reading_study.read_units(tmp_path / "answers.csv", "answer")


def test_recogniser_takes_part_in_the_study(tmp_path, monkeypatch, capsys):
    key, table = tmp_path / "key.csv", tmp_path / "table.csv"
    key.write_text("picture,unit\n000.png,1\n001.png,24\n")
    units = ",".join(f"AU{n}" for n in facs.AU_NUMBERS)
    of_1, of_17 = "0.9" + ",0.1" * 11, "0.1," * 9 + "0.2,0.1,0.1"
    table.write_text(f"path,frame,{units}\nd/000.png,0,{of_1}\nd/001.png,0,{of_17}\n")
    assert human_reading_study.read_likeliest_units(table) == {"000.png": 1, "001.png": 17}
    command = ["human_reading_study", "score", "--key", str(key), "--table", str(table)]
    monkeypatch.setattr("sys.argv", command)
    human_reading_study.main()
    assert "1 of 2 pictures right; 1 of 12 units recognised" in capsys.readouterr().out
    for text, message in (
        (f"path,frame,AU1\nd/000.png,0,{of_1}\n", "line 2: expected path and numbers for AU1, AU2"),
        (f"path,frame,{units}\nd/0.png,0,{of_1}\ne/0.png,0,{of_1}\n", "0.png appears twice"),
    ):
        table.write_text(text)
        with pytest.raises(ValueError, match=message):
            human_reading_study.read_likeliest_units(table)


def test_preset_has_the_size_of_bp4d_autext(monkeypatch):
    asked = []

    def build(**options):
        asked.append(options)
        raise ValueError("enough")

    monkeypatch.setattr(build_command, "build", build)
    arguments = ["--source", "builtin", "--out", "set", "--size", "128", "--preset", "bp4d-autext"]
    for more in ([], ["--people", "5"]):
        with pytest.raises(SystemExit, match="enough"):
            main(arguments + more)
    whole, five = asked
    assert "preset" not in whole and whole["people"] == 41 + 140
    active = whole["people"] * (whole["frames"] - sampler.NEUTRAL_FRAMES)
    assert abs(active - 302_169) <= whole["people"] / 2, "no other number of frames is nearer"
    assert five["people"] == 5 and five["frames"] == whole["frames"]
