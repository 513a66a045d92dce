"""The command `evaluate`: a run and an outside system in the same tables, and invalid requests."""

import json

import numpy as np
import pytest
from PIL import Image

from auface_jax import evaluate
from auface_jax.evaluation import run
from auface_jax.evaluation.draw_system import draw
from auface_jax.evaluation.evaluator import Evaluator
from auface_jax.evaluation.population import load_population
from auface_jax.generation.generator import Generator
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.recognition.roles import loss_recognizers
from auface_jax.recognition.text_reader import load_text_reader
from tests.helpers import evaluation_runs, tiny
from tests.helpers.csv_files import read_csv


@pytest.fixture(scope="module")
def first(runs, data):
    """The report of the run on the test split, and its folder."""
    out = data.parent / "first"
    return measured(out, "--run", runs["stage2"], "--scorer", runs["au_image"]), out


def measured(out, *arguments):
    evaluate.main([str(argument) for argument in (*arguments, "--out", out)])
    return json.loads((out / "report.json").read_text())


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        evaluate.main([str(argument) for argument in arguments])
    assert stopped.value.code not in (0, None)
    return capsys.readouterr().err + str(stopped.value.code)


def outside(runs, data, folder, *, split="test"):
    """Writes prompts, and the pictures that the run draws for them, as files."""
    prompts = folder / "prompts"
    evaluate.main(["export-prompts", "--data", str(data), "--split", split, "--out", str(prompts)])
    population = load_population(data, split)
    images = folder / "images"
    images.mkdir()
    made = draw(Generator.from_run(runs["stage2"]), population, seed=0)
    for number, image in enumerate(made):
        Image.fromarray(image).save(images / f"{number:05d}.png")
    return prompts, images


def without_names(report):
    """Removes from a report what depends on where the pictures came from."""
    kept = dict(report)
    table = [
        {**row, "answer": row["answer"] * (number > 0)}
        for number, row in enumerate(kept.pop("table"))
    ]
    for name in ("system", "diversity", "notes"):
        kept.pop(name)
    return kept, table


def test_report_of_a_run_has_every_figure(first, data):
    report, out = first
    population = load_population(data)
    row = report["table"][0]
    assert row["answer"] == "stage2" and row["N"] == len(population)
    assert [row["answer"] for row in report["table"][1:]] == [
        "real pictures",
        "shuffled texts",
        "mean vector",
        "reference unchanged",
    ]
    # Without Inception weights nothing is called FID, and there is no Inception score.
    assert {"FID(au)", "KID(au)"} <= row.keys() and not {"FID", "KID", "IS"} & row.keys()
    assert any("No IS" in note for note in report["notes"])
    assert any("No LPIPS" in note for note in report["notes"])
    assert any("skin tone" in note for note in report["notes"])  # photographs do not know it
    assert 0 <= row["AU-F1"] <= 1 and np.isfinite(row["AAAD (labels)"])
    people = {group["name"] for group in report["groups"]}
    assert people == set(population.people)
    assert report["diversity"]["seeds"] == 4 and report["identity"]["features"] == "au"
    text = (out / "report.md").read_text()
    for words in ("FID(au)", "shuffled texts", "mean vector", "AU12+AU15", "share of C̄", "C_min"):
        assert words in text
    assert "nan" not in text
    for name in ("units", "reliability", "confusion", "cosines-labels", "best", "worst"):
        assert f"]({name}.png)" in text
        with Image.open(out / f"{name}.png") as picture:
            assert min(picture.size) > 100
    lines = read_csv(out / "records.csv")
    assert [line["record"] for line in lines] == list(population.record_ids)
    mean = np.nanmean([float(line["cosine (labels)"]) for line in lines])
    assert mean == pytest.approx(
        report["aaad"]["labels"]["answers"]["system"]["mean_cosine"], abs=1e-5
    )


@pytest.mark.slow
def test_report_is_the_same_with_and_without_the_cache(first, runs, tmp_path, monkeypatch):
    report, _ = first
    command = ("--run", runs["stage2"], "--scorer", runs["au_image"])
    read = []
    monkeypatch.setattr(
        Evaluator,
        "read",
        lambda self, images, references, read_=Evaluator.read: (
            read.append(len(images)) or read_(self, images, references)
        ),
    )
    assert measured(tmp_path / "kept", *command) == report
    count = report["population"]["records"]
    diverse = report["diversity"]["records"] * report["diversity"]["seeds"]
    assert read == [count, diverse]  # the system's pictures once; nothing that was read before
    read.clear()
    assert measured(tmp_path / "anew", *command, "--no-cache") == report
    people = report["population"]["people"]
    assert sorted(read) == sorted([count, count, people, diverse])


