"""The paper's tables and figures of generation on open faces, from one command.

    python -m auface_jax.reproduce --tables 2,5,6 --preset quickstart --seeds 3 --figures

trains everything that they take and is not there yet, evaluates it, and writes reproduction.md, its
pictures and reproduction.json. Stopped or killed, the same command goes on; started twice, two
processes share the work; `--dry-run` says what it would do.
"""

import argparse
import dataclasses
import functools
import gc
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from auface_jax import evaluate
from auface_jax.data.build.from_config import build_data
from auface_jax.evaluation.population import load_population
from auface_jax.generation.generator import Generator
from auface_jax.reproduction import figures, results, tables, tuning
from auface_jax.reproduction.plan import SCALES, TABLES, Model, Study, Training, listing, stages1
from auface_jax.reproduction.results import Results
from auface_jax.reproduction.sharing import Job, share
from auface_jax.runs.console import say
from auface_jax.runs.locks import claimed
from auface_jax.training import loop
from auface_jax.training.preemption import Interrupted

PAGE = "reproduction.md"
METRICS = "aaad,units,fid,kid"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    study = _study(parser, options)
    try:
        earlier = results.load(Path(options.earlier), study) if options.earlier else None
        if earlier:
            settled = frozenset(tuning.best(study, earlier.trials))
            at_hand = frozenset(earlier.scores)
            study = dataclasses.replace(study, at_hand=at_hand, settled=settled)
        if options.dry_run:
            tuned = tuning.best(study, results.of_runs(study, earlier).trials)
            print("\n".join(listing(study, {name: trial.rate for name, trial in tuned.items()})))
            return
        reproduce(study, Path(options.out), earlier=earlier, with_figures=options.figures)
    except Interrupted as stopped:
        say(str(stopped))
        sys.exit(os.EX_TEMPFAIL)
    except (ValueError, FloatingPointError, OSError) as error:
        parser.error(str(error))


def reproduce(
    study: Study, out: Path, *, earlier: Results | None = None, with_figures: bool = False
) -> None:
    """Recognisers, the sweep, and a seed after the other Stage I, Stage II in its variants and
    their evaluations; the page.

    Raises:
      Interrupted: after a signal, once the training under way is saved.
    """
    write = functools.partial(_write_results, study, earlier, out)
    jobs = _jobs(study, write)
    if jobs or with_figures:
        with claimed(study.runs / "data", wait=True):
            build_data(study.recognizers()[0].config.data)
    share(jobs)
    tuned = tuning.best(study, write().trials)
    with claimed(out / PAGE, wait=True):
        text = tables.markdown(study, write(), tuned)
        if with_figures:
            text += draw_figures(study, tuned, out)
        tables.write_page(out / PAGE, text)
    say(f"{out / PAGE}")


def _jobs(study: Study, write: Callable[[], Results]) -> list[Job]:
    """All that figures are missing of, recognisers first, in the order of the work; none where all
    is at hand."""
    recognizers = [_job(training) for training in study.recognizers()]
    found, stages = [], {}

    def stage1(seed: int, anatomical: bool) -> Job:
        key = seed, anatomical
        if key not in stages:
            stages[key] = _job(study.stage1(*key), recognizers if anatomical else ())
            found.append(stages[key])
        return stages[key]

    sweep = {}
    if any(name not in study.settled for name in study.inputs()):
        sweep = tuning.jobs(study, run, [stage1(0, True), *recognizers])
        found += itertools.chain(*sweep.values())
    for seed in range(study.seeds):
        models = study.models_to_train(seed)
        built_on = {anatomical: stage1(seed, anatomical) for anatomical in stages1(models)}
        for model in models:
            needs = [built_on[model.anatomical], *sweep.get(model.input, ()), *recognizers]
            found.append(_model_job(study, model, seed, write, needs))
    return [*recognizers, *found] if found else []


def run(training: Training) -> None:
    """Trains, or goes on training, what is not finished; waits for whoever is at it."""
    share([_job(training)])


def _job(training: Training, needs: Sequence[Job] = ()) -> Job:
    return Job(training.folder, lambda: training.state == "done", lambda: _train(training), needs)


def _train(training: Training) -> None:
    began = time.monotonic()
    loop.train(training.config, training.folder)
    _forget()
    say(f"{training.folder} took {(time.monotonic() - began) / 60:.1f} minutes")


