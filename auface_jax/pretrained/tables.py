"""Tables of keys that map published weights to the variables of a network.

A network's file in this folder ends with a `Network`:

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

and is entered in `convert.NETWORKS` under the name that the command takes.

- `fields` reads the module's fields off the source: its shapes, its keys, the folder's config.
  Other fields are given by `--field NAME=VALUE`.
- A `Rule` maps source keys that its regular expression matches *in full* to the target path that
  the template expands to: collection, modules, leaf, joined by "/". Its transform is a function of
  the source array: `copy`, `linear`, `conv`, `pointwise`, `linear_over(h, w)`, `squeeze`, or one
  beside the table. `conv_rules`, `linear_rules`, `norm_rules` and `batch_norm_rules` are the rules
  of whole layers (batch statistics go to the collection `batch_stats`).
- `ignored` lists, as full matches, source keys that have no target.

A conversion fails, with every fault in one message, unless each source key is taken by exactly one
rule or ignored, each leaf of the module's variables is filled exactly once, and all shapes agree.
Rules that match nothing are legal, so one table serves variants of a network.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict

from auface_jax.pretrained.weight_files import Source

PyTree = Any
Transform = Callable[[np.ndarray], np.ndarray]

# Counts of the batches that torch's batch norms have seen, which no output depends on.
BATCH_COUNTERS = r"(.*\.)?num_batches_tracked"


def copy(array: np.ndarray) -> np.ndarray:
    """Returns the array unchanged."""
    return array


def linear(array: np.ndarray) -> np.ndarray:
    """Transposes a torch linear layer [out, in] to a Flax kernel [in, out]."""
    return _of_rank(array, "linear", 2).T


def conv(array: np.ndarray) -> np.ndarray:
    """Transposes a torch convolution [out, in, H, W], in 1D to 3D, to [H, W, in, out]."""
    return np.moveaxis(_of_rank(array, "conv", 3, 4, 5), (0, 1), (-1, -2))


def pointwise(array: np.ndarray) -> np.ndarray:
    """Turns a torch convolution of size one [out, in, 1...] into the kernel of a dense layer."""
    if array.ndim < 3 or any(size != 1 for size in array.shape[2:]):
        raise ValueError(f"pointwise needs [out, in, 1...], got {list(array.shape)}")
    return array.reshape(array.shape[:2]).T


def squeeze(array: np.ndarray) -> np.ndarray:
    """Removes the axes of length one."""
    return array.squeeze()


def linear_over(height: int, width: int) -> Transform:
    """Makes the transform of a linear layer on features that torch flattens as [C, H, W].

    Flax flattens them as [H, W, C].
    """

    def linear_over_features(array: np.ndarray) -> np.ndarray:
        _of_rank(array, "linear_over", 2)
        if array.shape[1] % (height * width):
            raise ValueError(f"{array.shape[1]} inputs are not C x {height} x {width}")
        chw = array.reshape(array.shape[0], -1, height, width)
        return chw.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])

    return linear_over_features


def _of_rank(array: np.ndarray, name: str, *ranks: int) -> np.ndarray:
    """Returns the array, or raises a ValueError if it has another number of axes."""
    if array.ndim not in ranks:
        raise ValueError(
            f"{name} needs {' or '.join(map(str, ranks))} axes, got {list(array.shape)}"
        )
    return array


@dataclasses.dataclass(frozen=True)
class Rule:
    """Rule of a table: source keys -> target path.

    Attributes:
      source: regular expression that matches the keys in full.
      target: template that a match expands to the target path.
      transform: function of the source array.
    """

    source: str
    target: str
    transform: Transform = copy


def conv_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Returns the rules of a convolution, from its keys' prefix (a regular expression) and path."""
    return _layer_rules(source, target, "kernel", conv)


def linear_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Returns the rules of a linear layer, with or without bias."""
    return _layer_rules(source, target, "kernel", linear)


def norm_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Returns the rules of a layer, group or RMS norm, with or without bias."""
    return _layer_rules(source, target, "scale", copy)


def batch_norm_rules(source: str, target: str) -> tuple[Rule, ...]:
    """Returns the rules of a batch norm; list `BATCH_COUNTERS` among the ignored keys."""
    return (
        *norm_rules(source, target),
        Rule(rf"{source}\.running_mean", f"batch_stats/{target}/mean"),
        Rule(rf"{source}\.running_var", f"batch_stats/{target}/var"),
    )


def _layer_rules(source: str, target: str, weight: str, transform: Transform) -> tuple[Rule, ...]:
    """Returns the rules of a layer's weight and bias."""
    return (
        Rule(rf"{source}\.weight", f"params/{target}/{weight}", transform),
        Rule(rf"{source}\.bias", f"params/{target}/bias"),
    )


def refuse_options(source: Source, family: str, supported: Mapping[str, tuple]) -> None:
    """Refuses a configuration with options that the module does not implement.

    Args:
      source: published weights with their configuration.
      family: name of the networks in the message.
      supported: option -> its legal values, the first of which is the default.

    Raises:
      ValueError: an option has another value; the message lists all such options.
    """
    faults = [
        f"{name} is {source.config[name]!r}, not {' or '.join(map(repr, legal))}"
        for name, legal in supported.items()
        if source.config.get(name, legal[0]) not in legal
    ]
    if faults:
        raise ValueError(f"{source.name} is an unknown variant of {family}: {'; '.join(faults)}")


@dataclasses.dataclass(frozen=True)
class Network:
    """Network with published weights, and its table; the module's docstring has an example.

    Attributes:
      module: Linen module, called with fields that JSON can hold.
      inputs: shapes and dtypes of the inputs of a call, or a function module -> these.
      fields: function source -> fields of the module, which raises a ValueError for a source that
        does not fit the module.
      rules: rules of the table.
      ignored: regular expressions of source keys that have no target.
      prepare: function source -> source with the keys of the table, where one leaf joins tensors.
    """

    module: Callable[..., nn.Module]
    inputs: tuple[PyTree, ...] | Callable[[nn.Module], tuple[PyTree, ...]]
    fields: Callable[[Source], dict[str, Any]]
    rules: tuple[Rule, ...]
    ignored: tuple[str, ...] = ()
    prepare: Callable[[Source], Source] = lambda source: source

    def abstract_leaves(self, module: nn.Module) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns path -> shape and dtype of every leaf of the module's variables."""
        inputs = self.inputs(module) if callable(self.inputs) else self.inputs
        variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
        return flatten_dict(nn.unbox(variables), sep="/")
