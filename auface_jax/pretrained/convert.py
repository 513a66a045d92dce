"""Published weights -> Flax variables: once, through a table of keys, strict in both directions.

python -m auface_jax.pretrained.convert t5 t5-large/ weights/t5-large

reads a torch checkpoint or safetensors (`weight_files` says which forms) and writes a folder with
`weights.safetensors` and `network.json`. `load(folder)` then gives module and variables and needs
neither torch nor the table.

How a table is written. A network's file in this folder ends with a `Network`:

    NETWORK = Network(
        module=MyNet,                                   # the Linen module
        inputs=(jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32),),   # what `init` is called with
        fields=lambda source: {"width": source.shape("stem.conv.weight")[0]},
        rules=(
            *conv_rules(r"stem\\.conv", "stem/conv"),
            *batch_norm_rules(r"stem\\.bn", "stem/norm"),
            Rule(r"blocks\\.(\\d+)\\.fc\\.weight", r"params/block_\\1/dense/kernel", linear),
        ),
        ignored=(BATCH_COUNTERS, r"classifier\\..*"),
    )

and is entered in `NETWORKS` under the name that the command takes.

- `fields` reads the module's fields off the source: its shapes, its keys, the folder's config.
  What cannot be read off is given by `--field NAME=VALUE`.
- A `Rule` maps source keys that its regular expression matches *in full* to the target path that
  the template expands to: collection, modules, leaf, joined by "/". Its transform is a function of
  the source array: `copy`, `linear`, `conv`, `pointwise`, `linear_over(h, w)`, `squeeze`, or one
  beside the table. `conv_rules`, `linear_rules`, `norm_rules` and `batch_norm_rules` are the rules
  of whole layers (batch statistics go to the collection `batch_stats`).
- `ignored` lists, as full matches, source keys that have no target.

A conversion fails, with every fault in one message, unless each source key is taken by exactly one
rule or ignored, each leaf of the module's variables is filled exactly once, and all shapes agree.
Rules that match nothing are no fault, so one table serves variants of a network.

The file keeps the source's precision (float64 becomes float32); `load` casts to what the module
declares, float32 for parameters.
"""

import argparse
import dataclasses
import json
import os
import pkgutil
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file, save_file

from auface_jax.pretrained.weight_files import Source, WeightFileError, open_source

PyTree = Any
Transform = Callable[[np.ndarray], np.ndarray]

FORMAT_VERSION = 1
WEIGHTS, DESCRIPTION = "weights.safetensors", "network.json"

# Every network that the command converts: where its `Network` stands.
NETWORKS: dict[str, str] = {
    "alexnet": "auface_jax.pretrained.alexnet:NETWORK",
    "arcface": "auface_jax.pretrained.arcface:NETWORK",
    "clip_vision": "auface_jax.pretrained.clip_vision:NETWORK",
    "inception": "auface_jax.pretrained.inception:NETWORK",
    "lpips": "auface_jax.metrics.lpips:NETWORK",
    "me_graphau": "auface_jax.pretrained.me_graphau:NETWORK",
    "t5": "auface_jax.pretrained.t5:NETWORK",
    "vgg16": "auface_jax.pretrained.vgg:NETWORK",
}

# Counts of the batches that torch's batch norms have seen: nothing depends on them.
BATCH_COUNTERS = r"(.*\.)?num_batches_tracked"


class ConversionError(ValueError):
    """A source and a network's table do not fit, or a converted folder and a network do not."""


def copy(array: np.ndarray) -> np.ndarray:
    """As it is."""
    return array


def linear(array: np.ndarray) -> np.ndarray:
    """A torch linear layer [out, in] -> a Flax kernel [in, out]."""
    return _of_rank(array, "linear", 2).T


def conv(array: np.ndarray) -> np.ndarray:
    """A torch convolution [out, in, H, W], or of one or three dimensions -> [H, W, in, out]."""
    return np.moveaxis(_of_rank(array, "conv", 3, 4, 5), (0, 1), (-1, -2))


def pointwise(array: np.ndarray) -> np.ndarray:
    """A torch convolution of size one [out, in, 1...] -> the kernel [in, out] of a dense layer."""
    if array.ndim < 3 or any(size != 1 for size in array.shape[2:]):
        raise ValueError(f"pointwise needs [out, in, 1...], got {list(array.shape)}")
    return array.reshape(array.shape[:2]).T


def squeeze(array: np.ndarray) -> np.ndarray:
    """Without the axes of length one."""
    return array.squeeze()


def linear_over(height: int, width: int) -> Transform:
    """A linear layer on flattened features: torch flattens [C, H, W], we flatten [H, W, C]."""

    def linear_over_features(array: np.ndarray) -> np.ndarray:
        _of_rank(array, "linear_over", 2)
        if array.shape[1] % (height * width):
            raise ValueError(f"{array.shape[1]} inputs are not C x {height} x {width}")
        chw = array.reshape(array.shape[0], -1, height, width)
        return chw.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])

    return linear_over_features


def _of_rank(array: np.ndarray, name: str, *ranks: int) -> np.ndarray:
    if array.ndim not in ranks:
        raise ValueError(
            f"{name} needs {' or '.join(map(str, ranks))} axes, got {list(array.shape)}"
        )
    return array


