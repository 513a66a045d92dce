"""How fast training batches are made, against the bare decoding of the same pictures.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --data DIR --rounds 9
    python benchmarks/pipeline.py --memory-minutes 10

Rounds alternate between the pipeline and the decoder alone (Pillow, bytes in memory to an array),
on equally many images and threads, so that whatever else the machine does troubles both. A round
of the pipeline begins with its buffer full and ends when it is full again, so that all its work
is in its own time. Each is given by the wall clock and by the processor time of this process,
which other programs cannot take; a ratio to `decode` is the median over the rounds. `quick` is the
decoder that the pipeline itself has, as bare as Pillow's, and `of_quick` a ratio to it. `pipeline`
reads the set as if it had 300,000 records, all of which are decoded each time; `kept` is the
pipeline on the set as it is, which decodes a small one once.
"""

import argparse
import concurrent.futures
import io
import itertools
import json
import pathlib
import resource
import statistics
import sys
import threading
import time
from unittest import mock

import numpy as np
from PIL import Image

_START = time.perf_counter()

from auface_jax.data import build, pipeline, records  # noqa: E402
from auface_jax.data.shards import ShardReader  # noqa: E402
from auface_jax.data.tokenizer import load_tokenizer  # noqa: E402

_IMPORT_SECONDS = time.perf_counter() - _START

THREADS = 2  # as many as the pipeline has
# What is measured when no data set is named: the quickstart's, and the paper's size.
DEFAULTS = {
    "datasets/builtin-360x12-64px-seed0": {"people": 360, "frames": 12, "size": 64, "seed": 0},
    "datasets/builtin-16x32-256px-jpeg": {
        "people": 16, "frames": 32, "size": 256, "image_format": "jpeg",
    },
}  # fmt: skip


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def bare_decode(decode, encoded: list[bytes], pool: concurrent.futures.Executor) -> None:
    """The pictures as arrays, which are thrown away."""

    def decode_all(part: list[bytes]) -> None:
        for data in part:
            decode(data)

    list(pool.map(decode_all, (encoded[start::THREADS] for start in range(THREADS))))


def timed(work, *arguments) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - wall, time.process_time() - processor