@pytest.mark.slow
def test_outside_pictures_score_as_the_run_that_drew_them(first, runs, data, tmp_path):
    prompts, images = outside(runs, data, tmp_path)
    command = ("--prompts", prompts, "--images", images, "--scorer", runs["au_image"])
    report = measured(tmp_path / "out", *command)
    assert without_names(report) == without_names(first[0])
    assert report["system"]["name"] == "images"
    beside = measured(tmp_path / "both", *command, "--beside", first[1], "--name", "theirs")
    assert beside["table"][0]["answer"] == "theirs"
    text = (tmp_path / "both" / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| theirs |", "| stage2 |"))]
    assert len(rows) == 5  # systems and conflicting sets of both, AAAD of the new one
    assert rows[0].replace("theirs", "stage2") == rows[1]


def test_references_as_pictures_score_as_the_reference_floor(runs, data, tmp_path):
    prompts, images = outside(runs, data, tmp_path)
    for number, image in enumerate(load_population(data).reference):
        Image.fromarray(image).save(images / f"{number:05d}.png")
    report = measured(
        tmp_path / "out", "--prompts", prompts, "--images", images, "--scorer", runs["au_image"]
    )
    system, floor = report["table"][0], report["table"][-1]
    assert floor["answer"] == "reference unchanged"
    for name in floor.keys() - {"answer"}:
        assert system[name] == pytest.approx(floor[name], abs=1e-5), name
    assert any("differ from each other" in note for note in report["notes"])


def test_faulty_pictures_are_listed_and_not_scored(runs, data, tmp_path, capsys):
    prompts, images = outside(runs, data, tmp_path)
    (images / "00001.png").unlink()
    (images / "00002.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    message = refused(
        capsys,
        *("--prompts", prompts, "--images", images, "--scorer", runs["au_image"], "--out", out),
    )
    assert "1 missing:\n  00001.png" in message and "1 unreadable" in message
    assert not (out / "report.json").exists()
    faults = (out / "faults.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in faults] == ["missing", "unreadable"]


@pytest.mark.slow
def test_unseen_splits_are_calibrated_on_the_seen_test_set(first, runs, tmp_path):
    seen = first[0]["aaad"]["labels"]["calibration"]
    scored = ("--run", runs["stage2"], "--scorer", runs["au_image"])
    held_out = measured(tmp_path / "held-out", *scored, "--split", "unseen-held-out")
    novel = measured(tmp_path / "novel", *scored, "--split", "unseen-novel")
    for report in (held_out, novel):
        assert report["aaad"]["labels"]["calibration"] == seen
        assert "FID(au)" in report["table"][0]
    assert "of these records" in held_out["population"]["distances"]
    # No picture of the data shows a novel AU combination.
    assert "seen test set" in novel["population"]["distances"]
    counts = {row["answer"]: row["N"] for row in novel["table"]}
    assert "real pictures" not in counts and counts["reference unchanged"] == 4
    assert counts["mean vector"] == first[0]["population"]["records"]
    assert "real pictures" in {row["answer"] for row in held_out["table"]}


@pytest.mark.slow
def test_text_reader_adds_columns_beside_the_labels(first, runs, tmp_path):
    report = measured(
        tmp_path / "out",
        *("--run", runs["stage2"], "--scorer", runs["au_probe"]),
        *("--text-reader", runs["au_text"], "--metrics", "aaad,fid", "--limit", "5"),
    )
    reader = load_text_reader(runs["au_text"])
    assert report["compares_with"]["text_reader"] == reader.fingerprint
    row = report["table"][0]
    assert {"AAAD (labels)", "AAAD (text reader)", "FID(au_probe)"} <= row.keys()
    assert "AU-F1" not in row and "KID(au_probe)" not in row
    assert row["N"] == 5 and report["units"] is None
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Texts as text reader" in text and "## Units" not in text


# --- Evaluators that are refused -----------------------------------------------------------------


@pytest.mark.slow
def test_evaluator_that_trained_the_system_is_refused(runs, data, tmp_path, capsys):
    config = tiny.au_image_config(data=str(data))
    config.people.half = ""
    config.role = "loss"
    trainer = evaluation_runs.write_run(tmp_path / "trainer", config)
    run = ("--run", runs["stage2"], "--out", tmp_path / "out")
    message = refused(capsys, *run, "--scorer", trainer)
    assert "role 'loss', and the role 'score' is needed" in message

    # The same weights under another role: Stage I's export keeps fingerprints of loss networks.
    fingerprint = load_recognizer(trainer).fingerprint
    stage1 = evaluation_runs.write_run(
        tmp_path / "trained_with",
        tiny.stage1_config(data=str(data)),
        anatomical_network=fingerprint,
    )
    taught = tiny.stage2_config(data=str(data))
    taught.requires.stage1.run = str(stage1)
    taught.requires.au_probe.run = str(runs["au_probe"])
    taught = evaluation_runs.write_run(tmp_path / "taught", taught)
    assert loss_recognizers(taught) == {f"anatomical_network of {stage1}": fingerprint}
    message = refused(
        capsys, "--run", taught, "--out", tmp_path / "out", "--scorer", runs["au_image"]
    )
    assert "has the same weights" in message and "must not evaluate it" in message
    assert loss_recognizers(runs["stage2"]) == {}

    prompts, images = outside(runs, data, tmp_path)
    theirs = ("--prompts", prompts, "--images", images, "--out", tmp_path / "out")
    message = refused(capsys, *theirs, "--scorer", runs["au_image"], "--loss-recognizer", trainer)
    assert "has the same weights" in message
    assert not (tmp_path / "out").exists()


def test_scorer_that_reads_no_units_is_refused(runs, tmp_path, capsys):
    message = refused(
        capsys, "--run", runs["stage2"], "--scorer", runs["stage1"], "--out", tmp_path / "out"
    )
    assert "is a run of the task vqgan" in message and "au_probe" in message


# --- Invalid requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metrics", "aaad,fdi"), "--metrics fdi: known are aaad, units, fid"),
        (("--metrics", "is"), "is: it needs FID's Inception weights"),
        (("--metrics", "lpips"), "lpips: it needs the weights of a backbone"),
        (("--split", "unseen"), "invalid choice: 'unseen'"),
        (("--limit", "1"), "limit is 1"),
        (("--seed", "-1"), "--seed -1: give a whole number from 0 to 4294967295"),
        (
            ("--seed", str(2**32 + 3)),
            "--seed 4294967299: give a whole number from 0 to",
        ),  # drawn as 3
        (("--prompts", "x", "--resize"), "--prompts goes with --images, not with --run; --resize"),
        (("--images", "x"), "not allowed with"),
        (("--data", "nowhere"), "nowhere holds no data set"),
        (("--beside", "nowhere"), "nowhere holds no report"),
    ],
)
def test_bad_requests_are_refused_with_the_bad_value(runs, tmp_path, capsys, arguments, message):
    command = ("--run", runs["stage2"], "--scorer", runs["au_image"], "--out", tmp_path / "out")
    assert message in refused(capsys, *command, *arguments)


