"""Trains a recogniser once a fold of people and scores it on the fold: the protocol of BP4D.

    python -m auface_jax.cross_validate --config configs/au_image.py:paper [--folds FILE]

A line of FILE names the people of a fold; without it the folds are the three of BP4D that the
literature compares on. Each fold is a run of its own, `WORKDIR/fold1` and so on, and the same
command goes on from where it was stopped. WORKDIR/folds.json holds the table that is printed last.
"""

import json
import pathlib
import sys

import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from auface_jax.data import shards
from auface_jax.data.build.from_config import build_data
from auface_jax.data.loading import chosen_people
from auface_jax.facs import AU_NUMBERS
from auface_jax.runs.console import say
from auface_jax.runs.required_runs import complete
from auface_jax.training import loop
from auface_jax.training.preemption import Interrupted

# Of BP4D's 41 people, who are "BP4D-F001" and so on in a data set built of it: whom the first, the
# second and the third fold test on.
BP4D_FOLDS = (
    "F007 F015 F006 F019 M006 M009 F012 M003 F004 F021 F017 M015 F014",
    "M011 F003 M010 M002 F005 F022 M018 M017 F013 M016 F020 F011 M013 M005",
    "F001 M007 F018 F008 F002 M004 F010 F009 M012 M001 F016 M014 F023 M008",
)
# Mean F1 over the three folds that Luo et al. (2022) published.
PUBLISHED = {"ME-GraphAU, ResNet-50": 64.7, "ME-GraphAU, Swin-B": 65.5}


def read_folds(path: str) -> list[list[str]]:
    """The people of each fold, from a file with a line a fold; BP4D's for "".

    Raises:
      shards.DatasetError: fewer than two folds, or somebody in two of them.
    """
    if path:
        lines = pathlib.Path(path).read_text().splitlines()
        folds = [chosen_people.parse_people(line) for line in lines if line.strip()]
    else:
        folds = [[f"BP4D-{person}" for person in fold.split()] for fold in BP4D_FOLDS]
    everybody = [person for fold in folds for person in fold]
    twice = sorted({person for person in everybody if everybody.count(person) > 1})
    if len(folds) < 2 or twice:
        raise shards.DatasetError(
            f"{path or 'the folds'}: {len(folds)} folds, at least 2 are needed; "
            f"people in two folds: {', '.join(twice) or 'none'}"
        )
    return folds


def check_data(directory: str, folds: list[list[str]]) -> None:
    """Raises a DatasetError unless the set has everybody in `folds` and all that was coded of them.

    A build that withholds label rows leaves their pictures out of the people's records, so that F1
    over the rest is not what anybody compares with.
    """
    info = shards.read_info(directory)
    chosen_people.check_people(directory, info, [person for fold in folds for person in fold])
    if share := info["options"]["held_out_rows"]:
        raise shards.DatasetError(
            f"{directory} was built with --held-out-rows {share}: the pictures of those label rows "
            "are missing from its people; for folds, build a set without that option"
        )


def cross_validate(config, folds: list[list[str]], workdir: pathlib.Path) -> dict[str, list[float]]:
    """F1 of each unit and their mean, a list over the folds."""
    results = []
    for number, test in enumerate(folds, 1):
        of_fold = config.copy_and_resolve_references()
        with of_fold.unlocked():
            of_fold.people.test = " ".join(test)
            of_fold.people.train = " ".join(p for fold in folds if fold is not test for p in fold)
            of_fold.people.half = ""
        say(f"fold {number} of {len(folds)}: tested on {len(test)} people")
        results.append(loop.train(of_fold.lock(), workdir / f"fold{number}"))
    names = [f"AU{number}" for number in AU_NUMBERS]
    scores = {name: [result[f"eval/au_f1_{name}"] for result in results] for name in names}
    return scores | {"mean": [result["eval/au_f1"] for result in results]}


def table(scores: dict[str, list[float]], *, bp4d: bool) -> str:
    """The scores in percent, a line a unit, and the published means beside BP4D's."""
    folds = len(scores["mean"])
    lines = ["F1 in %   " + "".join(f"  fold {n + 1}" for n in range(folds)) + "     all"]
    for name, values in scores.items():
        shown = "".join(f"{100 * value:8.1f}" for value in (*values, np.mean(values)))
        lines.append(f"{name:<10}{shown}")
    if bp4d:
        lines += [f"{name}: {value}" for name, value in PUBLISHED.items()]
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    config = FLAGS.config
    if config.task != "au_image":
        raise app.UsageError(f"--config is of the task {config.task}, expected au_image")
    config_path = pathlib.Path(config_flags.get_config_filename(FLAGS["config"]))
    workdir = pathlib.Path(FLAGS.workdir or f"runs/{config_path.stem}-{config.preset}-folds")
    with config.unlocked():
        del config.preset_reason
    complete(config, config_path.stem, workdir)
    try:
        folds = read_folds(FLAGS.folds)
        build_data(config.data)
        check_data(config.data.dir, folds)
        scores = cross_validate(config, folds, workdir)
    except Interrupted as stopped:
        sys.exit(str(stopped))
    except (ValueError, FloatingPointError, OSError) as error:
        if FLAGS.debug:
            raise
        sys.exit(f"error: {error}")
    (workdir / "folds.json").write_text(json.dumps({"folds": folds, "f1": scores}, indent=1) + "\n")
    print(table(scores, bp4d=not FLAGS.folds))


FLAGS = flags.FLAGS
flags.DEFINE_string("folds", "", "a file with the people of a fold in each line; default: BP4D's")


if __name__ == "__main__":
    app.run(main)
