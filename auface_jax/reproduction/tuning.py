"""The same sweep for texts and for labels: learning rates, and scales of guidance.

Texts were there first, and what the presets say suits them: labels must get what suits labels, by
as many trials. Judged are pictures of validation people, by the probe: neither the people nor the
recogniser of the tables.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from auface_jax import facs
from auface_jax.data.loading import pipeline
from auface_jax.data.loading.example_selection import spread_examples
from auface_jax.generation.generator import Generator, Request
from auface_jax.reproduction.plan import Study, Training
from auface_jax.reproduction.sharing import Job
from auface_jax.runs.console import say
from auface_jax.runs.json_files import read_object, write_object
from auface_jax.training.tasks.maskgit_evaluation import unit_scores

FOLDER = "tuning"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One of the sweep: the probe's macro F1 on pictures of validation people."""

    rate: float
    guidance: float
    au_f1: float


Trials = dict[str, list[Trial]]  # of each input


def load_trials(study: Study) -> Trials:
    """The trials in the study's folder of runs, those of a rate in the order of its guidances."""
    found = {}
    for name in study.inputs():
        for rate in study.scale.rates:
            found.setdefault(name, []).extend(_load(_path(study, name, rate)))
    return found


def best(study: Study, trials: Trials) -> dict[str, Trial]:
    """The best trial of every input whose sweep is complete; the first of equally good ones."""
    count = len(study.scale.rates) * len(study.scale.guidances)
    return {
        name: max(of_input, key=lambda trial: trial.au_f1)
        for name, of_input in trials.items()
        if name in study.inputs() and len(of_input) == count
    }


def jobs(
    study: Study, train: Callable[[Training], None], needs: Sequence[Job]
) -> dict[str, list[Job]]:
    """Those of the sweep of each input that is not settled: a learning rate trained, and drawn with
    every scale of guidance."""
    found = {}
    for name in study.inputs():
        if name in study.settled:
            continue
        for rate, training in zip(study.scale.rates, study.sweep(name), strict=True):
            path = _path(study, name, rate)
            missing = functools.partial(_missing, study, path)
            run = functools.partial(_try_guidances, study, rate, training, train, path)
            job = Job(path, lambda missing=missing: not missing(), run, needs)
            found.setdefault(name, []).append(job)
    return found


def _missing(study: Study, path: Path) -> list[float]:
    """Scales of guidance that a file of trials lacks."""
    known = {trial.guidance for trial in _load(path)}
    return [scale for scale in study.scale.guidances if scale not in known]


def _try_guidances(study, rate, training, train, path: Path) -> None:
    """The trials of a learning rate, each on disk once it is done."""
    train(training)
    for guidance in _missing(study, path):
        score = validation_score(training, guidance, study.scale.tuning_pictures)
        say(f"{training.folder.name} at guidance {guidance:g}: AU-F1 {score:.3f}")
        trials = [*_load(path), Trial(rate, guidance, score)]
        write_object(path, {"trials": [dataclasses.asdict(trial) for trial in trials]})


def validation_score(training: Training, guidance: float, count: int) -> float:
    """Macro F1 of the probe on `count` pictures of validation people."""
    generator = Generator.from_run(training.folder)
    data = generator.config.data
    records = pipeline.load_split(
        data.dir,
        "val",
        generator.tokenizer,
        tuple(data.buckets),
        dictionary=facs.load_dictionary(data.dictionary or None),
    )
    records = spread_examples(records, min(count, len(records["labels"])))
    requests = [
        Request(reference, text, seed, labels)
        for seed, (reference, text, labels) in enumerate(
            zip(records["reference"], records["texts"], records["labels"], strict=True)
        )
    ]
    made = generator.draw(requests, batch_size=generator.config.batch_size, guidance=guidance)
    probe = Path(generator.config.requires.au_probe.run)
    return unit_scores(probe, records, made)["au_f1_generated"]


def _path(study: Study, name: str, rate: float) -> Path:
    return study.runs / FOLDER / f"{name}-rate{rate:g}.json"


def _load(path: Path) -> list[Trial]:
    if not path.exists():
        return []
    return [Trial(**trial) for trial in read_object(path, ValueError)["trials"]]
