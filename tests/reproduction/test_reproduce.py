"""The command `reproduce`: its runs, interruptions, and the page of tables."""

import csv
import json
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from auface_jax import reproduce
from auface_jax.evaluation import report
from auface_jax.reproduction import paper, plan, runner, scores, tables
from auface_jax.reproduction.plan import Model, Scale, Study
from auface_jax.runs.config_page import flatten
from auface_jax.training import loop
from tests.helpers import evaluation_runs, tiny

TINY = Scale(
    data={},
    stage2={"num_steps": 4},
    rates=(1e-3,),
    guidances=(1.0, 2.0),
    tuning_pictures=4,
    minutes={"stage2": 4.0, "evaluation": 1.0},
)
NAMES = ("stage1", "stage2", "au_probe", "au_image", "au_image_loss", "au_text")


@pytest.fixture
def command(tmp_path_factory):
    """Options of a reproduction that takes seconds, and its folder.

    All runs are finished, though untrained, except Stage II on texts.
    """
    folder = tmp_path_factory.mktemp("reproduce")
    data = evaluation_runs.build_data(folder / "data")
    configs = tiny.write_config_files(folder / "configs", data, NAMES)
    options = {"seeds": 1, "samples": 8, "runs": folder / "runs", "configs": configs}
    given = [f"--{name}={value}" for name, value in (options | {"out": folder / "docs"}).items()]
    study = whole_study(**options, scale=TINY, tables=(2,))
    done = [*study.recognizers(), study.stage1(0, True), study.stage2(Model("labels"), 0, 1e-3)]
    for seed, training in enumerate(done):
        if "people" in training.config:
            training.config.people.half = ""
        evaluation_runs.write_run(training.folder, training.config, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setitem(plan.SCALES, "quickstart", TINY)
        patch.setattr(runner, "clear_programs", lambda: None)  # programs are compiled once
        yield folder, given


def whole_study(**changes):
    fields = {"preset": "quickstart", "tables": (2, 5, 6), "seeds": 3, "samples": 500}
    fields |= {"runs": tiny.CONFIGS / "no-runs", "configs": tiny.CONFIGS}
    return Study(**fields | {"scale": plan.SCALES["quickstart"]} | changes)


@pytest.mark.slow
def test_killed_reproduction_goes_on_and_finished_one_trains_nothing(command, capsys):
    folder, options = command
    options = [*options, "--tables=2"]
    reproduce.main([*options, "--dry-run"])
    before = capsys.readouterr().out
    assert before.count("done") == 6 and before.count("to do") == 1 + 2  # two are evaluations
    killed = "stage2-text-rate0.001-seed0"
    with tiny.killed_at(3):
        reproduce.main(options)
    reproduce.main([*options, "--dry-run"])
    listed = capsys.readouterr().out
    assert f"at step 2 of 4       {folder / 'runs' / killed}" in listed
    # The process is killed again, while it writes an evaluation.
    with mock.patch.object(report, "write_report", side_effect=tiny.Killed):
        with pytest.raises(tiny.Killed):
            reproduce.main(options)
    assert "resumed at step 2\n" in capsys.readouterr().out
    with mock.patch.object(loop, "train", side_effect=AssertionError):
        reproduce.main([*options, "--figures"])
        with mock.patch.object(runner, "evaluate", side_effect=AssertionError):
            page = (folder / "docs" / "reproduction.md").read_text()
            reproduce.main(options)
    assert page.startswith((folder / "docs" / "reproduction.md").read_text())
    capsys.readouterr()
    reproduce.main([*options, "--dry-run"])
    after = capsys.readouterr().out.splitlines()
    assert sum("done" in line for line in after) == len(after) - 1 == 9
    assert after[-1].startswith("about 0.0 hours")

    assert "nan" not in page and "None" not in page
    assert "## Table 2" in page and "## Table 6" not in page
    assert "0.606" in page and "GANimation" in page  # the paper's
    written = folder / "runs" / "evaluations" / "text-seed0-test" / "report.json"
    [row, *_] = json.loads(written.read_text())["table"]
    assert f"| VQ-AUFace | {row['AAAD (labels)']:.3f} |" in page
    for name in ("systems", "lip_corners", "brows", "lips"):
        assert f"](pictures/reproduction_{name}.png)" in page
        with Image.open(folder / "docs" / "pictures" / f"reproduction_{name}.png") as picture:
            assert picture.text["synthetic"] == "true" and min(picture.size) > 300


def test_study_of_finished_runs_is_evaluated_and_written(command):
    folder, options = command
    places = {"runs": folder / "runs", "configs": folder / "configs"}
    study = whole_study(seeds=1, samples=8, scale=TINY, tables=(2,), **places)
    text = study.stage2(Model(), 0, 1e-3)
    evaluation_runs.write_run(text.folder, text.config, seed=9)
    with mock.patch.object(loop, "train", side_effect=AssertionError):
        reproduce.main([*options, "--tables=2"])
    page = (folder / "docs" / "reproduction.md").read_text()
    assert "## Table 2" in page and "nan" not in page and "None" not in page
    written = folder / "runs" / "evaluations" / "text-seed0-test" / "report.json"
    [first, *_] = json.loads(written.read_text())["table"]
    assert f"| VQ-AUFace | {first['AAAD (labels)']:.3f} |" in page


def test_models_are_those_of_the_paper():
    others = {"unseen", *paper.OTHER_SYSTEMS}
    assert {model.name for model in whole_study().models()} == paper.FIGURES.keys() - others
    assert [m.name for m in whole_study(tables=(2,)).models()] == ["text", "labels"]
    assert all(len(figures) == len(paper.COLUMNS) for figures in paper.FIGURES.values())


def test_models_differ_only_in_what_their_names_say():
    study = whole_study()
    full = flatten(study.stage2(Model(), 1, 2e-3).config.to_dict())
    for model, differing in (
        (Model("labels"), {"model.input"}),
        (Model("no_structure"), {"model.tokens"}),
        (Model(anatomical=False), {"requires.stage1.run"}),
        (Model("no_face", anatomical=False), {"model.tokens", "requires.stage1.run"}),
    ):
        other = flatten(study.stage2(model, 1, 2e-3).config.to_dict())
        changed = {name for name in full.keys() | other.keys() if full.get(name) != other.get(name)}
        assert changed - {"variant"} == differing
    with_loss, without = (study.stage1(1, on).config for on in (True, False))
    assert with_loss.loss.anatomical > 0 == without.loss.anatomical
    assert with_loss.data == without.data == study.stage2(Model(), 1, 1.0).config.data
    assert with_loss.seed == without.seed == 1


def test_study_of_the_quickstart_has_the_documented_size():
    study = whole_study()
    trainings = study.trainings({"text": 2e-3, "labels": 1e-3})
    assert len({training.folder for training in trainings}) == len(trainings)
    count = {kind: sum(t.kind == kind for t in trainings) for kind in NAMES}
    assert count["stage1"] == 6 and all(count[name] == 1 for name in plan.RECOGNIZERS)
    sweep = 2 * (len(study.scale.rates) - 1)  # one of each is seed 0's model
    assert count["stage2"] == 3 * 11 + sweep
    hours = plan.listing(study, {"text": 2e-3, "labels": 1e-3})[-1]
    assert float(hours.split()[1]) < 6
    by_folder = {t.folder.name: t.config for t in trainings}
    assert by_folder["stage2-text-rate0.002-seed2"].optimizer.learning_rate == 2e-3
    # The sweeps of texts and labels are equal, on the same Stage I.
    pairs = zip(study.sweep("text"), study.sweep("labels"), strict=True)
    for text, labels in pairs:
        assert text.config.optimizer == labels.config.optimizer
        assert text.config.num_steps == labels.config.num_steps
        assert text.config.requires == labels.config.requires


def test_intervals_are_those_of_student():
    found = tables.mean_of([0.1, 0.2, 0.3])
    assert found.value == pytest.approx(0.2)
    assert found.half == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-5)
    assert found.sign == 0 and tables.mean_of([0.2, 0.21, 0.2]).sign == 1
    assert tables.mean_of([-0.2, -0.21, -0.2]).sign == -1
    one = tables.mean_of([0.25])
    assert str(one) == "0.250" and one.half is None and one.sign == 0


