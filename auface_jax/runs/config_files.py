"""Config files: one of the user's own, or the page that is installed with the package."""

import importlib.resources
import importlib.util
import pathlib

import ml_collections


def installed_pages() -> pathlib.Path:
    """The folder of the config pages that are installed with the package."""
    return pathlib.Path(str(importlib.resources.files("auface_jax.configs")))


def find_config_file(path: str | pathlib.Path) -> pathlib.Path:
    """Finds a config file: `path` itself, or the installed page of that name.

    Args:
      path: a file; `stage2.py` and `configs/stage2.py` also name an installed page where there is
        no such file.

    Returns:
      the file, or `path` as it is where there is neither.
    """
    path = pathlib.Path(path)
    if not path.exists() and path.parent in (pathlib.Path(), pathlib.Path("configs")):
        page = installed_pages() / path.name
        if page.is_file():
            return page
    return path


def load_config_file(path: str | pathlib.Path, preset: str) -> ml_collections.ConfigDict:
    """The locked config of a preset, or of its variant, from a config file.

    Args:
      path: see `find_config_file`.
      preset: what a command line has after the colon: `quickstart,ablation=labels`.
    """
    path = find_config_file(path)
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(preset)


def with_config_files_found(argv: list[str]) -> list[str]:
    """Arguments in which the file after `--config` is replaced by the one that is found."""
    found, follows = [], False
    for argument in argv:
        flag, equals, value = argument.partition("=")
        if follows:
            argument = _found(argument)
        elif equals and flag.lstrip("-") == "config":
            argument = f"{flag}={_found(value)}"
        follows = not equals and argument in ("--config", "-config")
        found.append(argument)
    return found


def _found(named: str) -> str:
    """`FILE:PRESET` with the file that is found."""
    file, colon, preset = named.partition(":")
    return f"{find_config_file(file)}{colon}{preset}"
