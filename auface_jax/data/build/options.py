"""The options of a build, each declared once.

`DatasetOptions` determine the content of a data set together with the source's own options
(`data.sources.options`), and `dataset.json` records them. `ExecutionOptions` say who does the work
and have no effect on the result.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from auface_jax.data.build.splits import SPLIT_MODES, check_fractions
from auface_jax.data.options import (
    OptionError,
    add_argument,
    check_options,
    flag,
    is_required,
    option,
)
from auface_jax.data.record import IMAGE_FORMATS
from auface_jax.data.sources.options import SOURCES, make_source_options, source_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Options that determine the content of a data set, in the order of `dataset.json`."""

    source: str = option(help="where the faces come from", choices=SOURCES)
    size: int = option(help="side of the images in pixels", at_least=16)
    seed: int = option(
        0, help="seed of the splits, the references, the texts and of drawn faces", at_least=0
    )
    split: str = option(
        "person",
        help="person: all images of a person are in one split; image: single images are dealt to "
        "the splits, whoever is on them; default person",
        choices=SPLIT_MODES,
    )
    fractions: tuple[float, float, float] = option(
        (0.8, 0.1, 0.1),
        help="shares of the people (or images) in each split; default 0.8 0.1 0.1",
        metavar=("TRAIN", "VAL", "TEST"),
    )
    held_out_rows: float = option(
        0.0,
        help="share of the AU combinations of test people that training never sees (split "
        "unseen_held_out); default 0",
        at_least=0,
        below=1,
        metavar="SHARE",
    )
    novel_rows: int = option(
        0,
        help="number of AU combinations that no image of the source has (split unseen_novel); "
        "default 0",
        at_least=0,
        metavar="NUMBER",
    )
    image_format: str = option("png", help="file format of the images", choices=IMAGE_FORMATS)
    shard_mib: float = option(128.0, help="approximate size of a shard in MiB", above=0)
    shard_records: int | None = option(
        None, help="largest number of records in a shard, in place of a size", at_least=1
    )

    def __post_init__(self):
        check_options(self)
        check_fractions(self.fractions)

    def recorded(self) -> dict[str, Any]:
        """The options as `dataset.json` holds them."""
        return vars(self) | {"fractions": list(self.fractions)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Options that say who does the work of a build.

    Attributes:
      progress: whether a progress bar is shown.
      runner_arguments: the Beam runner's own options, as on a command line.
    """

    processes: int | None = option(
        None, help="number of worker processes; default: one for each CPU core", at_least=1
    )
    runner: str | None = option(
        None, help="an Apache Beam runner that does the work; its own options may follow"
    )
    progress: bool = True
    runner_arguments: Sequence[str] = ()

    __post_init__ = check_options


def parse_options(options: dict[str, Any]) -> tuple[DatasetOptions, Any, ExecutionOptions]:
    """The options of a build from keyword arguments.

    Args:
      options: name -> value, of the fields of `DatasetOptions`, of `ExecutionOptions` and of the
        source's class in `SOURCE_OPTIONS`. An option of a source that is None is as good as absent.

    Returns:
      The options of the data set, of its source, and of the work.

    Raises:
      OptionError: an option is missing, unknown, of another source, or illegal.
    """
    required = [f.name for f in dataclasses.fields(DatasetOptions) if is_required(f)]
    if missing := [name for name in required if name not in options]:
        raise OptionError(f"a build needs {' and '.join(map(flag, missing))}")
    groups = [_names(DatasetOptions), _names(ExecutionOptions), set(source_fields())]
    if unknown := options.keys() - set().union(*groups):
        raise OptionError(
            f"a build has no option {', '.join(sorted(unknown))}; "
            f"expected {', '.join(sorted(set().union(*groups)))}"
        )
    of_dataset, of_execution, of_source = (
        {name: options[name] for name in options if name in group} for group in groups
    )
    dataset = DatasetOptions(**of_dataset)
    source = make_source_options(dataset.source, **of_source)
    return dataset, source, ExecutionOptions(**of_execution)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a command-line argument for every option of a build."""
    for field in dataclasses.fields(DatasetOptions):
        add_argument(parser, field)
    for field, sources in source_fields().values():
        add_argument(parser, field, prefix=f"{', '.join(sources)}: ", optional=True)
    for field in dataclasses.fields(ExecutionOptions):
        if "declaration" in field.metadata:
            add_argument(parser, field)


def _names(options: type) -> set[str]:
    return {field.name for field in dataclasses.fields(options)}
