"""Build, count and load of a data set as large as the paper's, of tiny images.

    python -m benchmarks.data_build --work DIR [--records 300000] [--processes 2]

It writes noise images of 16 x 16 pixels for 181 people, as many as BP4D and BP4D+ have, with label
vectors sampled at BP4D's rates, as a folder with a table. Then it builds a data set of them, counts
its records, and takes an epoch of training batches. So it measures the cost of a record besides its
pixels. Each step is measured by the wall clock and by processor time, which does not depend on
other programs. DIR keeps the folder, so that a second run only builds.
"""

import argparse
import csv
import json
import pathlib
import resource
import shutil
import subprocess
import sys
import time

import numpy as np
from PIL import Image

from auface_jax.data.build.unseen import combination_codes
from auface_jax.data.loading import pipeline
from auface_jax.data.shards import ShardReader, read_info
from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.faces.sampler import sample_intensities
from auface_jax.facs import AU_NUMBERS

PEOPLE = 181
SIZE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for all of it")
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()

    source = options.work / f"source-{options.records}"
    if not source.is_dir():
        with Step("write the pictures", options.records):
            write_source(source, options.records)
    out = options.work / "set"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "auface_jax.data.build", "--source", "folder"]
    command += ["--labels", str(source / "labels.csv"), "--size", str(SIZE), "--out", str(out)]
    command += ["--processes", str(options.processes), "--shard-mib", "16"]
    command += ["--held-out-rows", "0.1", "--novel-rows", "2000"]
    with Step("build", options.records):
        subprocess.run(command, check=True)
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"memory: the largest process had {largest:.2f} GiB, all {options.processes + 1} at most "
        f"{largest * (options.processes + 1):.2f} GiB"
    )

    info = read_info(out)
    records = sum(count for name, count in info["counts"].items() if name != "unseen_novel")
    print(f"counts: {json.dumps(info['counts'])}, left out: {json.dumps(info['left_out'])}")
    if records + sum(info["left_out"].values()) != options.records:
        sys.exit(f"{options.records} pictures became {records} records: some were lost")
    names = {"train", "val", "test", "unseen_held_out"} & info["counts"].keys()
    with Step("count", records):
        count(out, sorted(names))
    trained = info["counts"]["train"]
    with Step("load an epoch", trained):
        load_epoch(out, trained)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"memory: counting and loading had {peak:.2f} GiB at most")


class Step:
    """Prints wall clock and processor time of a step, of this process and its children."""

    def __init__(self, name: str, records: int):
        self._name, self._records = name, records

    def __enter__(self) -> None:
        self._wall, self._processor = time.perf_counter(), processor_seconds()

    def __exit__(self, *_) -> None:
        wall = time.perf_counter() - self._wall
        processor = processor_seconds() - self._processor
        print(
            f"{self._name}: {self._records:,} records in {wall:.1f} s by the wall clock, "
            f"{processor:.1f} s of processor time: {1e3 * processor / self._records:.3f} ms each",
            flush=True,
        )


def processor_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def write_source(folder: pathlib.Path, records: int) -> None:
    """Writes images and `labels.csv`; a tenth of each person's frames is neutral."""
    rng = np.random.default_rng(0)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with open(partial / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["subject", "task", "frame", "path", *(f"AU{n}" for n in AU_NUMBERS)])
        for index in range(records):
            frame, person = divmod(index, PEOPLE)
            path = pathlib.Path(f"P{person:03d}") / f"{frame}.png"
            if frame == 0:
                (partial / path.parent).mkdir()
            pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(partial / path, compress_level=1)
            labels = np.zeros(12) if frame % 10 == 0 else sample_intensities(rng) > 0
            table.writerow([f"P{person:03d}", "T1", frame, path, *labels.astype(int)])
    partial.rename(folder)


def count(directory: pathlib.Path, names: list[str]) -> None:
    """Reads every record and prints entries and occurrences, as the paper's Figure 2 counts."""
    entries = combined = occurrences = 0
    rows = set()
    for name in names:
        for record in ShardReader(directory, name):
            number = sum("+" in construct for construct in record.constructs)
            active = bool(record.constructs)
            entries, combined = entries + active, combined + (number > 0)
            occurrences += number
            rows.add(int(combination_codes(record.labels)))
    print(
        f"of {entries:,} records with an active unit {combined / entries:.1%} have a combination, "
        f"{occurrences / entries:.2f} each; {len(rows)} label rows"
    )


def load_epoch(directory: pathlib.Path, records: int) -> None:
    batch = 256
    batches = pipeline.training_iterator(
        directory, batch, 0, load_tokenizer(), (128, 256, 512), size=SIZE
    )
    for _ in range(records // batch):
        next(batches)


if __name__ == "__main__":
    main()
