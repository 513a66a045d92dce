"""Trains a recogniser once for each fold of people and scores it on the fold, as BP4D is used.

    python -m auface_jax.cross_validate --config configs/au_image.py:paper [--folds FILE]

Each line of FILE names the people of a fold; without FILE the folds are the three of BP4D that the
literature compares on. Each fold is a run of its own, `WORKDIR/fold1` and so on, and after an
interruption the same command goes on. WORKDIR/folds.json holds the table that is printed last.
"""

import json
import pathlib
import sys

from absl import app, flags

from auface_jax.data.build.from_config import build_data
from auface_jax.evaluation.cross_validation import (
    check_data,
    cross_validate,
    read_folds,
    score_table,
)
from auface_jax.runs.required_runs import complete
from auface_jax.training import command_flags
from auface_jax.training.preemption import Interrupted

FLAGS = flags.FLAGS
command_flags.define()
flags.DEFINE_string("folds", "", "file with the people of one fold a line (default: BP4D's folds)")


def main() -> None:
    """Runs the command line."""
    command_flags.run(run)


def run() -> None:
    """Builds the data set, trains and scores every fold, and writes and prints the scores."""
    config_path, config = command_flags.config_file(), command_flags.chosen_config()
    if config.task != "au_image":
        raise app.UsageError(f"--config is of the task {config.task}, expected au_image")
    workdir = pathlib.Path(FLAGS.workdir or f"runs/{config_path.stem}-{config.preset}-folds")
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
    print(score_table(scores, bp4d=not FLAGS.folds))


if __name__ == "__main__":
    main()
