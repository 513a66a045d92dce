"""Recognisers: their roles, their input and annotated pictures."""

import numpy as np
import pytest

from auface_jax.images import frames
from auface_jax.recognition import finished_runs, pictures
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.runs import checkpoints
from tests.helpers import tiny
from tests.helpers.recognizer_runs import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "score")


def test_overlay_bars_are_as_long_as_the_probabilities():
    image = np.zeros((8, 8, 3), np.uint8)
    frame = frames.Frame(None, 0, True, image)
    values = np.linspace(0, 1, 12)
    page = np.asarray(pictures.overlay(frame, values)).astype(int)
    line = page.shape[0] / 12
    lengths = []
    for row in range(12):
        across = page[round((row + 0.2) * line) + 2]
        filled = (np.abs(across - [0xB8, 0xC4, 0xD0]).max(1) < 8) | (
            np.abs(across - [0xD9, 0x53, 0x4F]).max(1) < 8
        )
        lengths.append(filled.sum())
    np.testing.assert_allclose(lengths, 150 * values, atol=3)


def test_larger_faces_are_resized_to_the_size_of_the_network(run):
    recognizer = load_recognizer(run)
    small = tiny.images(3)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_allclose(recognizer(large), recognizer(small), atol=0.1)


def test_recognizers_of_the_other_role_are_refused(run, tmp_path):
    loss = write_run(tmp_path / "loss", role="loss", seed=1)
    evaluator, trainer = load_recognizer(run, role="score"), load_recognizer(loss, role="loss")
    assert evaluator.fingerprint != trainer.fingerprint
    load_recognizer(run, role="score", forbidden={"the loss network": trainer.fingerprint})
    with pytest.raises(checkpoints.CheckpointError, match="'loss'.*'score'.*configs/au_image.py"):
        load_recognizer(loss, role="score")
    with pytest.raises(checkpoints.CheckpointError, match="'score'.*configs/au_image_loss.py"):
        load_recognizer(run, role="loss")
    with pytest.raises(ValueError, match="role 'judge' is not one of loss, score"):
        load_recognizer(run, role="judge")


def test_copy_under_another_role_is_refused(run, tmp_path):
    twin = write_run(tmp_path / "twin", role="loss")
    trainer = load_recognizer(twin, role="loss")
    assert trainer.fingerprint == load_recognizer(run).fingerprint
    with pytest.raises(checkpoints.CheckpointError, match="the same weights.*the loss network"):
        load_recognizer(run, role="score", forbidden={"the loss network": trainer.fingerprint})


def test_runs_of_other_tasks_are_refused(tmp_path, monkeypatch):
    other = write_run(tmp_path / "probe", task="au_probe")
    with pytest.raises(checkpoints.CheckpointError, match="of the task au_probe"):
        load_recognizer(other)
    with pytest.raises(checkpoints.CheckpointError, match="does not exist"):
        load_recognizer(tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match="Train one .*configs/au_image.py"):
        finished_runs.find_run("")
