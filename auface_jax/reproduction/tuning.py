"""The same sweep for texts and for labels: learning rates, and scales of guidance.

Texts were there first, and what the presets say suits them: labels must get what suits labels, by
as many trials. Judged are pictures of validation people, by the probe: neither the people nor the
recogniser of the tables.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from auface_jax import facs
from auface_jax.data import pipeline
from auface_jax.generator import Generator, Request
from auface_jax.held_out import spread_rows
from auface_jax.json_files import read_object, write_object
from auface_jax.log import say
from auface_jax.reproduction.plan import Study, Training
from auface_jax.tasks.maskgit_evaluation import unit_scores

FILE = "tuning.json"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One of the sweep: the probe's macro F1 on pictures of validation people."""

    rate: float
    guidance: float
    au_f1: float


def load_trials(runs: Path) -> dict[str, list[Trial]]:
    """The trials of each input that are done."""
    path = runs / FILE
    found = read_object(path, ValueError) if path.exists() else {}
    return {name: [Trial(**trial) for trial in trials] for name, trials in found.items()}


def best(study: Study, trials: dict[str, list[Trial]]) -> dict[str, Trial]:
    """The best trial of every input whose sweep is complete; the first of equally good ones."""
    count = len(study.scale.rates) * len(study.scale.guidances)
    return {
        name: max(of_input, key=lambda trial: trial.au_f1)
        for name, of_input in trials.items()
        if len(of_input) == count
    }


def tune(study: Study, train: Callable[[Training], None]) -> dict[str, Trial]:
    """The best trial of every input; trains and draws what is missing."""
    trials = load_trials(study.runs)
    for name in study.inputs():
        done = trials.setdefault(name, [])
        for rate, training in zip(study.scale.rates, study.sweep(name), strict=True):
            known = {(trial.rate, trial.guidance) for trial in done}
            missing = [scale for scale in study.scale.guidances if (rate, scale) not in known]
            if not missing:
                continue
            train(training)
            for guidance in missing:
                score = validation_score(training, guidance, study.scale.tuning_pictures)
                say(f"{training.folder.name} at guidance {guidance:g}: AU-F1 {score:.3f}")
                done.append(Trial(rate, guidance, score))
                _write(study.runs, trials)
    return best(study, trials)


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
    records = spread_rows(records, min(count, len(records["labels"])))
    requests = [
        Request(reference, text, seed, labels)
        for seed, (reference, text, labels) in enumerate(
            zip(records["reference"], records["texts"], records["labels"], strict=True)
        )
    ]
    made = generator.draw(requests, batch_size=generator.config.batch_size, guidance=guidance)
    probe = Path(generator.config.requires.au_probe.run)
    return unit_scores(probe, records, made)["au_f1_generated"]


def _write(runs: Path, trials: dict[str, list[Trial]]) -> None:
    plain = {name: [dataclasses.asdict(trial) for trial in made] for name, made in trials.items()}
    write_object(runs / FILE, plain)
