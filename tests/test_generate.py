"""From an empty folder to pictures by two commands, at 16 px."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny
from PIL import Image

from auface_jax import checkpoints, generate
from auface_jax.data import pipeline
from auface_jax.generate import Generator
from auface_jax.log import read_lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the Stage II command was run, with neither Stage I nor the probe there before."""
    folder = tmp_path_factory.mktemp("generate")
    configs = tiny.write_config_files(folder / "configs", tiny.build_data(folder / "data"))
    done = subprocess.run(
        [sys.executable, "-m", "auface_jax.train", f"--config={configs / 'stage2.py'}:quickstart"],
        env=tiny.command_environment(),
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "output.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)  # the run names Stage I's relative to where it was trained
    return "runs/stage2-quickstart"


@pytest.fixture
def generator(run):
    return Generator.from_run(run)


def draw(run, out, *arguments, units="6,12"):
    generate.main(["--run", run, "--aus", units, "--out", str(out), *arguments])
    return out


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        generate.main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


# --- Training ------------------------------------------------------------------------------------


def test_what_a_run_builds_on_is_trained_first(folder):
    output = (folder / "output.txt").read_text()
    begun = {
        name: output.index(f"run: runs/{name}-quickstart")
        for name in ("stage1", "au_probe", "stage2")
    }
    assert max(begun, key=begun.get) == "stage2"
    assert "runs/stage1-quickstart is not there yet and this run builds on it" in output
    for name in ("stage1", "au_probe", "stage2"):
        assert checkpoints.has_export(folder / "runs" / f"{name}-quickstart")
    assert output.rstrip().splitlines()[-1].startswith("pictures: runs/stage2-quickstart/samples/")


def test_held_out_figures_compare_like_with_like(folder):
    reports = read_lines(folder / "runs" / "stage2-quickstart" / "metrics.jsonl")
    figures = reports[-1]
    for name in (
        "ce",
        *(
            f"ce_{other}"
            for other in ("shuffled_text", "no_text", "no_reference", "shuffled_reference")
        ),
    ):
        # Hardly trained: near the log of the number of codes, and never above it by much.
        assert 0 < figures[f"eval/{name}"] < 2 * math.log(16)
        assert 0 < figures[f"eval/{name}_level0"] < 2 * math.log(16)
        if name != "ce":
            cost = 100 * (figures[f"eval/{name}"] / figures["eval/ce"] - 1)
            short = name.removeprefix("ce_")
            assert figures[f"eval/{short}_costs_percent"] == pytest.approx(cost, abs=1e-4)
    assert len({figures[f"eval/ce_{o}"] for o in ("shuffled_text", "no_text", "no_reference")}) == 3
    for name in ("generated", "real", "reference"):
        assert 0 <= figures[f"eval/au_f1_{name}"] <= 1
    samples = folder / "runs" / "stage2-quickstart" / "samples"
    last = samples / "step_000006.png"
    assert last.exists() and (samples / "step_000006_unit_sets.png").exists()
    assert Image.open(last).info["synthetic"] == "true"


# --- Generating ----------------------------------------------------------------------------------


def test_pictures_say_that_they_are_synthetic_and_how_they_came_to_be(run, tmp_path, capsys):
    out = draw(run, tmp_path / "faces.png", "--num", "2", "--seed", "7")
    text = capsys.readouterr().out.splitlines()[0].removeprefix("text: ")
    info = Image.open(out).info
    assert info["synthetic"] == "true" and info["text"] == text and info["run"] == run
    assert info["seed"] == "7" and info["software"] == "auface_jax"
    assert info["reference"] in pipeline.reference_subjects("data", "test")

    folder = draw(run, tmp_path / "faces", "--num", "2", "--seed", "7")
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["0000.png", "0001.png"]
    for number, path in enumerate(files):
        image = Image.open(path)
        assert image.size == (16, 16) and image.mode == "RGB"
        assert image.info["synthetic"] == "true" and image.info["number"] == str(number)
        assert image.info["text"] == text


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(run, tmp_path):
    first, again, other = (
        draw(run, tmp_path / f"{name}.png", "--num", "2", "--seed", seed).read_bytes()
        for name, seed in (("first", "1"), ("again", "1"), ("other", "2"))
    )
    assert first == again and first != other


def test_a_picture_does_not_depend_on_how_many_there_are(generator):
    reference = pipeline.load_reference("data", "S00")
    three = generator(reference, "The brows are raised.", num=3, seed=5, temperature=1.0)
    one = generator(reference, "The brows are raised.", num=1, seed=5, temperature=1.0)
    np.testing.assert_array_equal(three[:1], one)
    assert three.dtype == np.uint8 and three.shape == (3, 16, 16, 3)
    assert (three[0] != three[1]).any() and (three[1] != three[2]).any()


def test_a_reference_is_a_file_or_a_person(run, generator, tmp_path):
    by_name, _ = generate.find_reference(generator, "S01")
    Image.fromarray(by_name).save(tmp_path / "me.png")
    from_file, name = generate.find_reference(generator, str(tmp_path / "me.png"))
    np.testing.assert_array_equal(from_file, by_name)
    assert name == "me.png"
    first, name = generate.find_reference(generator, "")
    assert name == pipeline.reference_subjects("data", "test")[0]
    np.testing.assert_array_equal(first, pipeline.load_reference("data", name))


def test_a_text_of_ones_own_and_decoding_options(run, tmp_path):
    out = tmp_path / "own.png"
    words = "Die Brauen sind gehoben — ganz leicht."
    generate.main(
        ["--run", run, "--text", words, "--num", "1", "--steps", "1", "--guidance", "1"]
        + ["--reference", "S02", "--out", str(out)]
    )
    info = Image.open(out).info
    assert info["text"] == words and info["reference"] == "S02"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--aus", "6,99"), "99"),
        (("--text", "  "), "--text is empty"),
        (("--aus", "6", "--reference", "nobody"), "neither an image file nor one of the 8 people"),
        (("--aus", "6", "--num", "0"), "--num 0"),
        (("--aus", "6", "--steps", "0"), "decode.steps=0"),
        (("--aus", "6", "--text", "both"), "not allowed with"),
        ((), "required"),
    ],
)
def test_bad_requests_are_refused_with_the_bad_value(run, capsys, arguments, message):
    assert message in refused(capsys, "--run", run, *arguments)


def test_a_run_that_cannot_draw_is_named(run, capsys):
    message = refused(capsys, "--run", "runs/stage1-quickstart", "--aus", "6")
    assert "runs/stage1-quickstart is a run of the task vqgan" in message
    assert "runs/none does not exist" in refused(capsys, "--run", "runs/none", "--aus", "6")


def test_a_reference_of_another_size_is_refused(generator):
    with pytest.raises(ValueError, match=r"\(8, 8, 3\), this run wants \(16, 16, 3\)"):
        generator(np.zeros((8, 8, 3), np.uint8), "A face.")


def test_a_run_of_another_text_tokenizer_is_refused(run, tmp_path, capsys):
    copy = tmp_path / "stage2"
    shutil.copytree(run, copy)
    path = copy / "export" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text_tokenizer": "f" * 64}))
    message = refused(capsys, "--run", copy, "--aus", "6")
    assert "trained with the text tokenizer ffffffffffff" in message


def test_a_run_without_its_data_wants_an_image(run, generator, monkeypatch, tmp_path):
    with generator.config.unlocked():
        generator.config.data.dir = str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="give an image file"):
        generate.find_reference(generator, "S00")
