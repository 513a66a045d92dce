"""Required runs: the finished runs that a run builds on, found or trained first."""

import pathlib
from collections.abc import Callable

import ml_collections

from auface_jax.runs import checkpoints, presets
from auface_jax.runs.config_files import installed_pages, load_config_file
from auface_jax.runs.config_page import flatten
from auface_jax.runs.console import say

Config = ml_collections.ConfigDict


def complete(config: Config, name: str, workdir: pathlib.Path) -> Config:
    """Fills in the leaves that depend on the run's folder: the data's folder, and required runs.

    A required run that the config does not name is the sibling of `workdir`, in the variant that
    the config asks for.

    Args:
      config: the config, which is changed.
      name: the config page's name, such as "stage2".
      workdir: the run's folder.

    Returns:
      the same config.
    """
    plain = workdir.with_name(workdir.name.removesuffix(suffix(config)))
    with config.unlocked():
        config.data.dir = str(presets.data_folder(config.data))
        for other, required in config.requires.items():
            sibling = presets.sibling_run(plain, name, other)
            required.run = required.run or str(sibling) + suffix(required)
    return config


def suffix(config: Config) -> str:
    """The end of a run's name that tells its variant; empty for a preset as it is."""
    return f"-{config.variant}" if config.get("variant") else ""


def train_requirements(
    config: Config, config_dir: pathlib.Path, train: Callable[[Config, pathlib.Path], object]
) -> None:
    """Trains the required runs that are absent, on the same data.

    Args:
      config: a config after `complete`; `requires` may have changes to a required run's config.
      config_dir: the folder of the config files; a page that is not there is the installed one.
      train: trains a config into a folder, as `training.loop.train` does.

    Raises:
      checkpoints.CheckpointError: a run is absent, and the preset is too large to train it
        unasked.
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
        beside = config_dir / f"{name}.py"
        page = beside if beside.exists() else installed_pages() / beside.name
        needed = load_config_file(page, config.preset)
        with needed.unlocked():
            del needed.preset_reason
            needed.data = config.data.copy_and_resolve_references()
            needed.update(changes)
        train(complete(needed, name, run), run)
