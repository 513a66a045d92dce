"""The config of a run: kept in its folder, and compared when the run is resumed."""

import json
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict as Config

from auface_jax.runs.checkpoints import CheckpointError
from auface_jax.runs.config_page import flatten, without_ranges
from auface_jax.runs.json_files import read_object, write_object

# Leaves that may differ when a run is resumed: where it runs, what happens after bad steps and
# bad records, and how often it reports. None of them changes a step that is good.
MAY_CHANGE = frozenset(
    {
        *("data.workers", "data.skip_corrupt", "guard.action", "guard.grad_norm", "guard.patience"),
        *("log_every", "checkpoint_every", "keep_checkpoints", "sample_every", "eval_images"),
    }
)


def write_config(config: Config, workdir: pathlib.Path) -> None:
    """Writes `config.json`, or checks that the run in `workdir` has this very config.

    Raises:
      CheckpointError: see `check_same_config`.
    """
    check_same_config(config, workdir)
    path = workdir / "config.json"
    if not path.exists() and jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        # In one step: another process may be about to read it.
        write_object(path, _as_json(config))


def check_same_config(config: Config, workdir: pathlib.Path) -> None:
    """Checks that the run in `workdir`, if there is one, has this config.

    The mesh may differ, and so may the leaves in `MAY_CHANGE`.

    Raises:
      CheckpointError: leaves differ; the message lists all of them.
    """
    path = workdir / "config.json"
    if not path.exists():
        return
    ours, theirs = flatten(_as_json(config)), flatten(read_object(path, CheckpointError))
    changed = [
        f"  {key}: {theirs.get(key, 'absent')} there, {ours.get(key, 'absent')} now"
        for key in sorted(ours.keys() | theirs.keys())
        if not key.startswith("mesh.")
        and key not in MAY_CHANGE
        and ours.get(key, "absent") != theirs.get(key, "absent")
    ]
    if changed:
        raise CheckpointError(
            f"{workdir} is a run of another config:\n"
            + "\n".join(changed)
            + "\ntrain with that config, or choose another --workdir"
        )


def _as_json(config: Config) -> dict[str, Any]:
    return json.loads(without_ranges(config).to_json_best_effort())
