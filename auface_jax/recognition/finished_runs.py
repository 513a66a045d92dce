"""The recogniser run that a command takes when its user names none."""

import pathlib

from auface_jax.runs import checkpoints

# Runs of each task, the best first.
DEFAULT_RUNS = {
    task: tuple(f"runs/{task}-{preset}" for preset in ("paper", "open", "quickstart"))
    for task in ("au_image", "au_text")
}


def find_run(run: str, task: str = "au_image") -> str:
    """Returns `run`, or the best finished one of the task's default runs.

    Args:
      run: the folder that the user named; "" for none.
      task: key of `DEFAULT_RUNS`.

    Raises:
      checkpoints.CheckpointError: `run` is "" and none of the default runs is finished.
    """
    defaults = DEFAULT_RUNS[task]
    found = [default for default in defaults if checkpoints.has_export(pathlib.Path(default))]
    if not run and not found:
        raise checkpoints.CheckpointError(
            f"no recogniser here: none of {', '.join(defaults)} is a finished run. Train one "
            f"(python -m auface_jax.train --config configs/{task}.py) or name one with --run"
        )
    return run or found[0]
