"""Conversion of published weights to Flax variables, through a table of keys.

python -m auface_jax.pretrained.convert t5 t5-large/ weights/t5-large

reads a torch checkpoint or safetensors (see `weight_files`) and writes a folder with
`weights.safetensors` and `network.json`. `load(folder)` then returns module and variables without
torch and without the table. `tables` explains the tables.

The converted file keeps the source's precision (float64 becomes float32); `load` casts to the types
that the module declares, float32 for parameters.
"""

import argparse
import dataclasses
import json
import os
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file, save_file

from auface_jax.pretrained.tables import Network
from auface_jax.pretrained.weight_files import Source, WeightFileError, open_source

PyTree = Any

FORMAT_VERSION = 1
WEIGHTS, DESCRIPTION = "weights.safetensors", "network.json"

# Network that the command converts -> location of its `Network`.
NETWORKS: dict[str, str] = {
    "alexnet": "auface_jax.pretrained.alexnet:NETWORK",
    "arcface": "auface_jax.pretrained.arcface:NETWORK",
    "bert": "auface_jax.pretrained.bert:NETWORK",
    "clip_vision": "auface_jax.pretrained.clip_vision:NETWORK",
    "inception": "auface_jax.pretrained.inception:NETWORK",
    "lpips": "auface_jax.pretrained.lpips:NETWORK",
    "me_graphau": "auface_jax.pretrained.me_graphau:NETWORK",
    "t5": "auface_jax.pretrained.t5:NETWORK",
    "vgg16": "auface_jax.pretrained.vgg:NETWORK",
}


class ConversionError(ValueError):
    """Raised for weights that do not fit a network or its table."""


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """Network with published weights.

    Attributes:
      network: its name in `NETWORKS`.
      module: Linen module with the fields of the weights.
      variables: variables of the module, as numpy arrays.
      fingerprint: hex sha256 of the files that the weights were converted from.
    """

    network: str
    module: nn.Module
    variables: PyTree
    fingerprint: str