def test_unwritable_folder_is_refused_before_drawing(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "draw", lambda *_, **__: pytest.fail("drawn"))
    command = ("--run", runs["stage2"], "--scorer", runs["au_image"], "--out")
    file = tmp_path / "file"
    file.write_text("")
    message = refused(capsys, *command, file)
    assert f"--out {file} cannot be written (File exists); name a new" in message
    assert "cannot be written (Not a directory)" in refused(capsys, *command, file / "out")


def test_equal_pictures_are_counted_at_any_size():
    made = np.zeros((40, 256, 256, 3), np.uint8)
    made[7:9] = 1
    assert run.duplicate_notes(made) == ["Of the 40 pictures only 2 differ from each other."]
    assert run.duplicate_notes(np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)) == []


def test_options_that_prompts_have_fixed_are_refused(first, runs, tmp_path, capsys):
    common = ("--scorer", runs["au_image"], "--out", tmp_path / "out")
    assert "--images needs --prompts" in refused(capsys, "--images", tmp_path, *common)
    message = refused(
        capsys, "--images", tmp_path, "--prompts", tmp_path, "--split", "test", *common
    )
    assert "--split was settled when the prompts were exported" in message
    message = refused(
        capsys, "--images", tmp_path, "--prompts", tmp_path, "--order", "halton", *common
    )
    assert "--order goes with --run, not with --images" in message
    message = refused(
        capsys, "--run", runs["stage2"], "--scorer", runs["au_image"], "--out", first[1]
    )
    assert "holds a report already" in message


def test_reports_of_other_records_or_scorers_are_refused_beside(first, runs, tmp_path, capsys):
    command = ("--run", runs["stage2"], "--out", tmp_path / "out", "--beside", first[1])
    message = refused(capsys, *command, "--scorer", runs["au_probe"])
    assert "its scorer differ" in message
    message = refused(capsys, *command, "--scorer", runs["au_image"], "--limit", "6")
    assert "its population and calibration differ" in message
