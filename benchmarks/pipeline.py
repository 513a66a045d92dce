"""Speed of training batches, compared with the bare decoding of the same images.

    python -m benchmarks.pipeline
    python -m benchmarks.pipeline --data DIR --rounds 9
    python -m benchmarks.pipeline --workers 2 --images 8192
    python -m benchmarks.pipeline --memory-minutes 10

Rounds alternate between the pipeline and the decoder alone (Pillow, bytes in memory to an array),
on equally many images and threads, so that other work on the machine disturbs both alike. A round
of the pipeline begins with full buffers and ends when they are full again, so that it contains all
of its work; batches are counted in a file as they are made, so that this includes the buffers of
worker processes. Figures are by the wall clock and by the processor time of this process and its
workers, which does not depend on other programs; a ratio to `decode` is the median over the rounds.
`quick` is the decoder of the pipeline by itself, and `of_quick` a ratio to it. `pipeline` reads the
set as if it had 300,000 records, all of which are decoded each time; `kept` reads the set as it is,
and a small set is decoded once.
"""

import argparse
import atexit
import concurrent.futures
import functools
import io
import itertools
import json
import multiprocessing
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import threading
import time
from unittest import mock

import numpy as np
from PIL import Image

_START = time.perf_counter()

from auface_jax.data.build import builder
from auface_jax.data.loading import chosen_people, pipeline
from auface_jax.data.loading.stream import BatchStream, open_stream
from auface_jax.data.record import _decode_quickly
from auface_jax.data.shards import ShardReader
from auface_jax.data.tokenizer import load_tokenizer

_IMPORT_SECONDS = time.perf_counter() - _START

THREADS = 2  # as many as the pipeline has
# Data sets that are measured by default: the quickstart's, and the paper's size.
DEFAULTS = {
    "datasets/builtin-360x12-64px-seed0": {"people": 360, "frames": 12, "size": 64, "seed": 0},
    "datasets/builtin-16x32-256px-jpeg": {
        "people": 16, "frames": 32, "size": 256, "image_format": "jpeg",
    },
}  # fmt: skip


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def bare_decode(decode, encoded: list[bytes], pool: concurrent.futures.Executor) -> None:
    """Decodes the images to arrays and drops them."""

    def decode_all(part: list[bytes]) -> None:
        for data in part:
            decode(data)

    list(pool.map(decode_all, (encoded[start::THREADS] for start in range(THREADS))))


def timed(work, *arguments) -> tuple[float, float]:
    """Returns wall and processor seconds."""
    wall, processor = time.perf_counter(), processor_seconds()
    work(*arguments)
    return time.perf_counter() - wall, processor_seconds() - processor


def processor_seconds() -> float:
    """Returns the processor time of this process and its children, over all of their threads."""
    seconds = time.process_time()
    for process in multiprocessing.active_children():
        for thread in pathlib.Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            seconds += int(thread.read_text().split()[0]) / 1e9
    return seconds


