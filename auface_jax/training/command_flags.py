"""Command-line flags that `train` and `cross_validate` share."""

import pathlib
import sys
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from auface_jax.runs.config_files import with_config_files_found

FLAGS = flags.FLAGS


def define() -> None:
    """Defines `--config`, `--workdir` and `--debug`, unless another command has defined them."""
    if "config" in FLAGS:
        return
    config_flags.DEFINE_config_file(
        "config", None, "a config page, such as stage2.py:quickstart: FILE:PRESET"
    )
    flags.DEFINE_string("workdir", None, "the run's folder (default: runs/NAME-PRESET)")
    flags.DEFINE_bool("debug", False, "show the traceback of an error")
    flags.mark_flag_as_required("config")


def run(main: Callable[[], None]) -> None:
    """Parses the command line and calls `main`; finds config pages from any folder."""

    def checked(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # at INFO Orbax logs each file that it writes
        if len(argv) > 1:
            raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
        main()

    app.run(checked, argv=with_config_files_found(sys.argv))


def config_file() -> pathlib.Path:
    """Returns the path of the file that `--config` names."""
    return pathlib.Path(config_flags.get_config_filename(FLAGS["config"]))


def chosen_config() -> ConfigDict:
    """Returns the config of the command line, and prints the reason for its preset."""
    config: ConfigDict = FLAGS.config
    with config.unlocked():
        print(config.preset_reason, flush=True)
        del config["preset_reason"]
    return config
