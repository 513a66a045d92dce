"""Roles of recognisers: a generator must not be judged by a network that a loss of it used."""

import pathlib

from auface_jax.runs import checkpoints

# How the fingerprints of these networks are named in an export.
OF_LOSS = "_network"


def loss_recognizers(run: str | pathlib.Path) -> dict[str, str]:
    """Name -> fingerprint of every network that trained a run, or a run that it builds on.

    They are what the export of Stage I keeps of them (`tasks.vqgan.VQGANTask.built_on`), so that
    they are known wherever the networks' own folders are by now.

    Raises:
      checkpoints.CheckpointError: `run`, or one that it builds on, is not a finished run.
    """
    run = pathlib.Path(run)
    found = {
        f"{name} of {run}": fingerprint
        for name, fingerprint in checkpoints.load_meta(run).items()
        if name.endswith(OF_LOSS)
    }
    for name in checkpoints.load_config(run).requires:
        found |= loss_recognizers(checkpoints.required_run(run, name))
    return found


ROLES = ("loss", "score")