def find_network(name: str) -> Network:
    """Returns the network of a name.

    Raises:
      ValueError: the name is unknown.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; known are {', '.join(sorted(NETWORKS))}")
    return pkgutil.resolve_name(NETWORKS[name])


def to_leaves(network: Network, source: Source, module: nn.Module) -> dict[str, np.ndarray]:
    """Converts a source to the leaves of the module's variables, in the source's precision.

    Args:
      network: network with the table.
      source: published weights.
      module: module to fill.

    Returns:
      Path -> array.

    Raises:
      ConversionError: source, table and module do not fit; all faults are listed.
    """
    source = network.prepare(source)
    wanted = network.abstract_leaves(module)
    leaves: dict[str, np.ndarray] = {}
    filled_by: dict[str, str] = {}
    faults = []
    for key in source.shapes:
        if any(re.fullmatch(pattern, key) for pattern in network.ignored):
            continue
        matches = [(rule, re.fullmatch(rule.source, key)) for rule in network.rules]
        matches = [(rule, match) for rule, match in matches if match]
        found = f"source key {key!r} {list(source.shapes[key])}"
        if len(matches) != 1:
            count = "no rule" if not matches else f"{len(matches)} rules"
            faults.append(f"{found} is matched by {count} and not ignored")
            continue
        rule, match = matches[0]
        target = match.expand(rule.target)
        if target not in wanted:
            faults.append(f"{found} goes to {target!r}, which the module does not have")
        elif target in filled_by:
            faults.append(f"{found} goes to {target!r}, which {filled_by[target]!r} fills already")
        else:
            filled_by[target] = key
            try:
                leaves[target] = _checked(rule.transform(source.read(key)), wanted[target])
            except ValueError as error:
                faults.append(f"{found} does not fit {target!r}: {error}")
    faults += [
        f"leaf {path!r} {list(leaf.shape)} is filled by no source key"
        for path, leaf in wanted.items()
        if path not in filled_by
    ]
    if faults:
        raise ConversionError(
            f"{source.name} does not fit {module.__class__.__name__}, {len(faults)} faults:\n  "
            + "\n  ".join(faults)
        )
    return leaves


def _checked(array: np.ndarray, wanted: jax.ShapeDtypeStruct) -> np.ndarray:
    """Returns the array, or raises a ValueError if it does not fit the leaf."""
    if array.shape != wanted.shape:
        raise ValueError(f"it becomes {list(array.shape)}, the module has {list(wanted.shape)}")
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    if floating != jnp.issubdtype(wanted.dtype, jnp.floating):
        raise ValueError(f"it is {array.dtype}, the module has {wanted.dtype}")
    if floating and not np.isfinite(array).all():
        raise ValueError(f"{(~np.isfinite(array)).sum()} of its {array.size} values are not finite")
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array)


def to_variables(network: Network, source: Source, **fields: Any) -> tuple[nn.Module, PyTree]:
    """Converts a source to a module and its variables.

    Args:
      network: network with the table.
      source: published weights.
      **fields: fields of the module that replace those read off the source.

    Raises:
      ConversionError: see `to_leaves`.
    """
    module = network.module(**{**network.fields(source), **fields})
    leaves = to_leaves(network, source, module)
    return module, _as_declared(leaves, network.abstract_leaves(module))


def _as_declared(leaves: dict[str, np.ndarray], wanted: dict) -> PyTree:
    """Nests leaves and casts them to the types that the module declares."""
    cast = {path: leaf.astype(wanted[path].dtype, copy=False) for path, leaf in leaves.items()}
    return unflatten_dict(cast, sep="/")


def convert(
    name: str, source: str | Path, destination: str | Path, fields: Mapping[str, Any] | None = None
) -> Path:
    """Converts published weights and writes them to a folder.

    Args:
      name: name of a network in `NETWORKS`.
      source: a file or folder that `weight_files.open_source` reads.
      destination: folder to write; existing files of a conversion are replaced.
      fields: fields of the module, in types of JSON, that replace those read off the source.

    Returns:
      The folder.

    Raises:
      ConversionError, WeightFileError, ValueError: see `to_leaves`, `open_source`, `find_network`.
    """
    network, opened = find_network(name), open_source(source)
    fields = {**network.fields(opened), **(fields or {})}
    leaves = to_leaves(network, opened, network.module(**fields))
    description = {
        "format_version": FORMAT_VERSION,
        "network": name,
        "fields": fields,
        "source": {
            "files": [path.name for path in opened.files],
            "sha256": opened.fingerprint(),
        },
    }
    folder = Path(destination)
    folder.mkdir(parents=True, exist_ok=True)
    # The description is written last: without it a folder counts as empty.
    (folder / DESCRIPTION).unlink(missing_ok=True)
    save_file(leaves, folder / f"{WEIGHTS}.partial")
    os.replace(folder / f"{WEIGHTS}.partial", folder / WEIGHTS)
    (folder / f"{DESCRIPTION}.partial").write_text(json.dumps(description, indent=2) + "\n")
    os.replace(folder / f"{DESCRIPTION}.partial", folder / DESCRIPTION)
    return folder


def load(folder: str | Path, name: str | None = None, **fields: Any) -> Pretrained:
    """Loads a converted network.

    Args:
      folder: folder that `convert` wrote.
      name: name of the expected network; None for any.
      **fields: fields of the module to replace, such as `dtype` of the computation.

    Raises:
      ConversionError: `convert` did not write the folder, it has another network or another format,
        or its leaves do not fit the module; all faults are listed.
    """
    folder = Path(folder)
    if not (folder / DESCRIPTION).is_file():
        raise ConversionError(
            f"{folder} has no {DESCRIPTION}: convert the published weights first, "
            f"python -m auface_jax.pretrained.convert {name or 'NETWORK'} SOURCE {folder}"
        )
    described = json.loads((folder / DESCRIPTION).read_text())
    if described["format_version"] != FORMAT_VERSION:
        raise ConversionError(
            f"{folder} is of format {described['format_version']}, this package reads "
            f"{FORMAT_VERSION}: convert the published weights again"
        )
    found = described["network"]
    if name is not None and found != name:
        raise ConversionError(f"{folder} holds the network {found!r}, not {name!r}")
    network = find_network(found)
    # Fields of modules are hashed, so JSON's lists become tuples.
    described_fields = {
        field: tuple(value) if isinstance(value, list) else value
        for field, value in described["fields"].items()
    }
    module = network.module(**{**described_fields, **fields})
    wanted, leaves = network.abstract_leaves(module), load_file(folder / WEIGHTS)
    shapes = {path: list(leaf.shape) for path, leaf in leaves.items()}
    faults = [
        f"{path!r}: the file has {shapes.get(path, 'none')}, the module {expected or 'none'}"
        for path in sorted(wanted.keys() | leaves.keys())
        if (expected := list(wanted[path].shape) if path in wanted else None) != shapes.get(path)
    ]
    if faults:
        raise ConversionError(
            f"{folder} does not fit {network.module.__name__}, {len(faults)} faults:\n  "
            + "\n  ".join(faults)
        )
    return Pretrained(found, module, _as_declared(leaves, wanted), described["source"]["sha256"])


def _parse_field(text: str) -> tuple[str, Any]:
    """Parses NAME=VALUE, where the value is JSON, or otherwise text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.pretrained.convert",
        description="Converts published weights into a folder that this package loads.",
    )
    parser.add_argument(
        "network", type=lambda name: name.replace("-", "_"), choices=sorted(NETWORKS)
    )
    parser.add_argument("source", help="a safetensors file, a torch checkpoint, or their folder")
    parser.add_argument("destination", help="the folder to write")
    parser.add_argument(
        "--field",
        type=_parse_field,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of the module that the weights do not determine; may be repeated",
    )
    options = parser.parse_args(arguments)
    try:
        folder = convert(options.network, options.source, options.destination, dict(options.field))
    except (ConversionError, WeightFileError, ValueError, ImportError) as error:
        parser.exit(1, f"{error}\n")
    converted = load(folder)
    count = sum(leaf.size for leaf in jax.tree.leaves(converted.variables))
    print(f"{folder}: {options.network}, {count:,} values, from {converted.fingerprint[:12]}")


if __name__ == "__main__":
    main()