@dataclasses.dataclass(frozen=True)
class Rule:
    """Source keys that match `source` in full go to the target path that `target` expands to."""

    source: str
    target: str
    transform: Transform = copy


def conv_rules(source: str, target: str) -> tuple[Rule, ...]:
    """A convolution, with or without bias: regular expression of its keys' prefix, module path."""
    return _layer_rules(source, target, "kernel", conv)


def linear_rules(source: str, target: str) -> tuple[Rule, ...]:
    """A linear layer, with or without bias."""
    return _layer_rules(source, target, "kernel", linear)


def norm_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Scale and offset of a layer, group or RMS norm."""
    return _layer_rules(source, target, "scale", copy)


def batch_norm_rules(source: str, target: str) -> tuple[Rule, ...]:
    """A batch norm; list `BATCH_COUNTERS` among the ignored keys."""
    return (
        *norm_rules(source, target),
        Rule(rf"{source}\.running_mean", f"batch_stats/{target}/mean"),
        Rule(rf"{source}\.running_var", f"batch_stats/{target}/var"),
    )


def _layer_rules(source: str, target: str, weight: str, transform: Transform) -> tuple[Rule, ...]:
    return (
        Rule(rf"{source}\.weight", f"params/{target}/{weight}", transform),
        Rule(rf"{source}\.bias", f"params/{target}/bias"),
    )


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with published weights and its table; the docstring of this file has an example.

    Attributes:
      module: the Linen module, called with fields that JSON can hold.
      inputs: shapes and dtypes of one call of it, or a function that gives them for a module.
      fields: source -> the module's fields; it raises a ValueError for a source that the module
        cannot hold.
      rules: the table.
      ignored: regular expressions of source keys that have no target.
      prepare: source -> the source that the table speaks of, where one leaf holds several tensors.
    """

    module: Callable[..., nn.Module]
    inputs: tuple[PyTree, ...] | Callable[[nn.Module], tuple[PyTree, ...]]
    fields: Callable[[Source], dict[str, Any]]
    rules: tuple[Rule, ...]
    ignored: tuple[str, ...] = ()
    prepare: Callable[[Source], Source] = lambda source: source

    def abstract_leaves(self, module: nn.Module) -> dict[str, jax.ShapeDtypeStruct]:
        """Path -> shape and dtype of every leaf of the module's variables."""
        inputs = self.inputs(module) if callable(self.inputs) else self.inputs
        variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
        return flatten_dict(nn.unbox(variables), sep="/")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A converted network.

    Attributes:
      network: its name in `NETWORKS`.
      module: the Linen module with the fields that it was converted for.
      variables: what `module.apply` takes first, as numpy arrays.
      fingerprint: hex sha256 of the files that it was converted from.
    """

    network: str
    module: nn.Module
    variables: PyTree
    fingerprint: str


def find_network(name: str) -> Network:
    """The network of that name.

    Raises:
      ValueError: there is none.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; known are {', '.join(sorted(NETWORKS))}")
    return pkgutil.resolve_name(NETWORKS[name])


def to_leaves(network: Network, source: Source, module: nn.Module) -> dict[str, np.ndarray]:
    """Every leaf of the module's variables by its path, in the precision of the source.

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
    """The module that a source holds the weights of, and its variables.

    Args:
      fields: fields of the module that replace those read off the source.

    Raises:
      ConversionError: see `to_leaves`.
    """
    module = network.module(**{**network.fields(source), **fields})
    leaves = to_leaves(network, source, module)
    return module, _as_declared(leaves, network.abstract_leaves(module))


def _as_declared(leaves: dict[str, np.ndarray], wanted: dict) -> PyTree:
    cast = {path: leaf.astype(wanted[path].dtype, copy=False) for path, leaf in leaves.items()}
    return unflatten_dict(cast, sep="/")


def convert(
    name: str, source: str | Path, destination: str | Path, fields: Mapping[str, Any] | None = None
) -> Path:
    """Converts published weights once; the folder appears when it is complete.

    Args:
      name: one of `NETWORKS`.
      source: a file or folder that `weight_files.open_source` reads.
      destination: the folder to write; its files, if any, are replaced.
      fields: fields of the module that replace those read off the source; JSON can hold them.

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
    # Without its description, which comes last, a folder counts as empty.
    (folder / DESCRIPTION).unlink(missing_ok=True)
    save_file(leaves, folder / f"{WEIGHTS}.partial")
    os.replace(folder / f"{WEIGHTS}.partial", folder / WEIGHTS)
    (folder / f"{DESCRIPTION}.partial").write_text(json.dumps(description, indent=2) + "\n")
    os.replace(folder / f"{DESCRIPTION}.partial", folder / DESCRIPTION)
    return folder


def load(folder: str | Path, name: str | None = None, **fields: Any) -> Pretrained:
    """A converted network.

    Args:
      folder: what `convert` wrote.
      name: the network that is expected there; None for any.
      fields: fields of the module to replace, such as `dtype` of the computation.

    Raises:
      ConversionError: the folder was not converted, holds another network, was written by another
        format, or its leaves are not those of the module; all faults are listed.
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
    # JSON has lists where a module, which can be hashed, has tuples.
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
    """NAME=VALUE; the value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main(arguments: list[str] | None = None) -> None:
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
        help="a field of the module that the weights do not tell; may be repeated",
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
