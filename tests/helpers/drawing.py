"""Runs with random weights to draw from, and a stand-in for the program that draws."""

import pathlib

from auface_jax.generation import generator as drawing
from tests.helpers import tiny
from tests.helpers.evaluation_runs import write_runs


def write_drawing_folder(folder: pathlib.Path) -> pathlib.Path:
    """Writes `data` and `runs/stage2`, with Stage I beside it; weights are random."""
    write_runs(folder / "runs", tiny.build_data(folder / "data"), ("stage1", "stage2"))
    return folder


def draw_references_only(monkeypatch) -> list[int]:
    """Replaces the program that draws by one that returns the references, which saves time.

    Returns:
      A list that gets the batch size of each call.
    """
    sizes = []

    def draw_references(networks, options, weights, records, keys):
        sizes.append(len(keys))
        return records["reference"]

    monkeypatch.setattr(drawing, "generate_batch", draw_references)
    return sizes