def measure(
    directory: pathlib.Path, *, images: int, rounds: int, batch_size: int, workers: int
) -> dict:
    """Measures images per second of the pipeline and of the decoder, and their ratio."""
    reader = ShardReader(directory, "train")
    size = reader.info["size"]

    began = time.perf_counter()
    kept, made_kept = open_pipeline(directory, size, batch_size, workers=workers)
    next(kept)
    start_up = time.perf_counter() - began
    iterators = {
        "pipeline": open_pipeline(directory, size, batch_size, large=True, workers=workers),
        "kept": (kept, made_kept),
    }

    order = np.random.default_rng(0).permutation(len(reader))[:images].tolist()
    encoded = [record.image for record in map(reader.__getitem__, order)]
    encoded = list(itertools.islice(itertools.cycle(encoded), images))
    steps = images // batch_size

    def run(iterator, made, steps=steps) -> None:
        full = made.sum() + steps
        for _ in range(steps):
            next(iterator)
        while made.sum() < full:
            time.sleep(0.0005)

    decoders = {
        "decode": pillow,
        "quick": lambda data: _decode_quickly(data, size, mirrored=False),
    }
    for data in encoded:
        np.testing.assert_array_equal(decoders["quick"](data), decoders["decode"](data))
    took = {name: [] for name in (*decoders, *iterators)}
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for iterator, made in iterators.values():
            next(iterator)
            wait_until_full(made)
        # References, sentences and file caches are warm from here on, and four epochs decode most
        # of the images that are cached in both directions.
        run(*iterators["pipeline"])
        run(*iterators["kept"], 4 * len(reader) // batch_size + 1)
        for _ in range(rounds):
            for name, decode in decoders.items():
                work = timed(bare_decode, decode, encoded[: steps * batch_size], pool)
                took[name].append(work)
            for name, iterator in iterators.items():
                took[name].append(timed(run, *iterator))

    for iterator, _ in iterators.values():
        iterator.close()

    result = {"size": size, "format": Image.open(io.BytesIO(encoded[0])).format, "images": images}
    result |= {"batch_size": batch_size, "workers": workers}
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
    """Repeats a split to the size of the paper's, which is too large for the cache."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._number = super().__len__()

    def __len__(self) -> int:
        return 300_000

    def decode(self, index, data):
        return super().decode(index % self._number, data)

    def read(self, indices):
        return super().read([index % self._number for index in indices])


class Counted:
    """Stream that counts its batches in a file that other processes read."""

    def __init__(self, stream: BatchStream, made: str):
        self._stream, self._counting = stream, threading.Lock()
        self.max_bytes = stream.max_bytes
        self._made = np.memmap(made, np.int64)  # a number for each worker, so that nobody waits

    def __len__(self) -> int:
        return len(self._stream)

    def __getitem__(self, number):
        batch = self._stream[number]
        with self._counting:
            self._made[number % len(self._made)] += 1
        return batch


def open_counted(*arguments, reader, made: str, **options) -> Counted:
    """Makes the counted stream of training with another reader of shards."""
    with mock.patch.object(chosen_people, "ShardReader", reader):
        return Counted(open_stream(*arguments, **options), made)


def wait_until_full(made: np.ndarray) -> None:
    """Waits until no batch was made ahead for one second."""
    before = -1
    while before < made.sum():
        before = made.sum()
        time.sleep(1)


def open_pipeline(
    directory: pathlib.Path, size: int, batch_size: int, *, large: bool = False, workers: int
):
    """Returns the iterator of training, on the set or as if it were large, and the counter."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(bytes(8 * max(1, workers)))
    atexit.register(os.unlink, file.name)
    opener = functools.partial(
        open_counted, reader=Repeated if large else ShardReader, made=file.name
    )
    with mock.patch.object(pipeline, "open_stream", opener):
        iterator = pipeline.training_iterator(
            directory,
            batch_size,
            0,
            load_tokenizer(),
            (128, 256, 512, 1024),
            size=size,
            workers=workers,
        )
    return iterator, np.memmap(file.name, np.int64, "r")


def watch_memory(directory: pathlib.Path, *, minutes: float, batch_size: int, workers: int) -> dict:
    """Samples the resident MiB of this process and its workers at ten times during decoding."""
    size = ShardReader(directory, "train").info["size"]
    iterator, _ = open_pipeline(directory, size, batch_size, large=True, workers=workers)
    end, seen, steps = time.monotonic() + 60 * minutes, [], 0
    for tenth in range(1, 11):
        while time.monotonic() < end - 60 * minutes * (1 - tenth / 10):
            next(iterator)
            steps += 1
        seen.append(resident_mebibytes())
    iterator.close()
    return {
        "size": size,
        "workers": workers,
        "minutes": minutes,
        "images": steps * batch_size,
        "resident_mebibytes": seen,
        "growth_after_the_first_tenth": round(sum(seen[-1]) - sum(seen[0]), 1),
    }


def resident_mebibytes() -> list[float]:
    processes = ["self", *sorted(process.pid for process in multiprocessing.active_children())]
    pages = [int(pathlib.Path(f"/proc/{p}/statm").read_text().split()[1]) for p in processes]
    return [round(number * resource.getpagesize() / 2**20, 1) for number in pages]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pipeline", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--data", action="append", metavar="DIR", help="a built set; repeatable")
    parser.add_argument("--images", type=int, default=1024, help="a round (default 1024)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=0, help="processes (default 0)")
    parser.add_argument(
        "--memory-minutes", type=float, metavar="M", help="watch memory for so long instead"
    )
    options = parser.parse_args(arguments)
    if not options.data:
        for directory, description in DEFAULTS.items():
            builder.build_if_absent({"source": "builtin"} | description, directory)
    print(f"imports: {_IMPORT_SECONDS:.2f} s", file=sys.stderr)
    for directory in map(pathlib.Path, options.data or DEFAULTS):
        if options.memory_minutes:
            result = watch_memory(
                directory,
                minutes=options.memory_minutes,
                batch_size=options.batch_size,
                workers=options.workers,
            )
        else:
            result = measure(
                directory,
                images=options.images,
                rounds=options.rounds,
                batch_size=options.batch_size,
                workers=options.workers,
            )
        print(json.dumps({"data": str(directory)} | result), flush=True)


if __name__ == "__main__":
    main()