def test_opposed_units_are_scored_apart_with_the_calibration_of_all(tmp_path):
    units = {"12+15": (12, 15), "6+12": (6, 12), "1+4": (1, 4)}
    cosines, read = (0.9, 0.4, 0.5), ((12, 15), (), (1,))
    with open(tmp_path / "records.csv", "w", newline="") as file:
        table = csv.writer(file)
        names = [f"AU{n}" for n in scores.AU_NUMBERS]
        table.writerow(["record", "cosine (labels)", *names, *(f"asked {n}" for n in names)])
        for (name, asked), cosine, seen in zip(units.items(), cosines, read, strict=True):
            probabilities = [0.9 if n in seen else 0.1 for n in scores.AU_NUMBERS]
            table.writerow(
                [name, cosine, *probabilities, *(int(n in asked) for n in scores.AU_NUMBERS)]
            )
    calibration = {"c_min": 0.2, "c_max": 1.0, "mean_shuffled": 0.3, "mean_truth": 0.8}
    content = {
        "table": [{"answer": "x", "N": 3, "AAAD (labels)": 0.5, "AU-F1": None, "FID(au)": 1.5}],
        "aaad": {"labels": {"calibration": calibration}},
    }
    (tmp_path / "report.json").write_text(json.dumps(content))
    found = scores.read_scores(tmp_path)
    assert found["AAAD"] == 0.5 and found["FID(au)"] == 1.5 and "AU-F1" not in found
    assert found["records, opposed"] == 2
    assert found["AAAD, opposed"] == pytest.approx((0.7 - 0.2) / 0.8)
    assert found["AAAD-chance, opposed"] == pytest.approx((0.7 - 0.3) / 0.5)
    assert found["AU-F1, opposed"] == pytest.approx(3 / 4)  # 1, 12 and 15 read, 4 not


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tables=3"], "--tables 3: known are 2: Texts against labels"),
        (["--seeds=0"], "--seeds 0: at least 1"),
        (["--samples=1"], "--samples 1: at least 2"),
    ],
)
def test_invalid_options_are_refused(options, words, capsys):
    with pytest.raises(SystemExit):
        reproduce.main(options)
    assert words in capsys.readouterr().err
