"""The command `recognize`: frames, tables, annotated pictures, roles and errors."""

import contextlib
import io
import struct
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from auface_jax import recognize
from auface_jax.facs import AU_NUMBERS
from auface_jax.images import frames
from auface_jax.images.files import read_rgb
from auface_jax.recognition import finished_runs, pictures
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.recognition.text_reader import load_text_reader
from auface_jax.runs import checkpoints
from auface_jax.training.tasks.au_text import AUTextTask
from tests.helpers import tiny
from tests.helpers.csv_files import read_csv
from tests.helpers.recognizer_runs import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "score")


@pytest.fixture
def pictures_folder(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    images = [Image.fromarray(image) for image in tiny.images(5)]
    images[0].save(folder / "b.png")
    images[1].resize((40, 24)).save(folder / "a.jpg")
    images[2].save(folder / "deep" / "c.gif", save_all=True, append_images=images[3:])
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_folder_gives_a_row_and_an_annotated_picture_for_each_frame(
    run, pictures_folder, tmp_path, capsys
):
    out, overlay = tmp_path / "new" / "table.csv", tmp_path / "overlay"
    recognize.main(
        [str(pictures_folder), "--out", str(out), "--overlay", str(overlay), "--run", str(run)]
    )
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


def test_overlay_bars_are_as_long_as_the_probabilities():
    image = np.zeros((8, 8, 3), np.uint8)
    frame = frames.Frame(None, 0, True, image)
    values = np.linspace(0, 1, 12)
    page = np.asarray(pictures.overlay(frame, values)).astype(int)
    line = page.shape[0] / 12
    lengths = []
    for row in range(12):
        across = page[round((row + 0.2) * line) + 2]
        filled = (np.abs(across - [0xB8, 0xC4, 0xD0]).max(1) < 8) | (
            np.abs(across - [0xD9, 0x53, 0x4F]).max(1) < 8
        )
        lengths.append(filled.sum())
    np.testing.assert_allclose(lengths, 150 * values, atol=3)


def test_unreadable_files_are_listed_and_the_others_read(run, pictures_folder, tmp_path):
    whole = (pictures_folder / "b.png").read_bytes()
    (pictures_folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    (pictures_folder / "empty.jpg").write_bytes(b"")
    out = tmp_path / "table.csv"
    with pytest.raises(SystemExit) as stop:
        recognize.main([str(pictures_folder), "--out", str(out), "--run", str(run)])
    assert "2 of 5 files" in stop.value.code
    assert "torn.png" in stop.value.code and "empty.jpg" in stop.value.code
    assert len(read_csv(out)) == 5


def test_every_selects_frames(pictures_folder):
    path = pictures_folder / "deep" / "c.gif"
    assert [frame.number for frame in frames.read_frames(path, 16, every=2)] == [0, 2]


def test_second_image_of_a_photograph_is_no_frame(tmp_path):
    photograph, depth = (Image.fromarray(image) for image in tiny.images(2))
    photograph.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[depth])
    [frame] = frames.read_frames(tmp_path / "a.jpg", 16)
    assert frame.still and frame.number == 0
    np.testing.assert_array_equal(frame.image, read_rgb(tmp_path / "a.jpg"))
    photograph.save(tmp_path / "moving.png", save_all=True, append_images=[depth])
    assert [frame.still for frame in frames.read_frames(tmp_path / "moving.png", 16)] == [False] * 2


def test_transparent_pixels_become_grey(tmp_path):
    pixels = np.dstack([tiny.images(1)[0], np.zeros((16, 16, 1), np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    [frame] = frames.read_frames(tmp_path / "cut.png", 16)
    assert (frame.image == 128).all()


def test_pictures_are_turned_upright_cropped_and_reduced_by_averaging(tmp_path):
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, 16:48] = 255  # the left half of the central square
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: left comes to the top
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    [frame] = frames.read_frames(tmp_path / "turned.png", 16)
    assert frame.image.shape == (16, 16, 3)
    assert frame.image[:7].min() > 200 and frame.image[9:].max() < 50
    pixels[:], pixels[::2] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "striped.png")
    [frame] = frames.read_frames(tmp_path / "striped.png", 16)
    assert np.abs(frame.image.astype(int) - 127).max() < 12


def test_all_paths_without_pictures_are_reported(pictures_folder, tmp_path):
    (tmp_path / "bare").mkdir()
    paths = [tmp_path / "none.png", tmp_path / "bare", pictures_folder / "notes.txt"]
    with pytest.raises(frames.FrameError) as error:
        frames.find_files([pictures_folder, *paths])
    assert "none.png: no such file" in str(error.value)
    assert "bare: a folder without pictures" in str(error.value)
    assert "notes.txt: not one of .bmp" in str(error.value)


def test_videos_are_read_or_name_the_missing_package(tmp_path):
    path = tmp_path / "face.mp4"
    try:
        import av
    except ImportError:
        path.write_bytes(b"anything")
        with pytest.raises(frames.FrameError, match=r"need PyAV .*\[video\]"):
            list(frames.read_frames(path, 16))
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for value in (0, 120, 240):
            image = np.full((32, 32, 3), value, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    found = list(frames.read_frames(path, 16))
    assert [frame.number for frame in found] == [0, 1, 2]
    np.testing.assert_allclose([f.image.mean() for f in found], [0, 120, 240], atol=6)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90, -180])
def test_frames_are_rotated_by_the_metadata_of_their_video(tmp_path, monkeypatch, rotation):
    pixels = tiny.images(1)[0]
    frame = types.SimpleNamespace(rotation=rotation, to_ndarray=lambda format: pixels)
    container = types.SimpleNamespace(decode=lambda video: [frame])
    opened = types.SimpleNamespace(open=lambda path: contextlib.nullcontext(container))
    monkeypatch.setitem(sys.modules, "av", opened)
    [found] = frames.read_frames(tmp_path / "a.mp4", 16)
    counter_clockwise = Image.fromarray(pixels).rotate(rotation)
    np.testing.assert_array_equal(found.image, counter_clockwise)


def test_video_of_a_telephone_is_turned_upright(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "face.mp4"
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16] = 255  # the left half, which a quarter turn clockwise brings to the top
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
            container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    # The matrix in the track's header, a b u c d v x y w, is at first the one that turns nothing.
    whole, one = path.read_bytes(), 1 << 16
    at = whole.index(b"tkhd") + 44
    assert struct.unpack(">9i", whole[at : at + 36]) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    clockwise = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)
    path.write_bytes(whole[:at] + clockwise + whole[at + 36 :])
    [frame] = frames.read_frames(path, 16)
    assert frame.image[:7].min() > 200 and frame.image[9:].max() < 50


