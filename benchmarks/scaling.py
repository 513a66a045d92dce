"""Predicts the time of a step on other hardware from the results of `benchmarks/collectives.py`.

    python -m benchmarks.collectives --config configs/stage2.py:paper --topology v5e:4x4 --json F
    python -m benchmarks.scaling F

It prints a Markdown table with a row for each program. The model takes matrix products at the share
`--products` of the vendor's peak and memory traffic at the share `--memory` of its bandwidth, and
the longer of these two times. Collectives take no time if all are hidden, and their whole time if
none is. The efficiency is that of weak scaling: the step without collectives divided by the step
with them, at the same number of examples a device. A program compiled with `--unroll` supplies the
memory traffic of its twin with loops.
"""

import argparse
import dataclasses
import json
import pathlib


@dataclasses.dataclass(frozen=True)
class Device:
    """Hardware by the vendor's figures, in bytes and FLOPs per second.

    Attributes:
      name: name of the product.
      peak: FLOPs per second of products in bfloat16.
      memory: bytes of memory.
      bandwidth: bytes per second of the memory.
      sends: bytes per second that a device sends to others of its slice or machine: one direction
        of one link for each dimension of a TPU's slice, or of all of NVLink.
    """

    name: str
    peak: float
    memory: float
    bandwidth: float
    sends: float


# Start of a record's `where` -> device. Programs for GPUs are compiled for simulated devices.
DEVICES = {
    "v5e": (Device("v5e", 197e12, 16e9, 819e9, 2 * 50e9),),
    "v5p": (Device("v5p", 459e12, 95e9, 2_765e9, 3 * 100e9),),
    "8 simulated": (
        Device("H100 SXM", 989e12, 80e9, 3_350e9, 450e9),
        Device("H200 SXM", 989e12, 141e9, 4_800e9, 450e9),
    ),
}
# Fields that identify a program, apart from the compilation of its transformer's loops.
TWIN = ("config", "where", "mesh", "rows", "length")


def read(paths: list[pathlib.Path]) -> list[dict]:
    """Returns the programs with loops, with the bytes of their twins without loops."""
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    key = lambda record: json.dumps([record[name] for name in TWIN])  # noqa: E731
    whole = {key(one): one["bytes_moved"] for one in records if one["unrolled"]}
    return [
        one | {"bytes_moved": whole.get(key(one), one["bytes_moved"])}
        for one in records
        if not one["unrolled"]
    ]


def row(record: dict, device: Device, products: float, memory: float) -> list[str]:
    """Formats a program's row of the table."""
    compute = record["flop"] / (products * device.peak)
    moving = record["bytes_moved"] / (memory * device.bandwidth)
    sending = record["bytes_sent"] / device.sends
    alone = max(compute, moving)
    best, worst = max(alone, sending), alone + sending
    needed = record["state"] + record["frozen"] + record["temporary"]
    mesh = " x ".join(str(size) for size in record["mesh"].values())
    return [
        pathlib.Path(record["config"]).stem.replace(".py:", " "),
        f"{device.name}, {mesh}",
        f"{record['rows']}",
        f"{record['flop'] / 1e12:.2f}",
        f"{record['bytes_moved'] / 2**30:.1f}",
        f"{record['bytes_sent'] / 2**20:.0f}",
        f"{needed / 2**30:.1f} of {device.memory / 2**30:.1f}",
        *(f"{1e3 * seconds:.1f}" for seconds in (compute, moving, sending)),
        f"{1e3 * best:.0f}-{1e3 * worst:.0f}",
        f"{100 * alone / worst:.0f}-{100 * alone / best:.0f} %",
    ]


HEADER = (
    "step",
    "devices, mesh",
    "rows a device",
    "TFLOP",
    "GiB moved",
    "MiB sent",
    "GiB needed",
    "products ms",
    "memory ms",
    "exchange ms",
    "step ms",
    "efficiency",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("found", nargs="+", type=pathlib.Path, help="lines of collectives.py")
    parser.add_argument("--products", type=float, default=0.5, help="share of the peak")
    parser.add_argument("--memory", type=float, default=0.8, help="share of the bandwidth")
    arguments = parser.parse_args()
    lines = [
        row(record, device, arguments.products, arguments.memory)
        for record in read(arguments.found)
        for start, devices in DEVICES.items()
        if record["where"].startswith(start)
        for device in devices
    ]
    for cells in (HEADER, ["---"] * len(HEADER), *lines):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
