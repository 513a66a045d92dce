"""The probe: F1 scores against hand-computed values, and learning from visible differences."""

import jax
import numpy as np
import pytest

from auface_jax.training.tasks.au_probe import AUProbeTask, f1_scores
from tests.helpers import tiny


def test_f1_equals_hand_computed_values():
    predicted = np.array([[1, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], np.int8)
    labels = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [1, 1, 0, -1], [0, 1, 0, 0]], np.int8)
    # 2 hits, 1 miss; 1 hit, 1 miss, 1 false alarm; a unit never present; uncoded labels ignored.
    scores = f1_scores(predicted, labels)
    np.testing.assert_allclose(scores, [4 / 5, 2 / 4, np.nan, 2 / 3])


def test_f1_is_one_for_perfect_and_zero_for_empty_predictions():
    labels = np.array([[1, 0], [0, 1], [1, 1]], np.int8)
    np.testing.assert_array_equal(f1_scores(labels, labels), [1, 1])
    np.testing.assert_array_equal(f1_scores(0 * labels, labels), [0, 0])


@pytest.mark.slow
def test_probe_learns_differences_between_image_and_reference():
    config = tiny.au_probe_config()
    config.optimizer.update({"learning_rate": 3e-3, "warmup_steps": 1})
    task = AUProbeTask(config, num_steps=200)
    batch = tiny.records(16)
    # The unit brightens one corner relative to the reference.
    batch["labels"][:, 1:] = 0
    batch["labels"][:, 0] = np.arange(16) % 2
    batch["reference"] = (batch["reference"] // 2).astype(np.uint8)
    batch["image"] = batch["reference"].copy()
    batch["image"][batch["labels"][:, 0] == 1, :8, :8] += 120
    state, step = jax.jit(task.init)(jax.random.key(0), batch), jax.jit(task.step)
    for number in range(60):
        state, metrics = step(state, {}, batch, jax.random.key(number))
    evaluation = task.evaluate(state, {}, {"test": batch})
    assert evaluation.figures["au_f1_real_AU1"] == 1
    assert evaluation.figures["au_f1_real"] == 1  # units that never occur are left out of the mean
    assert evaluation.figures["au_f1_reference"] < 0.7
    assert metrics["intensity_error"] < 0.05


@pytest.mark.parametrize("label", [0, 1])
def test_uncoded_units_have_no_gradient(label):
    config = tiny.au_probe_config()
    config.optimizer.muon_lr_multiplier = 0.0
    task = AUProbeTask(config, num_steps=10)
    batch = tiny.records(4)
    batch["labels"][:] = -1
    batch["labels"][:, 3] = label
    state = jax.jit(task.init)(jax.random.key(0), batch)
    after, metrics = jax.jit(task.step)(state, {}, batch, jax.random.key(0))
    mean = after.opt_state[1][0].mu["Dense_2"]["bias"]  # Adam's first moment
    assert np.flatnonzero(mean).tolist() == [3]
    of_units = metrics["loss"] - config.loss.intensity * metrics["intensity_error"]
    assert of_units == pytest.approx(np.log(2), abs=0.5)
