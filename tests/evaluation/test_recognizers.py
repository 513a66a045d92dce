"""Scores of recognisers on pictures whose units are known."""

import jax
import numpy as np
import pytest

from auface_jax.data.loading import pipeline
from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.evaluation import recognizers
from auface_jax.facs import AU_NUMBERS
from auface_jax.metrics.units import f1_scores
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.runs import checkpoints
from auface_jax.training.tasks.au_image import AUImageTask
from tests.helpers import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(tiny.build_data(tmp_path_factory.mktemp("scores") / "data"))


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    config = tiny.au_image_config(data=data)
    task = AUImageTask(config, config.num_steps)
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate("ab"):
        state = jax.jit(task.init)(jax.random.key(seed), tiny.records(1))
        checkpoints.save_export(folder / name, task.export(state), config, {})
    return [str(folder / name) for name in "ab"]


def test_each_recognizer_reads_every_picture_of_the_split(data, runs, monkeypatch):
    monkeypatch.setattr(recognizers, "_BATCH", 3)
    readers = [load_recognizer(run) for run in runs]
    whole = [pipeline.load_split(data, s, load_tokenizer(""), (64,)) for s in ("train", "test")]
    for split, expected in (("train", whole[:1]), ("test", whole[1:]), ("all", whole)):
        found, labels = recognizers.read_split(readers, data, split)
        if split != "all":  # which also has the validation people
            np.testing.assert_array_equal(labels, expected[0]["labels"])
            for reader, probabilities in zip(readers, found, strict=True):
                np.testing.assert_allclose(probabilities, reader(expected[0]["image"]), atol=1e-5)
        assert len(labels) >= sum(len(part["labels"]) for part in expected)


def test_table_leaves_cells_of_units_that_never_occur_empty():
    labels = np.zeros((4, 12), np.int8)
    labels[:2, 0], labels[1:, 1], labels[:, 2] = 1, 1, -1
    good, bad = labels.clip(0).astype(float), np.zeros((4, 12))
    lines = recognizers.table(["good", "bad"], [good, bad], labels).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[0] == ["F1, 4 pictures", "good", "bad", "always present"]
    always = f1_scores(np.ones_like(labels), labels)[:2]
    assert cells[2] == ["AU1", "1.000", "0.000", f"{always[0]:.3f}"]
    assert [row[0] for row in cells[2:-1]] == [f"AU{n}" for n in AU_NUMBERS]
    assert all(row[1:] == ["", "", ""] for row in cells[4:-1])
    assert cells[-1] == ["macro", "1.000", "0.000", f"{always.mean():.3f}"]


def test_command_prints_the_table_or_reports_an_error(data, runs, capsys):
    recognizers.main([*runs, "--data", data, "--split", "val"])
    header = capsys.readouterr().out.splitlines()[0]
    assert all(run in header for run in runs)
    with pytest.raises(SystemExit):
        recognizers.main([runs[0], "--data", data, "--split", "dev"])
    assert "has no split 'dev', only train, val, test" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        recognizers.main(["nowhere", "--data", data])
    assert "nowhere" in capsys.readouterr().err