def test_larger_faces_are_resized_to_the_size_of_the_network(run):
    recognizer = load_recognizer(run)
    small = tiny.images(3)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_allclose(recognizer(large), recognizer(small), atol=0.1)


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
    assert {row["units"] for row in rows} == {"1+4+7+12+15+23"}  # those of threshold 0
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


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"  \n\n", [], "no text in it; write one a line"),
        ("Lèvres.".encode("latin-1"), [], "not UTF-8"),
        (None, [], "No such file"),
        (b"Chin up.", ["face.png"], "either IMAGES or --texts"),
        (b"Chin up.", ["--overlay", "there"], "--overlay and --every are for pictures"),
        (b"Chin up.", [], "no recogniser here: none of runs/au_text-paper"),
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


def test_unique_stems_names_every_file_differently():
    files = [Path(name) for name in ("x/a.png", "a-2.png", "y/a.jpg", "z/a.gif", "b.png", "a.bmp")]
    assert frames.unique_stems(files) == ["a", "a-2", "a-3", "a-4", "b", "a-5"]
    assert frames.unique_stems(files[::-1]) == ["a", "b", "a-3", "a-4", "a-2", "a-5"]


# --- Roles ---------------------------------------------------------------------------------------


def test_recognizers_of_the_other_role_are_refused(run, tmp_path):
    loss = write_run(tmp_path / "loss", role="loss", seed=1)
    evaluator, trainer = load_recognizer(run, role="score"), load_recognizer(loss, role="loss")
    assert evaluator.fingerprint != trainer.fingerprint
    load_recognizer(run, role="score", forbidden={"the loss network": trainer.fingerprint})
    with pytest.raises(checkpoints.CheckpointError, match="'loss'.*'score'.*configs/au_image.py"):
        load_recognizer(loss, role="score")
    with pytest.raises(checkpoints.CheckpointError, match="'score'.*configs/au_image_loss.py"):
        load_recognizer(run, role="loss")
    with pytest.raises(ValueError, match="role 'judge' is not one of loss, score"):
        load_recognizer(run, role="judge")


def test_copy_under_another_role_is_refused(run, tmp_path):
    twin = write_run(tmp_path / "twin", role="loss")
    trainer = load_recognizer(twin, role="loss")
    assert trainer.fingerprint == load_recognizer(run).fingerprint
    with pytest.raises(checkpoints.CheckpointError, match="the same weights.*the loss network"):
        load_recognizer(run, role="score", forbidden={"the loss network": trainer.fingerprint})


def test_runs_of_other_tasks_are_refused(tmp_path, monkeypatch):
    other = write_run(tmp_path / "probe", task="au_probe")
    with pytest.raises(checkpoints.CheckpointError, match="of the task au_probe"):
        load_recognizer(other)
    with pytest.raises(checkpoints.CheckpointError, match="does not exist"):
        load_recognizer(tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="Train one .*configs/au_image.py"):
        finished_runs.find_run("")
