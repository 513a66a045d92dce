"""One sweep of learning rates and guidance scales for texts and for labels.

The presets were tuned for texts. For a fair comparison labels get their own tuning, by as many
trials. The probe scores pictures of validation people, so that the sweep uses neither the people
nor the evaluator of the tables.
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
from auface_jax.reproduction.sharing import WorkItem
from auface_jax.runs.console import say
from auface_jax.runs.json_files import read_object, write_object
from auface_jax.training.tasks.maskgit_evaluation import unit_scores

FOLDER = "tuning"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of the sweep.

    Attributes:
      rate: learning rate.
      guidance: guidance scale of the pictures.
      au_f1: macro F1 of the probe on pictures of validation people.
    """

    rate: float
    guidance: float
    au_f1: float


Trials = dict[str, list[Trial]]  # input -> its trials


def load_trials(study: Study) -> Trials:
    """Reads the trials in the study's folder of runs, in the order of rates and guidances."""
    found = {}
    for name in study.inputs():
        for rate in study.scale.rates:
            found.setdefault(name, []).extend(_load(_path(study, name, rate)))
    return found


def best(study: Study, trials: Trials) -> dict[str, Trial]:
    """Returns the best trial of every input whose sweep is complete; ties go to the first."""
    count = len(study.scale.rates) * len(study.scale.guidances)
    return {
        name: max(of_input, key=lambda trial: trial.au_f1)
        for name, of_input in trials.items()
        if name in study.inputs() and len(of_input) == count
    }


def work_items(
    study: Study, train: Callable[[Training], None], needs: Sequence[WorkItem]
) -> dict[str, list[WorkItem]]:
    """Returns the work of each input's sweep: one item trains a rate and draws with all guidances.

    Args:
      study: the study.
      train: trains a run to its end.
      needs: work that must be done before.
    """
    found = {}
    for name in study.inputs():
        if name in study.settled:
            continue
        for rate, training in zip(study.scale.rates, study.sweep(name), strict=True):
            path = _path(study, name, rate)
            missing = functools.partial(_missing, study, path)
            run = functools.partial(_try_guidances, study, rate, training, train, path)
            item = WorkItem(path, lambda missing=missing: not missing(), run, needs)
            found.setdefault(name, []).append(item)
    return found


def _missing(study: Study, path: Path) -> list[float]:
    """Returns the guidance scales that a file of trials lacks."""
    known = {trial.guidance for trial in _load(path)}
    return [scale for scale in study.scale.guidances if scale not in known]


def _try_guidances(
    study: Study, rate: float, training: Training, train: Callable[[Training], None], path: Path
) -> None:
    """Trains a learning rate and makes its trials; each is on disk once it is done."""
    train(training)
    for guidance in _missing(study, path):
        score = validation_score(training, guidance, study.scale.tuning_pictures)
        say(f"{training.folder.name} at guidance {guidance:g}: AU-F1 {score:.3f}")
        trials = [*_load(path), Trial(rate, guidance, score)]
        write_object(path, {"trials": [dataclasses.asdict(trial) for trial in trials]})


def validation_score(training: Training, guidance: float, count: int) -> float:
    """Returns the macro F1 of the probe on `count` pictures of validation people."""
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
    made = generator.generate(requests, batch_size=generator.config.batch_size, guidance=guidance)
    probe = Path(generator.config.requires.au_probe.run)
    return unit_scores(probe, records, made)["au_f1_generated"]


def _path(study: Study, name: str, rate: float) -> Path:
    return study.runs / FOLDER / f"{name}-rate{rate:g}.json"


def _load(path: Path) -> list[Trial]:
    if not path.exists():
        return []
    return [Trial(**trial) for trial in read_object(path, ValueError)["trials"]]
