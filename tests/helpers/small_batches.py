"""A small data set and its batches, for tests of the input pipeline."""

import itertools
from pathlib import Path

import numpy as np

from tests.helpers.small_dataset import build_folder, write_folder

SIZE = 24
BUCKETS = (32, 64, 128, 256, 512, 1024, 2048)


def build_set(folder: Path) -> Path:
    """Builds a data set of seven people with eight frames each, five records in a shard."""
    labels = write_folder(folder / "faces", people=7, frames=8, size=SIZE)
    build_folder(labels, folder / "set", size=SIZE, shard_records=5)
    return folder / "set"


def take(iterator, count: int) -> list[dict]:
    """Takes the next `count` batches."""
    return list(itertools.islice(iterator, count))


def assert_same_batches(one: list[dict], two: list[dict]) -> None:
    """Asserts that batches are equal in names, dtypes and values."""
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def who(batch: dict) -> list[tuple[int, int]]:
    """Reads person and frame of each example from the red and green of its image."""
    return [tuple(int(v) // 10 for v in image[0, 0, :2]) for image in batch["image"]]
