"""The paper's tables and figures of generation on open faces, from one command.

    python -m auface_jax.reproduce --tables 2,5,6 --preset quickstart --seeds 3 --figures

trains everything that they take and is not there yet, evaluates it, and writes reproduction.md and
its pictures. Stopped or killed, the same command goes on; `--dry-run` says what it would do.
"""

import argparse
import gc
import os
import shutil
import sys
import time
from pathlib import Path

import jax

from auface_jax import evaluate, train
from auface_jax.evaluation.population import load_population
from auface_jax.generator import Generator
from auface_jax.interrupts import Interrupted
from auface_jax.log import say
from auface_jax.reproduction import figures, tables, tuning
from auface_jax.reproduction.plan import SCALES, TABLES, Model, Study, Training, listing
from auface_jax.run_config import build_data

PAGE = "reproduction.md"
METRICS = "aaad,units,fid,kid"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    study = _study(parser, options)
    try:
        if options.dry_run:
            tuned = tuning.best(study, tuning.load_trials(study.runs))
            print("\n".join(listing(study, {name: trial.rate for name, trial in tuned.items()})))
            return
        reproduce(study, Path(options.out), with_figures=options.figures)
    except Interrupted as stopped:
        say(str(stopped))
        sys.exit(os.EX_TEMPFAIL)
    except (ValueError, FloatingPointError, OSError) as error:
        parser.error(str(error))


def reproduce(study: Study, out: Path, *, with_figures: bool) -> None:
    """Recognisers, Stage I, the sweep, Stage II in its variants; evaluations; the page.

    Raises:
      Interrupted: after a signal, once the training under way is saved.
    """
    study.runs.mkdir(parents=True, exist_ok=True)
    recognizers = study.recognizers()
    build_data(recognizers[0].config.data)
    for training in recognizers:
        run(training)
    for seed in range(study.seeds):
        for anatomical in dict.fromkeys(model.anatomical for model in study.models()):
            run(study.stage1(seed, anatomical))
    tuned = tuning.tune(study, run)
    for model in study.models():
        for seed in range(study.seeds):
            run(study.stage2(model, seed, tuned[model.input].rate))
    for evaluation in study.evaluations():
        score(study, *evaluation, tuned)
    text = tables.markdown(tables.Results(study), tuned, tuning.load_trials(study.runs))
    if with_figures:
        text += draw_figures(study, tuned, out)
    tables.write_page(out / PAGE, text)
    say(f"{out / PAGE}")


def run(training: Training) -> None:
    """Trains, or goes on training, what is not finished."""
    if training.state == "done":
        return
    began = time.monotonic()
    train.train(training.config, training.folder)
    _forget()
    say(f"{training.folder} took {(time.monotonic() - began) / 60:.1f} minutes")


def score(
    study: Study, model: Model, seed: int, split: str, tuned: dict[str, tuning.Trial]
) -> None:
    """Evaluates what is not evaluated; a folder is there once its evaluation is whole."""
    folder, trial = study.evaluation_folder(model, seed, split), tuned[model.input]
    if folder.exists():
        return
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["--run", str(study.stage2(model, seed, trial.rate).folder), "--split", split]
    command += ["--guidance", str(trial.guidance), "--limit", str(study.samples)]
    command += ["--scorer", str(study.runs / "au_image"), "--metrics", METRICS]
    command += ["--text-reader", str(study.runs / "au_text"), "--out", str(partial)]
    evaluate.main([*command, "--name", f"{tables.title(model)}, seed {seed}"])
    partial.rename(folder)
    _forget()


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
        generators[name] = Generator.from_run(study.stage2(model, 0, trial.rate).folder)
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
    add("--dry-run", action="store_true", help="list what is trained, how far, and the time left")
    add("--runs", help="folder of runs and evaluations (default runs/reproduction-PRESET)")
    add("--configs", default="configs", help="folder of the config files (default configs)")
    add("--out", default="docs", help=f"folder of {PAGE} and its pictures (default docs)")
    return parser


if __name__ == "__main__":
    main()
