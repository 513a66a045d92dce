"""The runs that a run builds on: where they are, and their training where they are absent."""

import pathlib
from collections.abc import Callable

import ml_collections

from auface_jax.runs import checkpoints, presets
from auface_jax.runs.config_files import load_config_file
from auface_jax.runs.config_page import flatten
from auface_jax.runs.console import say

Config = ml_collections.ConfigDict


def complete(config: Config, name: str, workdir: pathlib.Path) -> Config:
    """Fills in what depends on the command: the data's folder, the runs that this one builds on.

    Those are its siblings, in the variant that it asks for, whichever variant it is itself.
    """
    plain = workdir.with_name(workdir.name.removesuffix(suffix(config)))
    with config.unlocked():
        config.data.dir = str(presets.data_folder(config.data))
        for other, required in config.requires.items():
            sibling = presets.sibling_run(plain, name, other)
            required.run = required.run or str(sibling) + suffix(required)
    return config


def suffix(config: Config) -> str:
    """What the name of a variant's run ends with."""
    return f"-{config.variant}" if config.get("variant") else ""


def train_requirements(
    config: Config, config_dir: pathlib.Path, train: Callable[[Config, pathlib.Path], object]
) -> None:
    """Trains the runs that `config` builds on and that are absent, on the same data.

    Args:
      config: completed; `requires` may have changes to a required run's own config.
      config_dir: where the config files are.
      train: `train.train`: trains a config into a folder.

    Raises:
      checkpoints.CheckpointError: one is absent and the preset is too big to train it unasked.
    """
    for name, required in config.requires.items():
        run = pathlib.Path(required.run)
        if checkpoints.has_export(run):
            continue
        changes = required.get("changes", {})
        changed = flatten(changes.to_dict()) if changes else {}
        command = f"python -m auface_jax.train --config configs/{name}.py:{config.preset}"
        command += "".join(f" --config.{key}={value}" for key, value in changed.items())
        command += f" --workdir {run}"
        if config.preset == "paper":
            raise checkpoints.CheckpointError(
                f"this run builds on {run}, which is not a finished run; train it first: {command}"
            )
        say(f"{run} is not there yet and this run builds on it: training it first, as\n  {command}")
        needed = load_config_file(config_dir / f"{name}.py", config.preset)
        with needed.unlocked():
            del needed.preset_reason
            needed.data = config.data.copy_and_resolve_references()
            needed.update(changes)
        train(complete(needed, name, run), run)
