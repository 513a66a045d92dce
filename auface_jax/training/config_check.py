"""Checks of a config before anything is built; all faults are reported together."""

import ml_collections

from auface_jax.runs.config_page import range_faults
from auface_jax.training.guard import Guard


class ConfigError(ValueError):
    """A config has illegal values."""


def check_config(config: ml_collections.ConfigDict) -> None:
    """Checks every number of a config against its range, and the guard's options.

    Raises:
      ConfigError: values are out of range; the message lists each with its legal range.
    """
    faults = range_faults(config)
    if "guard" in config:
        try:
            Guard(config.guard)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"the config cannot be trained with:\n{lines}")
