"""Everything in a picture besides the expression is independent of the labels."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import rankdata

from auface_jax import facs
from auface_jax.faces import sampler
from auface_jax.faces.mesh.beard import BEARDS
from auface_jax.faces.mesh.glasses import GLASSES

_TRAIN, _TEST, _FRAMES = 300, 150, 16  # people, people, frames of each
_HIDDEN = 256


@pytest.fixture(scope="module")
def frames():
    """Numbers of everything in N pictures but the expression, people one after another.

    Returns:
        Values [N, K], labels bool [N, 12], and the field of each of the K values.
    """
    seen, labels = [], []
    for index in range(_TRAIN + _TEST):
        # The same generators in the same order as in `sampler.person_frames`.
        person = sampler.sample_person(np.random.default_rng([3, index, 0]))
        recording = sampler.sample_scene(np.random.default_rng([3, index, 3]))
        for frame in range(sampler.NEUTRAL_FRAMES, sampler.NEUTRAL_FRAMES + _FRAMES):
            moment = sampler.sample_moment(recording, np.random.default_rng([3, index, 1, frame]))
            drawn = sampler.sample_intensities(np.random.default_rng([3, index, 2, frame]))
            numbers = _numbers(person) | _numbers(moment)
            seen.append(np.concatenate(list(numbers.values())))
            labels.append(drawn >= sampler.PRESENT)
    fields = [field for field, values in numbers.items() for _ in values]
    return np.array(seen), np.array(labels), np.array(fields)


def _numbers(described):
    """All fields of a person or a scene as numbers, by their names."""
    values = dataclasses.asdict(described)
    for field, names in (("beard", BEARDS), ("glasses", GLASSES)):
        if field in values:
            values[field] = [values[field] == name for name in names]
    if "hair_style" in values:
        values["hair_style"] = np.eye(16)[values["hair_style"]]
    return {field: np.ravel(value).astype(float) for field, value in values.items()}


def readable(seen, labels):
    """Distance from chance of a recogniser of each unit, on people it was not trained on.

    The recogniser is a network of one hidden layer, whose first weights are random and whose last
    are fitted by ridge regression: it sees every input itself and in nonlinear combinations.

    Returns:
        |AUC - 0.5| of each unit, in standard deviations of the AUC of random scores, which follow
        from the numbers of positives and negatives (Mann and Whitney).
    """
    split = _TRAIN * _FRAMES
    seen = (seen - seen[:split].mean(0)) / (seen[:split].std(0) + 1e-9)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((seen.shape[1], _HIDDEN)) / np.sqrt(seen.shape[1])
    hidden = np.tanh(2.0 * seen @ weights + rng.standard_normal(_HIDDEN))
    inputs = np.concatenate([seen, hidden, np.ones((len(seen), 1))], 1)
    gram = inputs[:split].T @ inputs[:split] + 30.0 * np.eye(inputs.shape[1])
    scores = inputs[split:] @ np.linalg.solve(gram, inputs[:split].T @ labels[:split])
    truth = labels[split:]
    positive, negative = truth.sum(0), (~truth).sum(0)
    rank_sum = np.where(truth, rankdata(scores, axis=0), 0.0).sum(0)
    auc = (rank_sum - positive * (positive + 1) / 2) / (positive * negative)
    deviation = np.sqrt((positive + negative + 1) / (12.0 * positive * negative))
    return np.abs(auc - 0.5) / deviation


def test_recogniser_of_nuisances_is_at_chance(frames):
    seen, labels, _ = frames
    # Twelve units at once: 3.5 standard deviations are passed by chance once in 180 seeds.
    assert (readable(seen, labels) < 3.5).all()


@pytest.mark.parametrize(
    "field", ["shape", "hair_colour", "key", "background", "yaw", "blur", "jpeg_quality"]
)
def test_recogniser_of_nuisances_finds_a_planted_leak(frames, field):
    seen, labels, fields = frames
    seen = seen.copy()
    column = int(np.flatnonzero((fields == field) & (seen.std(0) > 0))[0])
    unit = facs.AU_NUMBERS.index(15)
    seen[:, column] += 0.75 * seen[:, column].std() * labels[:, unit]
    found = readable(seen, labels)
    assert found[unit] > 5 and found.argmax() == unit
