"""The command `generate` and the `Generator`, at 16 px.

Tests draw one picture or three with the run's own options, so that two compiled programs, for
batches of one and of four, serve all tests.
"""

import contextlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageSequence

from auface_jax import generate
from auface_jax.data.loading import pipeline
from auface_jax.generation import generator as drawing
from auface_jax.generation import reference_images
from auface_jax.generation.generator import Generator
from auface_jax.generation.request_csv import text_of_units
from auface_jax.images import files
from tests.helpers.drawing import draw_references_only, write_drawing_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_drawing_folder(tmp_path_factory.mktemp("drawing"))


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return "runs/stage2"


@pytest.fixture(scope="module")
def loaded(folder):
    with contextlib.chdir(folder):
        return Generator.from_run("runs/stage2")


@pytest.fixture
def generator(run, loaded):
    return loaded


@pytest.fixture
def batch_sizes(monkeypatch):
    """Batch size of each call that draws; the pictures are the references."""
    return draw_references_only(monkeypatch)


def draw(run, out, *arguments, units="6,12"):
    generate.main(["--run", run, "--aus", units, "--out", str(out), *arguments])
    return out


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        generate.main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_metadata_say_that_pictures_are_synthetic_and_how_they_were_drawn(run, tmp_path, capsys):
    out = draw(run, tmp_path / "faces.png", "--num", "3", "--seed", "7")
    text = capsys.readouterr().out.splitlines()[0].removeprefix("text: ")
    info = Image.open(out).info
    assert info["synthetic"] == "true" and info["text"] == text and info["run"] == run
    assert info["seed"] == "7" and info["software"] == "auface_jax"
    assert info["reference"] in pipeline.reference_subjects("data", "test")

    folder = draw(run, tmp_path / "faces", "--num", "3", "--seed", "7")
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["0000.png", "0001.png", "0002.png"]
    for number, path in enumerate(files):
        image = Image.open(path)
        assert image.size == (16, 16) and image.mode == "RGB"
        assert image.info["synthetic"] == "true" and image.info["number"] == str(number)
        assert image.info["text"] == text


def test_equal_seeds_give_equal_bytes_and_others_do_not(run, tmp_path):
    first, again, other = (
        draw(run, tmp_path / f"{name}.png", "--num", "3", "--seed", seed).read_bytes()
        for name, seed in (("first", "1"), ("again", "1"), ("other", "2"))
    )
    assert first == again and first != other


def test_reference_is_a_file_or_a_person(run, generator, tmp_path):
    by_name, _ = reference_images.find_reference(generator, "S01")
    Image.fromarray(by_name).save(tmp_path / "me.png")
    from_file, name = reference_images.find_reference(generator, str(tmp_path / "me.png"))
    np.testing.assert_array_equal(from_file, by_name)
    assert name == "me.png"
    first, name = reference_images.find_reference(generator, "")
    assert name == pipeline.reference_subjects("data", "test")[0]
    np.testing.assert_array_equal(first, pipeline.load_reference("data", name))


def test_own_text_and_decoding_options_are_used(run, tmp_path):
    out = tmp_path / "own.png"
    words = "Die Brauen sind gehoben — ganz leicht."
    generate.main(
        ["--run", run, "--text", words, "--num", "1", "--steps", "1", "--guidance", "1"]
        + ["--reference", "S02", "--out", str(out)]
    )
    info = Image.open(out).info
    assert info["text"] == words and info["reference"] == "S02"


def test_runs_of_other_tasks_are_refused(run, capsys):
    message = refused(capsys, "--run", "runs/stage1", "--aus", "6")
    assert "runs/stage1 is a run of the task vqgan" in message


def test_run_of_another_text_tokenizer_is_refused(run, tmp_path, capsys):
    copy = tmp_path / "stage2"
    shutil.copytree(run, copy)
    path = copy / "export" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text_tokenizer": "f" * 64}))
    message = refused(capsys, "--run", copy, "--aus", "6")
    assert "trained with the text tokenizer ffffffffffff" in message


def test_run_without_its_data_set_needs_an_image_file(run, tmp_path):
    generator = Generator.from_run(run)
    with generator.config.unlocked():
        generator.config.data.dir = str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="give an image file"):
        reference_images.find_reference(generator, "S00")


# --- GIFs and CSV files ---------------------------------------------------------------------------


@pytest.mark.slow
def test_gifs_and_attention_sheets_say_that_they_are_synthetic(run, tmp_path, capsys):
    for name, more, frames in (("a.gif", (), 8), ("b.gif", ("--to-aus", "4"), 32)):
        out = draw(run, tmp_path / name, *more)
        with Image.open(out) as gif:
            assert b"synthetic: true" in gif.info["comment"]
            # Frames that are alike are joined when a GIF is written.
            assert 1 < sum(1 for _ in ImageSequence.Iterator(gif)) <= frames
    explained = tmp_path / "why.png"
    draw(run, tmp_path / "c.png", "--num", "1", "--explain", str(explained))
    assert Image.open(explained).info["synthetic"] == "true"
    assert str(explained) in capsys.readouterr().out


