"""The recogniser run that a command takes when its user names none."""

import pathlib

from auface_jax.runs import checkpoints

# Runs of the image recogniser, the best first.
DEFAULT_RUNS = tuple(f"runs/au_image-{preset}" for preset in ("paper", "open", "quickstart"))


def find_run(run: str) -> str:
    """Returns `run`, or the best finished one of the default runs.

    Args:
      run: the folder that the user named; "" for none.

    Raises:
      checkpoints.CheckpointError: `run` is "" and none of the default runs is finished.
    """
    found = [default for default in DEFAULT_RUNS if checkpoints.has_export(pathlib.Path(default))]
    if not run and not found:
        raise checkpoints.CheckpointError(
            f"no recogniser here: none of {', '.join(DEFAULT_RUNS)} is a finished run. Train one "
            "(python -m auface_jax.train --config configs/au_image.py) or name one with --run"
        )
    return run or found[0]
