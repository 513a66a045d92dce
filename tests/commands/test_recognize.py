"""The command `recognize`: frames, tables, annotated pictures, roles and errors."""

import io
import re
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from auface_jax import recognize
from auface_jax.facs import AU_NUMBERS
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.recognition.text_reader import load_text_reader
from auface_jax.runs import checkpoints
from auface_jax.training.tasks.au_text import AUTextTask
from tests.helpers import tiny
from tests.helpers.csv_files import read_csv
from tests.helpers.picture_files import write_pictures_folder
from tests.helpers.recognizer_runs import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "score")


def test_folder_gives_a_row_and_an_annotated_picture_for_each_frame(run, tmp_path, capsys):
    pictures = write_pictures_folder(tmp_path / "pictures")
    out, overlay = tmp_path / "new" / "table.csv", tmp_path / "overlay"
    recognize.main([str(pictures), "--out", str(out), "--overlay", str(overlay), "--run", str(run)])
    rows = read_csv(out)
    assert [(row["path"].rpartition("/")[2], row["frame"]) for row in rows] == [
        ("a.jpg", "0"),
        ("b.png", "0"),
        ("c.gif", "0"),
        ("c.gif", "1"),
        ("c.gif", "2"),
    ]
    values = np.array([[float(row[f"AU{number}"]) for number in AU_NUMBERS] for row in rows])
    assert ((values >= 0) & (values <= 1)).all() and np.ptp(values) > 0
    recognizer = load_recognizer(run)
    expected = recognizer(tiny.images(5)[:1])
    np.testing.assert_allclose(values[1:2], expected, atol=1e-4)
    names = sorted(path.name for path in overlay.iterdir())
    assert names == ["a.png", "b.png", "c_00000.png", "c_00001.png", "c_00002.png"]
    with Image.open(overlay / "b.png") as picture:
        assert picture.text["source"].endswith("b.png")
    assert "5 faces of 3 files" in capsys.readouterr().out


def test_unreadable_files_are_listed_and_the_others_read(run, tmp_path):
    pictures = write_pictures_folder(tmp_path / "pictures")
    whole = (pictures / "b.png").read_bytes()
    (pictures / "torn.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "empty.jpg").write_bytes(b"")
    out = tmp_path / "table.csv"
    with pytest.raises(SystemExit) as stop:
        recognize.main([str(pictures), "--out", str(out), "--run", str(run)])
    assert "2 of 5 files" in stop.value.code
    assert "torn.png" in stop.value.code and "empty.jpg" in stop.value.code
    assert len(read_csv(out)) == 5


# --- Texts ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """An untrained text recogniser whose thresholds make every other unit count as stated."""
    folder = tmp_path_factory.mktemp("runs") / "text"
    config = tiny.au_text_config()
    task = AUTextTask(config, config.num_steps)
    params = jax.jit(task.init)(jax.random.key(0), tiny.records(1)).params
    thresholds = np.array([0.0, 1.0] * 6, np.float32)  # every other unit is always stated
    meta = {"text_tokenizer": task.text_tokenizer.fingerprint}
    checkpoints.save_export(folder, {"params": params, "thresholds": thresholds}, config, meta)
    return folder


TEXTS = 'The chin is up.\n\n  Your cheeks, "raised".\r\n眉\n'


def test_texts_give_a_row_each_with_their_line_number(text_run, tmp_path, capsys):
    out, file = tmp_path / "new" / "table.csv", tmp_path / "texts.txt"
    file.write_bytes(TEXTS.encode())
    recognize.main(["--texts", str(file), "--out", str(out), "--run", str(text_run)])
    rows = read_csv(out)
    texts = ["The chin is up.", 'Your cheeks, "raised".', "眉"]
    assert [row["text"] for row in rows] == texts
    assert [row["line"] for row in rows] == ["1", "3", "4"]
    values = np.array([[float(row[f"AU{number}"]) for number in AU_NUMBERS] for row in rows])
    np.testing.assert_allclose(values, load_text_reader(text_run).probabilities(texts), atol=6e-5)
    units = {re.sub("[A-E]", "", row["units"]) for row in rows}  # degrees are random here
    assert units == {"1+4+7+12+15+23"}  # those of threshold 0
    said = capsys.readouterr().out
    assert "3 texts" in said and "cut" not in said


def test_texts_are_read_from_standard_input_and_long_ones_counted(
    text_run, tmp_path, capsys, monkeypatch
):
    piped = io.TextIOWrapper(io.BytesIO((TEXTS + "and the chin " * 200).encode()))
    monkeypatch.setattr(sys, "stdin", piped)
    out = tmp_path / "table.csv"
    recognize.main(["--texts", "-", "--out", str(out), "--run", str(text_run)])
    assert len(read_csv(out)) == 4
    assert "1 of them are longer than the 128 tokens" in capsys.readouterr().out


def test_texts_are_read_without_any_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text(
        "The brows are drawn down; a trace of a smile.\nNothing moves.\n"
    )
    recognize.main(["--texts", "texts.txt", "--out", "table.csv"])
    first, second = read_csv(tmp_path / "table.csv")
    assert first["units"] == "4+12A" and second["units"] == ""


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"  \n\n", [], "no text in it; write one a line"),
        ("Lèvres.".encode("latin-1"), [], "not UTF-8"),
        (None, [], "No such file"),
        (b"Chin up.", ["face.png"], "either IMAGES or --texts"),
        (b"Chin up.", ["--overlay", "there"], "--overlay and --every are for pictures"),
        (b"Chin up.", ["--run", "runs/none"], "the run runs/none does not exist"),
    ],
)
def test_invalid_texts_are_refused_and_leave_no_table(
    content, arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "texts.txt").write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        recognize.main(["--texts", "texts.txt", "--out", "table.csv", *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "table.csv").exists()
