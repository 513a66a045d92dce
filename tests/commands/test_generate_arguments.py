"""Options that `generate` refuses before it loads the run; tests name a run that is missing."""

import os

import numpy as np
import pytest

from auface_jax import generate
from auface_jax.generation.generator import Request

RUN = ("--run", "runs/none")


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        generate.main([*RUN, *arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--aus", "6,99"), "99"),
        (("--text", "  "), "--text is empty"),
        (("--aus", "6", "--num", "0"), "--num 0"),
        (("--aus", "6", "--text", "both"), "not allowed with"),
        ((), "required"),
        (("--aus", "6C,12"), "give every unit a degree"),
        (("--aus", "6", "--to-aus", "4"), "make a GIF"),
        (("--aus", "6", "--to-aus", "4,98", "--out", "a.gif"), "98"),
        (("--aus", "6", "--level-steps", "3,many"), "'3,many' is no list of whole numbers"),
        (("--aus", "6"), "runs/none does not exist"),
        (("--aus", "6", "--seed", "4294967295"), "runs/none does not exist"),
        (
            ("--aus", "6", "--seed", "4294967296"),
            "--seed 4294967296: a whole number from 0 to 4294",
        ),
        (("--aus", "6", "--seed", "18446744073709551616"), "--seed 18446744073709551616: a whole"),
        (("--aus", "6", "--out", "faces.jpg"), "--out faces.jpg ends in .jpg: name a .png, a .gif"),
        (("--aus", "6", "--out", "faces.pdf"), "--out faces.pdf ends in .pdf: name a .png, a .gif"),
        (("--aus", "6", "--explain", "why.jpg"), "--explain why.jpg: the name of a PNG ends in"),
    ],
)
def test_invalid_options_are_refused_with_their_value(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_options_without_effect_on_a_csv_are_refused(capsys):
    message = refused(
        capsys,
        *("--jobs", "jobs.csv", "--out", "made.gif"),
        *("--num", "9", "--seed", "3", "--explain", "why.png", "--to-aus", "4"),
    )
    for fault in (
        "--num 9 has no effect with --jobs: write a line for each picture",
        "--seed 3 has no effect with --jobs: write it in the column seed",
        "--explain why.png has no effect with --jobs: give the text or the units of that line",
        "--to-aus 4 has no effect with --jobs: ",
        "--out made.gif has an ending",
    ):
        assert fault in message
    assert message.count("has no effect") == 4 and "is none" not in message
    message = refused(capsys, "--jobs", "jobs.csv", "--to-text", "A smile.")
    assert "--to-text A smile. has no effect with --jobs" in message
    assert "--jobs writes to a folder: name it by --out" in message
    # The other options are accepted: only the run is missing.
    message = refused(
        capsys,
        *("--jobs", "jobs.csv", "--out", "made", "--reference", "S01"),
        *("--reference-aligned", "--change", "mouth", "--steps", "1", "--guidance", "2"),
    )
    assert "runs/none does not exist" in message


def test_gif_refuses_a_number_of_pictures(capsys):
    message = refused(capsys, "--aus", "6", "--num", "2", "--seed", "-1", "--out", "a.gif")
    assert "--num 2 has no effect on a GIF" in message
    assert "--seed -1: a whole number from 0 to 4294967295" in message


def test_unwritable_outputs_are_refused_before_drawing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").write_text("a file")
    (tmp_path / "folder.png").mkdir()
    for out, message in (
        ("faces", "--out faces is a file (a name without an ending is a folder's)"),
        ("faces/smile.png", f"{tmp_path / 'faces'} is no folder"),
        ("folder.png", "--out folder.png is a folder"),
    ):
        assert message in refused(capsys, "--aus", "6", "--out", out)
    assert "--out faces is a file" in refused(capsys, "--jobs", "jobs.csv", "--out", "faces")
    assert "--explain folder.png is a" in refused(capsys, "--aus", "6", "--explain", "folder.png")
    assert "runs/none does not exist" in refused(capsys, "--aus", "6", "--out", "new/folder")
    assert not (tmp_path / "new").exists() and (tmp_path / "faces").read_text() == "a file"


def test_outputs_that_would_replace_inputs_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "0002.png").write_text("a face")
    os.symlink("made/0002.png", "me.png")
    reference = ("--aus", "6", "--reference", "me.png")
    for more in (("--out", "made"), ("--out", "me.png"), ("--explain", "./made/../me.png")):
        assert "is read by this command and would be lost" in refused(capsys, *reference, *more)
    twice = ("--explain", "other.png", "--out", "./other.png")
    assert "--explain and --out are both other.png" in refused(capsys, "--aus", "6", *twice)
    for more in (("--out", "made", "--num", "2"), ("--out", "other.png"), ("--out", "at-0.5")):
        assert "runs/none does not exist" in refused(capsys, *reference, *more)
    assert (tmp_path / "made" / "0002.png").read_text() == "a face"


def test_request_refuses_seeds_that_repeat_others():
    face = np.zeros((16, 16, 3), np.uint8)
    assert Request(face, "A smile.", 2**32 - 1).seed == 2**32 - 1
    for seed in (-1, 2**32, 2**64):
        with pytest.raises(ValueError, match=f"seed {seed}: give a whole number from 0 to 42949"):
            Request(face, "A smile.", seed)
