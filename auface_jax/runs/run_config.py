"""A run's config: read from a file of `configs/`, kept in the run's folder, compared with what is
there; and the data set that it describes."""

import importlib.util
import json
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict as Config

from auface_jax.runs.checkpoints import CheckpointError
from auface_jax.runs.json_files import read_object, write_object


def load_config_file(path: pathlib.Path, preset: str) -> Config:
    """`get_config(preset)` of a config file."""
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(preset)


# What a run may go on with otherwise than it began: where it is computed, what becomes of steps and
# records that are wrong, and how often it tells. None of it changes a step that is right.
MAY_CHANGE = frozenset(
    {
        *("data.workers", "data.skip_corrupt", "guard.action", "guard.grad_norm", "guard.patience"),
        *("log_every", "checkpoint_every", "keep_checkpoints", "sample_every", "eval_images"),
    }
)
# Which splits a set has beside those that training reads.
UNSEEN_OPTIONS = ("held_out_rows", "novel_rows")


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
        write_object(path, json.loads(config.to_json_best_effort()))


def check_same_config(config: Config, workdir: pathlib.Path) -> None:
    """Raises a CheckpointError where the run in `workdir` has another config: every difference.

    `mesh` may differ, and `MAY_CHANGE`; of a set that training cannot build also which splits it
    has, which older configs had by preset. So may a leaf that older runs do not have, as long as it
    is off: 0, empty, False.
    """
    path = workdir / "config.json"
    if not path.exists():
        return
    ours = flatten(json.loads(config.to_json_best_effort()))
    theirs = flatten(read_object(path, CheckpointError))
    may_change = set(MAY_CHANGE)
    if ours.get("data.source") not in BUILDABLE:
        may_change |= {f"data.{name}" for name in UNSEEN_OPTIONS}
    changed = [
        f"  {key}: {theirs.get(key, 'absent')} there, {ours.get(key, 'absent')} now"
        for key in sorted(ours.keys() | theirs.keys())
        if not key.startswith("mesh.")
        and key not in may_change
        and (key in theirs or ours[key])
        and ours.get(key) != theirs.get(key)
    ]
    if changed:
        raise CheckpointError(
            f"{workdir} is a run of another config:\n"
            + "\n".join(changed)
            + "\ntrain with that config, or choose another --workdir"
        )


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> {"a.b": leaf}."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


# Sources that training builds itself.
BUILDABLE = ("builtin", "folder", "ict")