def _model_job(
    study: Study, model: Model, seed: int, write: Callable[[], Results], needs: Sequence[Job]
) -> Job:
    """Trains a model of Stage II as the sweep has it, and evaluates it on all its splits."""
    folders = {
        split: study.evaluation_folder(model, seed, split)
        for one, _, split in study.missing_evaluations(seed)
        if one == model
    }

    def train_and_score():
        trial = tuning.best(study, write().trials)[model.input]
        training = study.stage2(model, seed, trial.rate)
        run(training)
        for split, folder in folders.items():
            if not folder.exists():
                _score(study, training, trial, split, folder, f"{tables.title(model)}, seed {seed}")
                write()

    def done() -> bool:
        return all(folder.exists() for folder in folders.values())

    name = study.runs / "evaluations" / f"{model.name}-seed{seed}"
    return Job(name, done, train_and_score, needs)


def _score(
    study: Study, training: Training, trial: tuning.Trial, split: str, folder: Path, name: str
) -> None:
    """Evaluates a run; its folder is there once the evaluation is whole."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["--run", str(training.folder), "--split", split, "--name", name]
    command += ["--guidance", str(trial.guidance), "--limit", str(study.samples)]
    command += ["--scorer", str(study.runs / "au_image"), "--metrics", METRICS]
    command += ["--text-reader", str(study.runs / "au_text"), "--out", str(partial)]
    evaluate.main(command)
    partial.rename(folder)
    _forget()


def _write_results(study: Study, earlier: Results | None, out: Path) -> Results:
    """All that is known so far, also as a file."""
    with claimed(out / results.FILE, wait=True):
        known = results.of_runs(study, earlier)
        results.write(out / results.FILE, study, known)
    return known


def draw_figures(study: Study, tuned: dict[str, tuning.Trial], out: Path) -> str:
    """Markdown of the figures, drawn by seed 0 of the full model and, where they are trained, of
    that with labels and of that without the anatomical loss."""
    shown = [
        model
        for model in (Model(), Model("labels"), Model(anatomical=False))
        if model in study.models()
    ]
    generators, guidances = {}, {}
    for model in shown:
        name, trial = tables.title(model), tuned[model.input]
        run(study.stage1(0, model.anatomical))
        training = study.stage2(model, 0, trial.rate)
        run(training)
        generators[name] = Generator.from_run(training.folder)
        guidances[name] = trial.guidance
    data = study.recognizers()[0].config.data.dir
    population = load_population(data, "test", limit=study.samples)
    paths = figures.write_figures(generators, population, guidances, out / "pictures")
    parts = [
        f"![{caption}]({path.relative_to(out)})\n\n*{caption}.*" for caption, path in paths.items()
    ]
    return "\n## Figures\n\n" + "\n\n".join(parts) + "\n"


def _forget() -> None:
    """Compiled programs of what is finished: dozens of trainings pass through this process."""
    jax.clear_caches()
    gc.collect()


def _study(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Study:
    """The study that the options ask for, or the parser's error."""
    asked = options.tables.split(",")
    if unknown := [name for name in asked if name not in map(str, TABLES)]:
        legal = "; ".join(f"{number}: {words}" for number, words in TABLES.items())
        parser.error(f"--tables {','.join(unknown)}: known are {legal}")
    for name, least in (("seeds", 1), ("samples", 2)):
        if getattr(options, name) < least:
            parser.error(f"--{name} {getattr(options, name)}: at least {least}")
    return Study(
        preset=options.preset,
        scale=SCALES[options.preset],
        tables=tuple(sorted({int(name) for name in asked})),
        seeds=options.seeds,
        samples=options.samples,
        runs=Path(options.runs or f"runs/reproduction-{options.preset}"),
        configs=Path(options.configs),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.reproduce",
        description="Trains and evaluates what the paper's tables of generation take, on open "
        "faces, and writes them; goes on where it was stopped.",
    )
    add = parser.add_argument
    legal = "; ".join(f"{number}: {words}" for number, words in TABLES.items())
    add("--tables", default="2,5,6", help=f"of {legal} (default all)")
    add("--preset", choices=SCALES, default="quickstart")
    add("--seeds", type=int, default=3, help="of both stages (default 3)")
    add("--samples", type=int, default=500, help="to score each model on, at most (default 500)")
    add("--figures", action="store_true", help="also the paper's Figures 4 to 7")
    add(
        "--earlier",
        metavar="FILE",
        help=f"{results.FILE} of this study, begun elsewhere: what it has figures of is not done "
        "again",
    )
    add("--dry-run", action="store_true", help="list what is trained, how far, and the time left")
    add("--runs", help="folder of runs and evaluations (default runs/reproduction-PRESET)")
    add("--configs", default="configs", help="folder of the config files (default configs)")
    add(
        "--out",
        default="docs/results",
        help=f"folder of {PAGE} and what belongs to it (default docs/results)",
    )
    return parser


if __name__ == "__main__":
    main()