def measure(directory: pathlib.Path, *, images: int, rounds: int, batch_size: int) -> dict:
    """Images a second of the pipeline and of the decoder, and their ratio."""
    reader = ShardReader(directory, "train")
    size = reader.info["size"]

    began = time.perf_counter()
    kept, stream = open_pipeline(directory, size, batch_size)
    next(kept)
    start_up = time.perf_counter() - began
    iterators = {
        "pipeline": open_pipeline(directory, size, batch_size, large=True),
        "kept": (kept, stream),
    }

    order = np.random.default_rng(0).permutation(len(reader))[:images].tolist()
    encoded = [record.image for record in map(reader.__getitem__, order)]
    encoded = list(itertools.islice(itertools.cycle(encoded), images))
    steps = images // batch_size

    def run(iterator, stream, steps=steps) -> None:
        full = stream.made + steps
        for _ in range(steps):
            next(iterator)
        while stream.made < full:
            time.sleep(0.0005)

    decoders = {
        "decode": pillow,
        "quick": lambda data: records._decode_quickly(data, size, mirrored=False),
    }
    for data in encoded:
        np.testing.assert_array_equal(decoders["quick"](data), decoders["decode"](data))
    took = {name: [] for name in (*decoders, *iterators)}
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for iterator, stream in iterators.values():
            next(iterator)
            wait_until_full(stream)
        # References, sentences and file caches are warm from here on, and four epochs decode most
        # of the pictures that are kept in both directions.
        run(*iterators["pipeline"])
        run(*iterators["kept"], 4 * len(reader) // batch_size + 1)
        for _ in range(rounds):
            for name, decode in decoders.items():
                work = timed(bare_decode, decode, encoded[: steps * batch_size], pool)
                took[name].append(work)
            for name, iterator in iterators.items():
                took[name].append(timed(run, *iterator))

    result = {"size": size, "format": Image.open(io.BytesIO(encoded[0])).format, "images": images}
    result["start_up_seconds"] = round(start_up, 2)
    for number, clock in enumerate(("wall", "processor")):
        rates = {
            name: [steps * batch_size / seconds[number] for seconds in all_seconds]
            for name, all_seconds in took.items()
        }
        result[clock] = {name: round(statistics.median(r)) for name, r in rates.items()}
        for name in iterators:
            ratios = [p / d for p, d in zip(rates[name], rates["decode"], strict=True)]
            result[clock][f"{name}_ratio"] = round(statistics.median(ratios), 3)
            result[clock][f"{name}_ratios"] = [round(ratio, 2) for ratio in sorted(ratios)]
            of_quick = [p / q for p, q in zip(rates[name], rates["quick"], strict=True)]
            result[clock][f"{name}_of_quick"] = round(statistics.median(of_quick), 3)
    return result


class Repeated(ShardReader):
    """A split again and again, as large as the paper's: too large to be kept."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._number = super().__len__()

    def __len__(self) -> int:
        return 300_000

    def decode(self, index, data):
        return super().decode(index % self._number, data)

    def read(self, indices):
        return super().read([index % self._number for index in indices])


class Counted(pipeline._Stream):
    """A stream that counts the batches it has made."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.made, self._counting = 0, threading.Lock()

    def __getitem__(self, number):
        batch = super().__getitem__(number)
        with self._counting:
            self.made += 1
        return batch


def wait_until_full(stream: Counted) -> None:
    """Returns when a second long nothing was made ahead."""
    made = -1
    while made < stream.made:
        made = stream.made
        time.sleep(1)


def open_pipeline(directory: pathlib.Path, size: int, batch_size: int, *, large: bool = False):
    """The iterator of training, on the set as it is or as if it were large, and its stream."""
    streams = []

    def stream(*arguments, **options) -> Counted:
        streams.append(Counted(*arguments, **options))
        return streams[0]

    reader = Repeated if large else ShardReader
    with mock.patch.multiple(pipeline, ShardReader=reader, _Stream=stream):
        iterator = pipeline.training_iterator(
            directory, batch_size, 0, load_tokenizer(), (128, 256, 512, 1024), size=size
        )
    return iterator, streams[0]


def watch_memory(directory: pathlib.Path, *, minutes: float, batch_size: int) -> dict:
    """Resident memory while pictures are decoded into batches, in MiB, at ten times."""
    size = ShardReader(directory, "train").info["size"]
    iterator, _ = open_pipeline(directory, size, batch_size, large=True)
    end, seen, steps = time.monotonic() + 60 * minutes, [], 0
    for tenth in range(1, 11):
        while time.monotonic() < end - 60 * minutes * (1 - tenth / 10):
            next(iterator)
            steps += 1
        seen.append(resident_mebibytes())
    return {
        "size": size,
        "minutes": minutes,
        "images": steps * batch_size,
        "resident_mebibytes": seen,
        "growth_after_the_first_tenth": round(seen[-1] - seen[0], 1),
    }


def resident_mebibytes() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/pipeline.py", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--data", action="append", metavar="DIR", help="a built set; repeatable")
    parser.add_argument("--images", type=int, default=1024, help="a round (default 1024)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--memory-minutes", type=float, metavar="M", help="watch memory for so long instead"
    )
    options = parser.parse_args(arguments)
    if not options.data:
        for directory, description in DEFAULTS.items():
            build.build_if_absent({"source": "builtin"} | description, directory)
    print(f"imports: {_IMPORT_SECONDS:.2f} s", file=sys.stderr)
    for directory in map(pathlib.Path, options.data or DEFAULTS):
        if options.memory_minutes:
            result = watch_memory(
                directory, minutes=options.memory_minutes, batch_size=options.batch_size
            )
        else:
            result = measure(
                directory,
                images=options.images,
                rounds=options.rounds,
                batch_size=options.batch_size,
            )
        print(json.dumps({"data": str(directory)} | result), flush=True)


if __name__ == "__main__":
    main()
