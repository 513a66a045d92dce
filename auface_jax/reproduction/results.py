"""Known results of a study: trials of the sweep, and the figures of every evaluation.

Results are read from the study's folder of runs and written to `reproduction.json` beside the page.
This file outlives the runs: on another machine the same command goes on from it (`--earlier`), and
repeats no work whose figures it holds.
"""

import dataclasses
from pathlib import Path
from typing import Any

from auface_jax.evaluation import report
from auface_jax.reproduction.plan import Model, Study
from auface_jax.reproduction.scores import read_scores
from auface_jax.reproduction.tuning import Trial, Trials, load_trials
from auface_jax.runs.json_files import read_object, write_object

FILE = "reproduction.json"


@dataclasses.dataclass(frozen=True)
class StudyResults:
    """Known results of a study.

    Attributes:
      trials: trials of the sweep of each input.
      scores: name of an evaluation -> its figures, from `scores.read_scores`.
      about: people and recogniser that the models were scored with, and the figures of answers that
        owe nothing to a model; {} before the first evaluation.
    """

    trials: Trials
    scores: dict[str, dict[str, float]]
    about: dict[str, Any]


def of_runs(study: Study, earlier: StudyResults | None = None) -> StudyResults:
    """Reads the results in the study's folder of runs and adds what only `earlier` has."""
    known = earlier or StudyResults({}, {}, {})
    scores, about = dict(known.scores), known.about
    for evaluation in study.evaluations():
        folder = study.evaluation_folder(*evaluation)
        if folder.exists():
            scores[folder.name] = read_scores(folder)
            if evaluation == (Model(), 0, "test"):
                about = _about(folder)
    trials = dict(known.trials)
    for name, made in load_trials(study).items():
        trials[name] = max(made, trials.get(name, []), key=len)
    return StudyResults(trials, scores, about)


def load(path: Path, study: Study) -> StudyResults:
    """Reads the results in a `reproduction.json`.

    Raises:
      ValueError: the file is damaged, or of another study; the message says what differs.
    """
    found = read_object(path, ValueError)
    if missing := {"study", "trials", "scores", "about"} - found.keys():
        raise ValueError(f"{path} is no file of results: it lacks {', '.join(sorted(missing))}")
    theirs, ours = found["study"], describe(study)
    if differing := [name for name in ours if theirs.get(name) != ours[name]]:
        described = "; ".join(
            f"{name} {theirs.get(name)} there, {ours[name]} here" for name in differing
        )
        raise ValueError(
            f"{path} is of another study: {described}. Leave --earlier out to begin anew"
        )
    trials = {
        name: [Trial(**trial) for trial in of_input] for name, of_input in found["trials"].items()
    }
    return StudyResults(trials, found["scores"], found["about"])


def write(path: Path, study: Study, results: StudyResults) -> None:
    """Writes results in the format that `load` reads."""
    trials = {
        name: [dataclasses.asdict(trial) for trial in made] for name, made in results.trials.items()
    }
    content = {"study": describe(study), "about": results.about, "trials": trials}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_object(path, content | {"scores": dict(sorted(results.scores.items()))})


def describe(study: Study) -> dict[str, Any]:
    """Describes what results must share to stand in one table; seeds and tables may differ."""
    scale = study.scale
    return {
        "preset": study.preset,
        "samples": study.samples,
        "data": scale.data,
        "stage2": scale.stage2,
        "rates": list(scale.rates),
        "guidances": list(scale.guidances),
        "tuning_pictures": scale.tuning_pictures,
    }


def _about(folder: Path) -> dict[str, Any]:
    found = read_object(folder / report.JSON, ValueError)
    population = {name: found["population"][name] for name in ("size", "records", "people")}
    return {
        "population": population,
        "scorer": found["scorer"]["name"],
        "floors": found["table"][1:],
    }
