"""Options declared as dataclass fields: their checks, command-line arguments and defaults."""

import argparse
import dataclasses

import pytest
from auface_jax.configs import common

from auface_jax.data.build.options import (
    DatasetOptions,
    ExecutionOptions,
    add_arguments,
    parse_options,
)
from auface_jax.data.options import OptionError, add_argument, check_options, defaults, option
from auface_jax.data.sources.options import (
    SOURCE_OPTIONS,
    FolderOptions,
    PhotographOptions,
    source_fields,
)
from auface_jax.runs.config_page import make_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    name: str = option(help="a name", choices=("one", "two", "three"))
    count: int = option(2, help="a count", at_least=1)
    share: float | None = option(None, help="a share", above=0, below=1)
    pair: tuple[float, float] = option((1.0, 2.0), help="a pair")
    hidden: bool = False

    __post_init__ = check_options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "four"}, "name is 'four', expected one, two or three"),
        ({"name": None}, "name is None, expected one, two or three"),
        ({"name": "one", "count": 0}, "count is 0, expected a whole number, at least 1"),
        ({"name": "one", "count": 1.5}, "count is 1.5, expected a whole number"),
        ({"name": "one", "count": True}, "count is True, expected a whole number"),
        ({"name": "one", "count": None}, "count is None, expected a whole number"),
        ({"name": "one", "share": 1.0}, "share is 1.0, expected a number, more than 0 and less"),
        ({"name": "one", "share": float("nan")}, "share is nan, expected a number"),
        ({"name": "one", "share": "0.5"}, "share is '0.5', expected a number"),
    ],
)
def test_illegal_value_is_refused_with_the_legal_ones(values, message):
    with pytest.raises(OptionError, match=message):
        Example(**values)


def test_none_is_legal_where_the_type_allows_it():
    assert Example(name="one", share=None).share is None
    assert Example(name="one", share=0.5).share == 0.5


def test_arguments_are_derived_from_fields():
    parser = argparse.ArgumentParser()
    for field in dataclasses.fields(Example)[:-1]:
        add_argument(parser, field)
    parsed = parser.parse_args(["--name", "two", "--pair", "3", "4.5", "--share", "0.25"])
    assert vars(parsed) == {"name": "two", "count": 2, "share": 0.25, "pair": [3.0, 4.5]}
    with pytest.raises(SystemExit):
        parser.parse_args([])
    optional = argparse.ArgumentParser()
    for field in dataclasses.fields(Example)[:-1]:
        add_argument(optional, field, optional=True)
    assert set(vars(optional.parse_args([])).values()) == {None}


def test_defaults_are_those_of_the_fields():
    assert defaults(Example) == {"count": 2, "share": None, "pair": (1.0, 2.0)}
    photographs = {"uncoded_units": "refuse", "align": "auto", "margin": 0.0}
    assert defaults(PhotographOptions) == photographs
    assert defaults(FolderOptions) == photographs | {"threshold": None, "maximum": 1.0}


def test_every_option_of_a_build_has_an_argument():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = vars(parser.parse_args(["--source", "builtin", "--size", "64"]))
    declared = {
        field.name
        for options in (DatasetOptions, ExecutionOptions, *SOURCE_OPTIONS.values())
        for field in dataclasses.fields(options)
    }
    assert arguments.keys() == declared - {"progress", "runner_arguments"}
    text = parser.format_help()
    assert "builtin, ict: number of people" in text and "bp4d, folder" in text


def test_option_names_of_the_groups_are_distinct():
    names = [
        {field.name for field in dataclasses.fields(options)}
        for options in (DatasetOptions, ExecutionOptions)
    ]
    names.append(set(source_fields()))
    assert sum(map(len, names)) == len(set.union(*names))


def test_recorded_options_keep_the_order_of_dataset_json():
    dataset, source, execution = parse_options(
        {"source": "builtin", "size": 64, "people": 3, "frames": 4, "labels": None, "processes": 1}
    )
    assert dataset.recorded() == {
        "source": "builtin",
        "size": 64,
        "seed": 0,
        "split": "person",
        "fractions": [0.8, 0.1, 0.1],
        "held_out_rows": 0.0,
        "novel_rows": 0,
        "image_format": "png",
        "shard_mib": 128.0,
        "shard_records": None,
    }
    assert list(dataset.recorded())[:4] == ["source", "size", "seed", "split"]
    assert (source.people, source.frames, execution.processes) == (3, 4, 1)


def test_config_defaults_are_those_of_the_options():
    """A config page writes its defaults out; only the size of a drawn set is its own."""
    declared = defaults(DatasetOptions, *SOURCE_OPTIONS.values())
    page = make_config({"data": common.DATA}, {"": {}}, "").data
    for name in declared.keys() & set(page) - {"people", "frames", "size"}:
        value = declared[name]
        if value is not None:  # absent in the options; in a config an empty text or a real default
            assert page[name] == value, name
