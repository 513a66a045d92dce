"""Roles of recognisers: a network that trained a generator must not evaluate it.

A generator learns to please a network in its loss, faults of that network included, so that its
score by the same network says nothing about its pictures.
"""

import pathlib

from auface_jax.runs import checkpoints

ROLES = ("loss", "score")
# Keys of an export's metadata that hold the fingerprint of a loss network end in this.
LOSS_NETWORK_SUFFIX = "_network"


def loss_recognizers(run: str | pathlib.Path) -> dict[str, str]:
    """Finds the loss networks that trained a run or any run that it builds on.

    Stage I's export keeps the fingerprints of its loss networks, so they are known wherever the
    folders of the networks are now.

    Args:
      run: folder of a finished run.

    Returns:
      Name of each loss network -> hex sha256 of its weights.

    Raises:
      checkpoints.CheckpointError: `run`, or a run that it builds on, is not finished.
    """
    run = pathlib.Path(run)
    found = {
        f"{name} of {run}": fingerprint
        for name, fingerprint in checkpoints.load_meta(run).items()
        if name.endswith(LOSS_NETWORK_SUFFIX)
    }
    for name in checkpoints.load_config(run).requires:
        found |= loss_recognizers(checkpoints.required_run(run, name))
    return found
