"""The commands of `evaluate` that draw degrees and wordings, on untrained runs of 16 px."""

import json

import numpy as np
import pytest
from PIL import Image

from auface_jax import evaluate
from auface_jax.data.build.builder import build
from auface_jax.evaluation.degrees import DegreeScores
from auface_jax.evaluation.wording_agreement import KINDS, f1
from tests.helpers import evaluation_runs


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Runs on rendered faces, which have intensities."""
    folder = tmp_path_factory.mktemp("rendered")
    options = {"people": 6, "frames": 4, "size": 16, "processes": 1, "progress": False}
    build(folder / "data", source="builtin", fractions=(0.5, 0.2, 0.3), **options)
    names = ("stage1", "au_probe", "stage2")
    return evaluation_runs.write_runs(folder / "runs", folder / "data", names)


def test_wordings_writes_figures_texts_and_a_sheet(runs, tmp_path):
    out = tmp_path / "out"
    evaluate.main(["wordings", "--run", str(runs["stage2"]), "--rows", "2", "--out", str(out)])
    found = json.loads((out / "wordings.json").read_text())
    assert found["label_rows"] == len(found["texts"]) == 2
    assert all(len(set(texts)) > 5 and len(texts) == len(KINDS) == 10 for texts in found["texts"])
    assert 0 <= found["agreement"] <= 1 and {"f1_dictionary", "f1_corpus"} <= set(found)
    assert Image.open(out / "wordings.png").text["synthetic"] == "true"


def test_degrees_writes_figures_and_a_sheet(rendered, tmp_path):
    out = tmp_path / "out"
    command = ["degrees", "--run", str(rendered["stage2"]), "--limit", "6", "--pairs", "2"]
    evaluate.main([*command, "--out", str(out)])
    found = json.loads((out / "degrees.json").read_text())
    assert found["records"] == 6 and found["pairs"] == 24
    assert 0 <= found["right_pairs"] <= 1
    assert Image.open(out / "degrees.png").size[0] > 5 * 128


def test_degrees_of_records_without_intensities_are_refused(runs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command = ["degrees", "--run", str(runs["stage2"]), "--out", str(tmp_path / "out")]
        evaluate.main(command)
    assert "has records without intensities" in capsys.readouterr().err


def test_means_leave_out_units_that_never_occur():
    some = np.array([0.5, np.nan, *([1.0] * 10)])
    figures = DegreeScores(some, some, np.ones(12), 5, 2).figures()
    assert figures["spearman_generated"] == pytest.approx(10.5 / 11)
    assert np.isnan(figures["generated_AU2"])


def test_agreement_is_symmetric_and_one_for_equal_readings():
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 2, (3, 4, 12)) for _ in range(2))
    assert f1(one, one) == 1 and f1(one, 1 - one) == 0
    assert f1(one, other) == f1(other, one)
