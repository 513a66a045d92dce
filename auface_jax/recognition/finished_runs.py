"""Recogniser runs that a command finds when none is named."""

import pathlib

from auface_jax.runs import checkpoints

# Runs of a task that are looked for when none is named, the best first.
DEFAULT_RUNS = {
    task: tuple(f"runs/{task}-{preset}" for preset in ("paper", "open", "quickstart"))
    for task in ("au_image", "au_text")
}


def find_run(run: str, task: str = "au_image") -> str:
    """`run`, or the best of the task's `DEFAULT_RUNS` that is finished.

    Raises:
      checkpoints.CheckpointError: none is named and none is finished.
    """
    defaults = DEFAULT_RUNS[task]
    found = [default for default in defaults if checkpoints.has_export(pathlib.Path(default))]
    if not run and not found:
        raise checkpoints.CheckpointError(
            f"no recogniser here: none of {', '.join(defaults)} is a finished run. Train one "
            f"(python -m auface_jax.train --config configs/{task}.py) or name one with --run"
        )
    return run or found[0]
