"""Config pages: defaults with the range of each number beside it, and a table of presets.

A page is a nested dict. Every number in it is written by one of the functions below, which keep
its legal range: `"num_steps": count(1_080)`. A preset is a flat dict, a line a leaf:
`"model.image_size": 128`. `make_config` joins the two into a locked `ConfigDict`, whose node
`ranges` mirrors the page, so that values given on a command line are checked too.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections
from ml_collections.config_dict import placeholder

Number = int | float
_PROSE = {
    (1, None): "1 or more",
    (0, None): "0 or more",
    (0, 1): "a share, from 0 to 1",
    (None, None): "a finite number",
}


class Ranged(NamedTuple):
    """A default and its legal range.

    Attributes:
      value: a number, or numbers that share the range; None is a number that may be left out.
      low, high: the bounds, which are legal themselves; None is no bound.
    """

    value: Number | tuple[Number, ...] | None
    low: float | None
    high: float | None


def count(value: int | tuple[int, ...]) -> Ranged:
    """A whole number, or several, of 1 or more."""
    return Ranged(value, 1, None)


def natural(value: Number | tuple[Number, ...]) -> Ranged:
    """A number, or several, of 0 or more."""
    return Ranged(value, 0, None)


def share(value: Number) -> Ranged:
    """A number from 0 to 1."""
    return Ranged(value, 0, 1)


def real(value: Number) -> Ranged:
    """Any finite number."""
    return Ranged(value, None, None)


def make_config(
    page: Mapping[str, Any], presets: Mapping[str, Mapping[str, Any]], preset: str
) -> ml_collections.ConfigDict:
    """Joins a page's defaults with the changes of a preset.

    Args:
      page: the defaults, nested.
      presets: preset -> changes, {"a.b": value}; a mapping as a value replaces a whole node.
      preset: one of `presets`.

    Returns:
      the config, not locked; `config.ranges` has [low, high] for every number.

    Raises:
      KeyError: a preset changes a leaf that the page does not have.
      TypeError: a number on the page has no range.
    """
    config = ml_collections.ConfigDict(_values(page))
    for name, value in presets[preset].items():
        *path, leaf = name.split(".")
        node = config
        for part in path:
            node = node[part]
        if leaf not in node:
            raise KeyError(f"preset {preset!r} changes {name}, which the page does not have")
        if isinstance(value, Mapping):
            del node[leaf]
            node[leaf] = ml_collections.ConfigDict(dict(value))
        else:
            node[leaf] = value
    config.ranges = ml_collections.ConfigDict(_ranges(page))
    return config


def without_ranges(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Copies a config without its node `ranges`, as runs keep it."""
    config = config.copy_and_resolve_references()
    if "ranges" in config:
        with config.unlocked():
            del config["ranges"]
    return config


def range_faults(config: ml_collections.ConfigDict) -> list[str]:
    """Lists every number of a config that is out of its range, and what is legal there."""
    values = flatten(without_ranges(config).to_dict())
    ranges = flatten(config["ranges"].to_dict()) if "ranges" in config else {}
    faults = []
    for name, value in values.items():
        low, high = ranges.get(name, (None, None))
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, bool) or not isinstance(number, Number):
                continue
            if not math.isfinite(number):
                faults.append(f"{name}={value!r}: expected a finite number")
                break
            if (low is not None and number < low) or (high is not None and number > high):
                faults.append(f"{name}={value!r}: expected {_PROSE[low, high]}")
                break
    return faults


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> {"a.b": leaf}."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _values(node: Any) -> Any:
    if isinstance(node, Ranged):
        return placeholder(float) if node.value is None else node.value
    if isinstance(node, Mapping):
        return {name: _values(child) for name, child in node.items()}
    return node


def _ranges(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, child in node.items():
        if isinstance(child, Ranged):
            found[name] = (child.low, child.high)
        elif isinstance(child, Mapping):
            found[name] = _ranges(child, f"{prefix}{name}.")
        elif isinstance(child, Number) and not isinstance(child, bool):
            raise TypeError(f"{prefix}{name}={child} has no range: write count, natural, share, …")
    return found