def test_csv_lines_are_drawn_to_files_of_their_own(run, generator, tmp_path):
    own = pipeline.load_reference("data", "S01")
    Image.fromarray(own).save(tmp_path / "me.png")
    (tmp_path / "jobs.csv").write_text(
        "reference,text,aus,seed,out\n"
        'me.png,"The brows are raised, a little.",,4,raised.png\n'
        'S02,,"6C,12E",1,\n'
        "S02,The lips part.,,1,more/part.png\n"
    )
    arguments = [
        "--run",
        run,
        "--jobs",
        str(tmp_path / "jobs.csv"),
        "--out",
        str(tmp_path / "made"),
    ]
    generate.main([*arguments, "--reference-aligned"])
    raised, smile = (Image.open(tmp_path / "made" / name) for name in ("raised.png", "0001.png"))
    assert raised.info["reference"] == "me.png" and raised.info["seed"] == "4"
    assert smile.info["text"] == text_of_units("6C,12E", 1)[0]
    assert smile.info["text"].startswith("Severe: ")  # D lies between C and E
    assert Image.open(tmp_path / "made" / "more" / "part.png").info["text"] == "The lips part."
    [alone] = generator(own, "The brows are raised, a little.", seed=4)
    np.testing.assert_array_equal(np.asarray(raised), alone)


def test_interrupted_csv_keeps_the_batches_drawn_before(run, tmp_path, monkeypatch, batch_sizes):
    draw_references = drawing.generate_batch

    def draw_one_batch(*arguments):
        if batch_sizes:
            raise KeyboardInterrupt
        return draw_references(*arguments)

    monkeypatch.setattr(drawing, "generate_batch", draw_one_batch)
    (tmp_path / "jobs.csv").write_text("reference,text\n" + "S02,A smile.\n" * 40)
    out = tmp_path / "made"
    with pytest.raises(KeyboardInterrupt):
        generate.main(["--run", run, "--jobs", str(tmp_path / "jobs.csv"), "--out", str(out)])
    assert sorted(path.name for path in out.iterdir()) == [f"{i:04d}.png" for i in range(16)]


@pytest.mark.parametrize("arguments", [("--aus", "6"), ("--jobs", "jobs.csv")])
def test_write_errors_are_reported(run, tmp_path, monkeypatch, capsys, batch_sizes, arguments):
    def fail(*_, **__):
        raise OSError("no space left on faces")

    monkeypatch.setattr(files, "save_png", fail)
    (tmp_path / "jobs.csv").write_text("text\nA smile.\n")
    arguments = [str(tmp_path / name) if name == "jobs.csv" else name for name in arguments]
    message = refused(capsys, "--run", run, *arguments, "--out", tmp_path / "made")
    assert "no space left on faces" in message


def test_all_faults_of_a_csv_are_named_at_once(run, tmp_path, capsys):
    path = tmp_path / "jobs.csv"
    path.write_text(
        "text,aus,seed,out,reference\n"
        "Smile.,6,0,a.png,\n,99,0,b.png,\nSmile.,,-1,c.png,\n,,0,d.png,\n"
        "Smile.,,0,../e.png,\nSmile.,,0,f.png,\nSmile.,,0,f.png,\nSmile.,,0,g.png,Mona\n"
    )
    message = refused(capsys, "--run", run, "--jobs", path, "--out", tmp_path / "made")
    for fault in (
        "line 2: both text and aus",
        "line 3: ",
        "line 4: seed '-1'",
        "line 5: neither text nor aus",
        "line 6: out '../e.png'",
        "line 8: out 'f.png' is that of line 7",
        "line 9: --reference 'Mona' is neither an image file nor one of the ",
    ):
        assert fault in message
    path.write_text("words,seed\nSmile.,0\n")
    assert "legal are reference, text, aus, seed, out" in refused(
        capsys, "--run", run, "--jobs", path, "--out", tmp_path / "made"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--aus", "6", "--reference", "nobody"), "neither an image file nor one of the 8 people"),
        (("--aus", "6", "--steps", "0"), "decode.steps=0"),
        (("--aus", "6", "--top-p", "2"), "top_p=2.0"),
        (("--aus", "6", "--level-steps", "2,1"), "in the depth layout the levels"),
        (("--aus", "6", "--change", "ears"), "region 'ears' is not one of brows, eyes"),
        (("--jobs", "none.csv", "--out", "made"), "none.csv"),
    ],
)
def test_requests_that_the_run_cannot_fulfil_are_refused(run, capsys, arguments, message):
    assert message in refused(capsys, "--run", run, *arguments)
