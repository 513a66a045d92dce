"""Runs a study: training, evaluation, and the page of tables and figures."""

import functools
import gc
import itertools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax

from auface_jax.data.build.from_config import build_data
from auface_jax.evaluation.population import load_population
from auface_jax.evaluation.run import EvaluationOptions, evaluate
from auface_jax.generation.generator import Generator
from auface_jax.reproduction import figures, results, tables, tuning
from auface_jax.reproduction.plan import Model, Study, Training, stages1
from auface_jax.reproduction.results import StudyResults
from auface_jax.reproduction.sharing import WorkItem, share
from auface_jax.runs.console import say
from auface_jax.runs.locks import claimed
from auface_jax.training import loop

PAGE = "reproduction.md"
METRICS = ("aaad", "units", "fid", "kid")


def reproduce(
    study: Study, out: Path, *, earlier: StudyResults | None = None, with_figures: bool = False
) -> None:
    """Trains and evaluates everything that the study's tables take, and writes its page.

    The order of the work is recognisers, the sweep, and seed by seed Stage I, Stage II in its
    variants and their evaluations. Work that is done already is not repeated.

    Args:
      study: the study.
      out: folder of the page, its pictures and its file of results.
      earlier: results from another machine, whose work is not repeated.
      with_figures: whether to add the paper's Figures 4 to 7 to the page.

    Raises:
      Interrupted: a signal came; the training that it interrupted is saved.
    """
    write = functools.partial(_write_results, study, earlier, out)
    items = _work_items(study, write)
    if items or with_figures:
        with claimed(study.runs / "data", wait=True):
            build_data(study.recognizers()[0].config.data)
    share(items)
    tuned = tuning.best(study, write().trials)
    with claimed(out / PAGE, wait=True):
        text = tables.markdown(study, write(), tuned)
        if with_figures:
            text += _draw_figures(study, tuned, out)
        tables.write_page(out / PAGE, text)
    say(f"{out / PAGE}")


def _work_items(study: Study, write: Callable[[], StudyResults]) -> list[WorkItem]:
    """Returns the missing work in its order, or [] if nothing is missing."""
    recognizers = [_training_item(training) for training in study.recognizers()]
    found, stages = [], {}

    def stage1(seed: int, anatomical: bool) -> WorkItem:
        key = seed, anatomical
        if key not in stages:
            needs = recognizers if anatomical else ()
            stages[key] = _training_item(study.stage1(*key), needs)
            found.append(stages[key])
        return stages[key]

    sweep = {}
    if any(name not in study.settled for name in study.inputs()):
        sweep = tuning.work_items(study, _train_shared, [stage1(0, True), *recognizers])
        found += itertools.chain(*sweep.values())
    for seed in range(study.seeds):
        models = study.models_to_train(seed)
        built_on = {anatomical: stage1(seed, anatomical) for anatomical in stages1(models)}
        for model in models:
            needs = [built_on[model.anatomical], *sweep.get(model.input, ()), *recognizers]
            found.append(_model_item(study, model, seed, write, needs))
    return [*recognizers, *found] if found else []


def _train_shared(training: Training) -> None:
    """Trains a run to its end, or waits for the process that does."""
    share([_training_item(training)])


def _training_item(training: Training, needs: Sequence[WorkItem] = ()) -> WorkItem:
    return WorkItem(
        training.folder, lambda: training.state == "done", lambda: _train(training), needs
    )


def _train(training: Training) -> None:
    began = time.monotonic()
    loop.train(training.config, training.folder)
    clear_programs()
    say(f"{training.folder} took {(time.monotonic() - began) / 60:.1f} minutes")


def _model_item(
    study: Study,
    model: Model,
    seed: int,
    write: Callable[[], StudyResults],
    needs: Sequence[WorkItem],
) -> WorkItem:
    """Returns the work that trains a tuned Stage II model and evaluates it on all its splits."""
    folders = {
        split: study.evaluation_folder(model, seed, split)
        for one, _, split in study.missing_evaluations(seed)
        if one == model
    }

    def train_and_score() -> None:
        trial = tuning.best(study, write().trials)[model.input]
        training = study.stage2(model, seed, trial.rate)
        _train_shared(training)
        for split, folder in folders.items():
            if not folder.exists():
                _score(study, training, trial, split, folder, f"{tables.title(model)}, seed {seed}")
                write()

    def done() -> bool:
        return all(folder.exists() for folder in folders.values())

    name = study.runs / "evaluations" / f"{model.name}-seed{seed}"
    return WorkItem(name, done, train_and_score, needs)


def _score(
    study: Study, training: Training, trial: tuning.Trial, split: str, folder: Path, name: str
) -> None:
    """Evaluates a run; the folder appears once the evaluation is complete."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    evaluate(
        EvaluationOptions(
            run=str(training.folder),
            decode={"guidance": trial.guidance},
            split=split,
            limit=study.samples,
            scorer=str(study.runs / "au_image"),
            text_reader=str(study.runs / "au_text"),
            metrics=METRICS,
            name=name,
            out=partial,
        )
    )
    partial.rename(folder)
    clear_programs()


def _write_results(study: Study, earlier: StudyResults | None, out: Path) -> StudyResults:
    """Reads all results that are known so far and writes them to the study's file."""
    with claimed(out / results.FILE, wait=True):
        known = results.of_runs(study, earlier)
        results.write(out / results.FILE, study, known)
    return known


def _draw_figures(study: Study, tuned: Mapping[str, tuning.Trial], out: Path) -> str:
    """Draws the paper's figures with models of seed 0 and returns their Markdown.

    The models are the full one and, where the study has them, the one with labels and the one
    without the anatomical loss.
    """
    shown = [
        model
        for model in (Model(), Model("labels"), Model(anatomical=False))
        if model in study.models()
    ]
    generators, guidances = {}, {}
    for model in shown:
        name, trial = tables.title(model), tuned[model.input]
        _train_shared(study.stage1(0, model.anatomical))
        training = study.stage2(model, 0, trial.rate)
        _train_shared(training)
        generators[name] = Generator.from_run(training.folder)
        guidances[name] = trial.guidance
    data = study.recognizers()[0].config.data.dir
    population = load_population(data, "test", limit=study.samples)
    paths = figures.write_figures(generators, population, guidances, out / "pictures")
    parts = [
        f"![{caption}]({path.relative_to(out)})\n\n*{caption}.*" for caption, path in paths.items()
    ]
    return "\n## Figures\n\n" + "\n\n".join(parts) + "\n"


def clear_programs() -> None:
    """Frees the compiled programs of finished work; a study runs dozens of trainings."""
    jax.clear_caches()
    gc.collect()
