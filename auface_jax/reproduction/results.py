"""What is known of a study: trials of the sweep, and the figures of every evaluation.

It comes of the study's folder of runs and is kept as `reproduction.json` beside the page, which
outlives the runs: on another machine the same command goes on from that file (`--earlier`), and
does nothing again that it has figures of.
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
class Results:
    """See the module's docstring.

    Attributes:
      trials: of each input.
      scores: of each evaluation by its name, from `scores.read_scores`.
      about: whom the models were judged on and by whom, and what answers get that owe nothing to a
        model; {} before the first evaluation.
    """

    trials: Trials
    scores: dict[str, dict[str, float]]
    about: dict[str, Any]


def of_runs(study: Study, earlier: Results | None = None) -> Results:
    """What is in the study's folder of runs, and what `earlier` has beyond it."""
    known = earlier or Results({}, {}, {})
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
    return Results(trials, scores, about)


def load(path: Path, study: Study) -> Results:
    """What a `reproduction.json` holds.

    Raises:
      ValueError: it is damaged, or of another study; says in what they differ.
    """
    found = read_object(path, ValueError)
    if missing := {"study", "trials", "scores", "about"} - found.keys():
        raise ValueError(f"{path} is no file of results: it lacks {', '.join(sorted(missing))}")
    theirs, ours = found["study"], describe(study)
    if differing := [name for name in ours if theirs.get(name) != ours[name]]:
        told = "; ".join(
            f"{name} {theirs.get(name)} there, {ours[name]} here" for name in differing
        )
        raise ValueError(f"{path} is of another study: {told}. Leave --earlier out to begin anew")
    trials = {
        name: [Trial(**trial) for trial in of_input] for name, of_input in found["trials"].items()
    }
    return Results(trials, found["scores"], found["about"])


def write(path: Path, study: Study, results: Results) -> None:
    """Writes what `load` reads."""
    trials = {
        name: [dataclasses.asdict(trial) for trial in made] for name, made in results.trials.items()
    }
    content = {"study": describe(study), "about": results.about, "trials": trials}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_object(path, content | {"scores": dict(sorted(results.scores.items()))})


def describe(study: Study) -> dict[str, Any]:
    """What figures must have in common to stand in one table; seeds and tables may be added."""
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
