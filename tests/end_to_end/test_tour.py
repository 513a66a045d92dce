"""The notebook of the guide runs from its first cell to its last on a tiny run."""

from pathlib import Path

import pytest

from tests.helpers.evaluation_runs import build_data, write_runs

ROOT = Path(__file__).resolve().parents[2]
TOUR = ROOT / "docs" / "guide" / "tour.ipynb"
DEFAULT = 'RUN = "runs/stage2-quickstart"'

nbformat = pytest.importorskip("nbformat", reason="the extra docs: make docs")


@pytest.fixture(scope="module")
def tour():
    return nbformat.read(TOUR, as_version=4)


def test_tour_is_valid_and_has_no_results(tour):
    nbformat.validate(tour)
    for cell in tour.cells:
        assert not cell.get("outputs") and not cell.get("execution_count"), cell.source


@pytest.mark.slow
def test_tour_runs_and_shows_pictures(tour, tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="the extra docs: make docs")
    data = build_data(tmp_path / "data")
    runs = write_runs(tmp_path / "runs", data, ("stage1", "au_probe", "stage2"))
    [setup] = [cell for cell in tour.cells if DEFAULT in cell.source]
    setup.source = setup.source.replace(DEFAULT, f"RUN = {str(runs['stage2'])!r}")
    client = nbclient.NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(ROOT)}})
    client.execute()
    outputs = [output for cell in tour.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    # Open faces, quantizer levels, generated pictures, attention.
    assert len(pictures) == 4
    text = "".join(output.get("text", "") for output in outputs)
    assert "constructs:" in text and "level 0:" in text
