"""Cost of a compiled step, read from the program: collectives, FLOPs, bytes."""

import collections
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding

PyTree = Any

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2}
_BYTES |= {"s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_COLLECTIVE = re.compile(rf"= (.+?) ({'|'.join(KINDS)})(-start)?\((.*?)\)(?:, \w+=|$)")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}|(?:true|false)_computation=%?([\w.\-]+)")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_LIMIT = re.compile(r"= s32\[\]\S* constant\((\d+)\)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
# Groups of devices: all listed, or their number and size, or the axes of a mesh (or parts of them).
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_COUNTED = re.compile(r"replica_groups=\[\d+,(\d+)\]")
_BY_AXES = re.compile(r"replica_groups=mesh\[(.*?)\].*?\{(.*?)\}")


@dataclasses.dataclass(frozen=True)
class Collective:
    """Collective operation between devices.

    Attributes:
      kind: one of `KINDS`.
      shapes: of its result on a device, as XLA writes them: "f32[8,16]".
      size: bytes of that result.
      group: devices that take part together.
    """

    kind: str
    shapes: tuple[str, ...]
    size: int
    group: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends, by the usual ring algorithms."""
        share = (self.group - 1) / max(1, self.group)
        times = {
            "all-gather": share,
            "all-reduce": 2 * share,
            "reduce-scatter": self.group - 1,  # of what goes in, `group` times the result
            "all-to-all": share,
            "collective-permute": 1.0,
        }
        return self.size * times[self.kind]


def collectives(program: str, devices: int) -> collections.Counter[Collective]:
    """Returns the collectives of one run of a program, and the number of times that each runs.

    A loop counts as often as it runs, by XLA's own word or the limit in its condition, or once
    where neither is there; of a conditional's branches that one counts which sends most. What a TPU
    does in pieces, fused with other work, is one exchange: its pieces have one channel.

    Args:
      program: `compiled.as_text()`.
      devices: of the whole mesh.
    """
    own, calls, limits, name, entry = {}, {}, {}, "", ""
    for line in program.splitlines():
        if header := _COMPUTATION.match(line):
            name = header[2]
            entry = name if header[1] else entry
            own[name], calls[name], limits[name] = collections.Counter(), [], []
        elif found := _COLLECTIVE.search(line):
            channel = _CHANNEL.search(line)
            one = channel and channel[1], _collective(line, *found.groups(), devices)
            own[name][one] += 1
        elif name:
            limits[name] += map(int, _LIMIT.findall(line))
            trips, condition = _TRIPS.search(line), _CONDITION.search(line)
            # Conditions stand before the loops that they end. A TPU's say what XLA leaves out.
            known = [int(trips[1])] if trips else limits[condition[1]] if condition else []
            times = known[0] if len(known) == 1 else 1
            fused = " fusion(" in line
            calls[name] += [(times, fused, [called]) for called in _CALLED.findall(line)]
            branches = ",".join(listed or one for listed, one in _BRANCHES.findall(line))
            calls[name] += [(1, False, re.findall(r"[\w.\-]+", branches))] if branches else []

    def total(name: str) -> collections.Counter[tuple[str | None, Collective]]:
        counts = collections.Counter(own.get(name))
        for times, fused, branches in calls.get(name, ()):
            for (channel, one), count in max(map(total, branches), key=sent).items():
                if fused and channel:  # a piece of what is counted already, or the first
                    counts[channel, one] = max(counts[channel, one], count)
                else:
                    counts[channel, one] += times * count
        return counts

    def sent(counts) -> float:
        return sum(count * one.sent for (_, one), count in counts.items())

    found = collections.Counter()
    for (_, one), count in total(entry).items():
        found[one] += count
    return found


def _collective(
    line: str, result: str, kind: str, start: str | None, operands: str, devices: int
) -> Collective:
    found = [(f"{dtype}[{dims}]", _size(dtype, dims)) for dtype, dims in _SHAPE.findall(result)]
    if start and kind != "all-reduce":  # operands, as many results, and what the device keeps
        number = operands.count("%")
        found = found[number : 2 * number]
    shapes, sizes = zip(*found, strict=True)
    return Collective(kind, shapes, sum(sizes), _group(line) or devices)


def _group(line: str) -> int | None:
    """Returns the number of devices of a collective; None if it is among all devices."""
    if listed := _LISTED.search(line):
        return listed[1].count(",") + 1
    if counted := _COUNTED.search(line):
        return int(counted[1])
    if by_axes := _BY_AXES.search(line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", by_axes[1]))
        taken = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", by_axes[2])
        return math.prod(int(part or sizes[axis]) for axis, part in taken)
    return None


def _size(dtype: str, dims: str) -> int:
    return _BYTES.get(dtype, 4) * math.prod(int(n) for n in dims.split(",") if n)


def product_flops(function: Callable, *arguments: PyTree) -> int:
    """Counts the FLOPs of all matrix products and convolutions of a function, on any device.

    A `scan` counts as often as it runs, a `while_loop` once, and of a conditional's branches the
    dearest. Zeros that pad a convolution are multiplied, and count.

    Args:
      arguments: arrays or `jax.ShapeDtypeStruct`.
    """
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * math.prod(shape[d] for d in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            outputs = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
            # Zeros put between inputs, as a stride's gradient does, are not multiplied.
            between = math.prod(params["lhs_dilation"])
            total += 2 * equation.outvars[0].aval.size * kernel.size // outputs // between
        times = params["length"] if name == "scan" else 1
        branches = [_flops(one.jaxpr) for one in params.get("branches", ())]
        inner = [
            _flops(getattr(value, "jaxpr", value))
            for key, value in params.items()
            if key != "branches" and (hasattr(value, "eqns") or hasattr(value, "jaxpr"))
        ]
        total += times * sum(inner) + max(branches, default=0)
    return total


def bytes_on_a_device(abstract: PyTree, shardings: PyTree) -> tuple[int, int]:
    """Returns the bytes of a tree of `jax.ShapeDtypeStruct`: on one device, and in all."""

    def sizes(leaf, sharding: NamedSharding):
        part = math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        return part, leaf.size * leaf.dtype.itemsize

    found = jax.tree.leaves(jax.tree.map(sizes, abstract, shardings))
    return sum(found[::2]), sum(found[1::2])
