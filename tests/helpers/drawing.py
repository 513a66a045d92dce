"""Runs with random weights for generation, and a fast replacement of `generate_batch`."""

import pathlib

from auface_jax.generation import generator as drawing
from tests.helpers import tiny
from tests.helpers.evaluation_runs import write_runs


def write_drawing_folder(folder: pathlib.Path) -> pathlib.Path:
    """Writes `data`, `runs/stage1` and `runs/stage2` with random weights; returns the folder."""
    write_runs(folder / "runs", tiny.build_data(folder / "data"), ("stage1", "stage2"))
    return folder


def draw_references_only(monkeypatch) -> list[int]:
    """Replaces `generate_batch` by a function that returns the references, to save time.

    Returns:
      a list that receives the batch size of each call.
    """
    sizes = []

    def draw_references(networks, options, weights, records, keys):
        sizes.append(len(keys))
        return records["reference"]

    monkeypatch.setattr(drawing, "generate_batch", draw_references)
    return sizes
