"""Builds the data set that a config's `data` part describes, where it is absent."""

import dataclasses
import pathlib

from ml_collections import ConfigDict as Config

from auface_jax.data.build import builder
from auface_jax.data.shards import read_info
from auface_jax.data.sources.options import SOURCE_OPTIONS
from auface_jax.runs.console import say

# Sources that training builds itself.
BUILDABLE = ("builtin", "folder", "ict")
# Options of the splits that training never sees.
UNSEEN_OPTIONS = ("held_out_rows", "novel_rows")


def build_data(data: Config) -> None:
    """Builds the records that `data` describes, when they are absent.

    A set of a source that training cannot build is only looked at, see `adopt_built_options`.

    Raises:
      FileNotFoundError: the set is absent, and training cannot build it.
      ValueError: the set was built with other options; see `build`.
    """
    if data.source not in BUILDABLE:
        if not pathlib.Path(data.dir).exists():
            raise FileNotFoundError(
                f"no data set at data.dir={data.dir}, and the source {data.source!r} is not one "
                f"that training can build itself ({', '.join(BUILDABLE)}); build it there first "
                f"(python -m auface_jax.data.build --source {data.source} --out {data.dir} ...), "
                "or take another preset"
            )
        adopt_built_options(data)
        return
    of_source = [field.name for field in dataclasses.fields(SOURCE_OPTIONS[data.source])]
    names = ("source", "size", "seed", *of_source, *UNSEEN_OPTIONS)
    # A config has "" for a path that is not given.
    options = {name: None if data[name] == "" else data[name] for name in names}
    builder.build_if_absent(options, data.dir)


def adopt_built_options(data: Config) -> None:
    """Writes into `data` the options of a data set that training cannot build itself.

    Only the data set knows the margin of its crops, and a run's config must not claim splits that
    its data set lacks.
    """
    built = read_info(data.dir)["options"]
    for name in ("margin", *UNSEEN_OPTIONS):
        value = built.get(name, 0)
        if value != data[name]:
            say(f"data.{name} is {value}, as {data.dir} was built, not {data[name]}")
            data[name] = type(data[name])(value)
