"""A reproduction by several processes, or from another machine's results."""

import dataclasses
import json
import threading
import time

import pytest

from auface_jax import reproduce
from auface_jax.reproduction import plan, results, tuning
from auface_jax.reproduction.plan import Model, Study
from auface_jax.reproduction.sharing import WorkItem, share
from auface_jax.runs.locks import claimed
from tests.helpers import tiny

SCORES = {"AAAD": 0.5, "AU-F1": 0.75}


def make_items(folder, made: list[str], count: int = 6, seconds: float = 0.02) -> list[WorkItem]:
    def item(name: str) -> WorkItem:
        def run():
            time.sleep(seconds)
            made.append(name)

        return WorkItem(folder / name, lambda: name in made, run)

    return [item(f"item{number}") for number in range(count)]


def test_each_item_is_done_once_and_every_process_waits_for_all(tmp_path):
    made: list[str] = []
    seen = []

    def work():
        share(make_items(tmp_path, made))
        seen.append(sorted(made))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    everything = [f"item{number}" for number in range(6)]
    assert sorted(made) == everything  # none twice
    assert seen == [everything] * 3


def test_work_of_a_failed_process_is_taken_up_by_another(tmp_path):
    made, broken = [], threading.Event()

    def fails():
        broken.set()
        time.sleep(0.1)
        raise tiny.Killed

    path = tmp_path / "item"

    def first():
        with pytest.raises(tiny.Killed):
            share([WorkItem(path, lambda: False, fails)])

    one = threading.Thread(target=first)
    one.start()
    assert broken.wait(timeout=30)
    with claimed(path, wait=False) as mine:
        assert not mine
    share([WorkItem(path, lambda: bool(made), lambda: made.append("it"))])
    one.join(timeout=30)
    assert made == ["it"]


def test_item_waits_for_its_needs_while_others_are_done(tmp_path):
    made, waiting = [], threading.Event()

    def item(name, run=lambda: None, needs=()):
        def do():
            run()
            made.append(name)

        return WorkItem(tmp_path / name, lambda: name in made, do, needs)

    def items(run):
        need = item("need", run)
        return [need, item("of need", needs=[need]), item("free")]

    def slow():
        waiting.set()
        while "free" not in made:  # the other process makes it
            time.sleep(0.01)

    one = threading.Thread(target=lambda: share(items(slow)), daemon=True)
    one.start()
    assert waiting.wait(timeout=30)
    share(items(lambda: pytest.fail("done twice")))
    one.join(timeout=30)
    assert made[:2] == ["free", "need"] and sorted(made) == ["free", "need", "of need"]


@pytest.fixture
def study(tmp_path) -> Study:
    return Study(
        preset="quickstart",
        scale=plan.SCALES["quickstart"],
        tables=(2,),
        seeds=2,
        samples=500,
        runs=tmp_path / "runs",
        configs=tiny.CONFIGS,
    )


def known_of(study: Study, *, seeds: int, inputs=("text", "labels")) -> results.StudyResults:
    """Returns results with every trial and with figures of a number of seeds."""
    pairs = [(r, g) for r in study.scale.rates for g in study.scale.guidances]
    trials = {name: [tuning.Trial(*pair, 0.5) for pair in pairs] for name in inputs}
    scores = {study.name(*one): SCORES for one in study.evaluations() if one[1] < seeds}
    return results.StudyResults(
        trials, scores, {"population": {}, "scorer": "au_image", "floors": []}
    )


def test_load_restores_written_results(study, tmp_path):
    known = known_of(study, seeds=1)
    results.write(tmp_path / "docs" / results.FILE, study, known)
    assert results.load(tmp_path / "docs" / results.FILE, study) == known
    assert results.of_runs(study, known) == known  # nothing was trained here


def test_models_with_known_figures_are_not_trained_again(study, tmp_path, capsys):
    path = tmp_path / results.FILE
    results.write(path, study, known_of(study, seeds=1))
    options = ["--tables=2", "--seeds=2", f"--runs={study.runs}", f"--earlier={path}", "--dry-run"]
    reproduce.main([*options, f"--configs={tiny.CONFIGS}"])
    *lines, _ = capsys.readouterr().out.splitlines()
    assert sum("min  known " in line for line in lines) == 2  # text and labels of seed 0
    trained = [line.split("/")[-1] for line in lines if "evaluations" not in line]
    assert trained == [
        *plan.RECOGNIZERS,
        "stage1-anatomical-seed1",
        "stage2-text-rate0.001-seed1",
        "stage2-labels-rate0.001-seed1",
    ]
    everything = dataclasses.replace(
        study,
        known=frozenset(known_of(study, seeds=2).scores),
        settled=frozenset(study.inputs()),
    )
    assert everything.trainings({}) == []


def test_unfinished_sweep_is_not_settled(study):
    known = known_of(study, seeds=0, inputs=("text",))
    known.trials["labels"] = known.trials["text"][:-1]
    assert tuning.best(study, known.trials).keys() == {"text"}
    settled = dataclasses.replace(study, settled=frozenset({"text"}))
    names = [training.folder.name for training in settled.trainings({"text": 1e-3})]
    assert "stage2-labels-rate0.004-seed0" in names and "stage2-text-rate0.004-seed0" not in names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content["study"].update(samples=7), "samples 7 there, 500 here"),
        (lambda content: content.pop("scores"), "lacks scores"),
    ],
)
def test_results_of_another_study_are_refused(study, tmp_path, capsys, change, words):
    path = tmp_path / results.FILE
    results.write(path, study, known_of(study, seeds=1))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit):
        reproduce.main([f"--earlier={path}", f"--configs={tiny.CONFIGS}", "--dry-run"])
    assert words in capsys.readouterr().err


def test_model_with_some_known_figures_is_trained_for_the_others(study):
    five = dataclasses.replace(
        study, tables=(5,), known=frozenset({study.name(Model(), 0, "test")})
    )
    assert five.models_to_train(0) == [Model(), Model("labels")]
    assert (Model(), 0, "test") not in five.missing_evaluations(0)
    assert (Model(), 0, "unseen-novel") in five.missing_evaluations(0)
