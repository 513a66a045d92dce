"""Trains any task: `python -m auface_jax.train --config configs/stage2.py[:PRESET]`.

Read top to bottom: the run's folder, data, task, mesh and state, checkpoints, loop, held-out
figures.
Running the same command again resumes a run that was stopped or killed, from its last checkpoint
and bit for bit; SIGTERM or Ctrl-C saves first.
"""

import os
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from auface_jax.data.build.from_config import build_data
from auface_jax.parallel import distributed
from auface_jax.runs.console import say
from auface_jax.runs.required_runs import complete, suffix, train_requirements
from auface_jax.runs.run_config import check_same_config
from auface_jax.training.config_check import check_config
from auface_jax.training.loop import train
from auface_jax.training.preemption import Interrupted


def main(argv: list[str]) -> None:
    """Data first, then the runs that this one builds on, then the run itself."""
    logging.set_verbosity(logging.WARNING)  # Orbax tells of each file it writes
    try:
        distributed.join(
            FLAGS.coordinator_address,
            FLAGS.num_processes,
            FLAGS.process_id,
            detect=FLAGS.distributed,
        )
    except ValueError as error:
        sys.exit(f"error: {error}")
    except RuntimeError as error:
        sys.exit(
            f"error: the processes of this run cannot be joined: {error}\nIf no preset was named, "
            "name one (--config FILE:PRESET): to choose it, JAX is asked for devices too early"
        )
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    config = FLAGS.config
    say(config.preset_reason)
    config_path = pathlib.Path(config_flags.get_config_filename(FLAGS["config"]))
    run_name = f"{config_path.stem}-{config.preset}{suffix(config)}"
    workdir = pathlib.Path(FLAGS.workdir or f"runs/{run_name}")
    with config.unlocked():
        del config.preset_reason
    complete(config, config_path.stem, workdir)
    try:
        with distributed.together():
            # What nothing could come of shall be told before data are built and other runs trained.
            check_config(config)
            build_data(config.data)
            check_same_config(config, workdir)
            train_requirements(config, config_path.parent, train)
            train(
                config,
                workdir,
                resume_from=FLAGS.resume_from,
                keep_every=FLAGS.keep_every,
                profile_steps=FLAGS.profile_steps,
            )
    except Interrupted as stopped:
        say(str(stopped))
        sys.exit(os.EX_TEMPFAIL)  # what started this process can tell it from a finished run
    except (ValueError, FloatingPointError, OSError) as error:
        if FLAGS.debug:
            raise
        distributed.end(f"error: {error}")


FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "a file of configs/, :PRESET after it")
flags.DEFINE_string("workdir", None, "the run's folder; default runs/NAME-PRESET")
flags.DEFINE_integer("resume_from", None, "go on from this checkpoint, not from the last")
flags.DEFINE_integer("keep_every", None, "keep every checkpoint of a multiple of so many steps")
flags.DEFINE_string("profile_steps", None, "trace these steps: FIRST-LAST")
flags.DEFINE_bool("debug", False, "show the traceback of an error")
flags.DEFINE_string("coordinator_address", None, "of several processes: HOST:PORT of process 0")
flags.DEFINE_integer("num_processes", None, "of several processes: how many there are")
flags.DEFINE_integer("process_id", None, "of several processes: which this one is, from 0")
flags.DEFINE_bool("distributed", False, "ask JAX for all three, as on a Cloud TPU pod")
flags.mark_flag_as_required("config")


if __name__ == "__main__":
    app.run(main)
