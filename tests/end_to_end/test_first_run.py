"""One command in an empty folder trains Stage II and the runs that it requires, at 16 px."""

import math
import subprocess
import sys

import pytest
from PIL import Image

from auface_jax.runs import checkpoints
from auface_jax.training.log import read_lines
from tests.helpers import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder in which Stage II was trained, empty before but for configs and data."""
    folder = tmp_path_factory.mktemp("generate")
    configs = tiny.write_config_files(folder / "configs", tiny.build_data(folder / "data"))
    done = subprocess.run(
        [sys.executable, "-m", "auface_jax.train", f"--config={configs / 'stage2.py'}:quickstart"],
        env=tiny.command_environment(),
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "output.txt").write_text(done.stdout)
    return folder


def test_required_runs_are_trained_first(folder):
    output = (folder / "output.txt").read_text()
    begun = {
        name: output.index(f"run: runs/{name}-quickstart")
        for name in ("stage1", "au_probe", "stage2")
    }
    assert max(begun, key=begun.get) == "stage2"
    assert "runs/stage1-quickstart is not there yet and this run builds on it" in output
    for name in ("stage1", "au_probe", "stage2"):
        assert checkpoints.has_export(folder / "runs" / f"{name}-quickstart")
    assert output.rstrip().splitlines()[-1].startswith("pictures: runs/stage2-quickstart/samples/")


def test_held_out_figures_are_comparable(folder):
    reports = read_lines(folder / "runs" / "stage2-quickstart" / "metrics.jsonl")
    figures = reports[-1]
    for name in (
        "ce",
        *(
            f"ce_{other}"
            for other in ("shuffled_text", "no_text", "no_reference", "shuffled_reference")
        ),
    ):
        # After so few steps cross-entropies are near the log of the codebook size.
        assert 0 < figures[f"eval/{name}"] < 2 * math.log(16)
        assert 0 < figures[f"eval/{name}_level0"] < 2 * math.log(16)
        if name != "ce":
            cost = 100 * (figures[f"eval/{name}"] / figures["eval/ce"] - 1)
            short = name.removeprefix("ce_")
            assert figures[f"eval/{short}_costs_percent"] == pytest.approx(cost, abs=1e-4)
    assert len({figures[f"eval/ce_{o}"] for o in ("shuffled_text", "no_text", "no_reference")}) == 3
    for name in ("generated", "real", "reference"):
        assert 0 <= figures[f"eval/au_f1_{name}"] <= 1
    samples = folder / "runs" / "stage2-quickstart" / "samples"
    last = samples / "step_000006.png"
    assert last.exists() and (samples / "step_000006_unit_sets.png").exists()
    assert Image.open(last).info["synthetic"] == "true"
