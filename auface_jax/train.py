"""Trains any task: `python -m auface_jax.train --config configs/stage2.py[:PRESET]`.

The loop is in `auface_jax.training.loop`. Running the same command again resumes a run that was
stopped or killed, from its last checkpoint and bit for bit; SIGTERM or Ctrl-C saves first.
"""

import os
import pathlib
import sys

from absl import flags

from auface_jax.data.build.from_config import build_data
from auface_jax.parallel import distributed
from auface_jax.runs.console import say
from auface_jax.runs.required_runs import complete, suffix, train_requirements
from auface_jax.runs.run_config import check_same_config
from auface_jax.training import command_flags
from auface_jax.training.config_check import check_config
from auface_jax.training.loop import train
from auface_jax.training.preemption import Interrupted

FLAGS = flags.FLAGS
command_flags.define()
flags.DEFINE_integer("resume_from", None, "resume from this checkpoint, not from the last")
flags.DEFINE_integer(
    "keep_every", None, "never delete checkpoints whose step is a multiple of this"
)
flags.DEFINE_string("profile_steps", None, "trace these steps: FIRST-LAST")
flags.DEFINE_string("coordinator_address", None, "of several processes: HOST:PORT of process 0")
flags.DEFINE_integer("num_processes", None, "of several processes: how many there are")
flags.DEFINE_integer("process_id", None, "of several processes: which this one is, from 0")
flags.DEFINE_bool("distributed", False, "ask JAX for all three, as on a Cloud TPU pod")


def main() -> None:
    """The command line."""
    command_flags.run(run)


def run() -> None:
    """Joins the processes, builds what is absent, and trains the run."""
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
    config_path = command_flags.config_file()
    config = command_flags.chosen_config()
    run_name = f"{config_path.stem}-{config.preset}{suffix(config)}"
    workdir = pathlib.Path(FLAGS.workdir or f"runs/{run_name}")
    complete(config, config_path.stem, workdir)
    try:
        with distributed.together():
            # Reject an invalid config before building data or training required runs.
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
        sys.exit(os.EX_TEMPFAIL)  # tells whoever started this process that the run is not finished
    except (ValueError, FloatingPointError, OSError) as error:
        if FLAGS.debug:
            raise
        distributed.end(f"error: {error}")


if __name__ == "__main__":
    main()
