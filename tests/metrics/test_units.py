"""Scores of units, thresholds, opposed pairs; identity and diversity of embeddings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auface_jax.facs import AU_NUMBERS, labels_from_units
from auface_jax.metrics.identity import diversity, identity_similarity
from auface_jax.metrics.units import best_thresholds, conflict_accuracy, f1_scores, unit_scores

# --- Units ---------------------------------------------------------------------------------------


def test_precision_and_recall_equal_those_by_hand():
    predicted = np.array([[1, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]], np.int8)
    labels = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [1, 1, 0, -1], [0, 1, 0, 0]], np.int8)
    scores = unit_scores(predicted, labels)
    np.testing.assert_allclose(scores.precision, [1, 1 / 2, np.nan, 1 / 2])
    np.testing.assert_allclose(scores.recall, [2 / 3, 1 / 2, np.nan, 1])
    np.testing.assert_allclose(scores.f1, [4 / 5, 1 / 2, np.nan, 2 / 3])
    assert scores.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert np.isnan(unit_scores(0 * predicted, 0 * labels).macro_f1)


@given(st.integers(0, 300))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(seed):
    rng = np.random.default_rng(seed)
    predicted, labels = rng.integers(0, 2, (2, 20, 12)).astype(np.int8)
    labels[rng.random(labels.shape) < 0.1] = -1
    scores = unit_scores(predicted, labels)
    p, r = scores.precision, scores.recall
    both = p + r > 0
    np.testing.assert_allclose(scores.f1[both], (2 * p * r)[both] / (p + r)[both])


@given(st.integers(0, 300))
def test_no_threshold_has_a_higher_f1_than_the_best(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 2, (30, 12)).astype(np.int8)
    probabilities = np.clip(0.3 * labels + rng.normal(0.4, 0.2, labels.shape), 0, 1)
    best = best_thresholds(probabilities, labels)
    assert best.dtype == np.float32 and (best >= 0).all() and (best < 1).all()
    found = f1_scores((probabilities >= best).astype(np.int8), labels)
    for threshold in np.linspace(0, 1, 41):
        other = f1_scores((probabilities >= threshold).astype(np.int8), labels)
        assert (found >= other - 1e-9).all()


def test_thresholds_stay_near_the_middle_where_many_are_equally_good():
    probabilities = np.array([[0.1, 0.2, 0.9], [0.2, 0.3, 0.3], [0.9, 0.9, 0.1]])
    labels = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 1]], np.int8)
    # Any threshold from 0.2 to 0.9 separates the first unit; the others never or always occur.
    np.testing.assert_allclose(best_thresholds(probabilities, labels), [0.5, 0.5, 0.5], atol=0.06)


# --- Opposed pairs -------------------------------------------------------------------------------


def test_conflict_is_right_if_both_opposed_units_are_read():
    asked = [(12, 15), (12, 15), (6, 12, 15), (1, 2, 4), (1, 4), (10, 14)]
    shown = [(12, 15), (12,), (12, 15), (1, 4), (1, 4), ()]
    labels, predicted = (np.stack([labels_from_units(u) for u in rows]) for rows in (asked, shown))
    found = conflict_accuracy(predicted, labels)
    assert found["AU12+AU15"] == (pytest.approx(2 / 3), 3)  # 6+12+15 contains it
    assert found["AU6+AU12+AU15"] == (1.0, 1)  # whether 6 shows is another question
    assert found["AU1+AU4"] == (1.0, 2)
    assert found["AU1+AU2+AU4"] == (0.0, 1)  # 2 against 4 was lost
    assert found["AU12+AU15+AU17"][1] == 0 and np.isnan(found["AU12+AU15+AU17"][0])
    assert found["all"] == (pytest.approx(3 / 5), 5)


def test_conflict_accuracy_is_one_for_the_labels_and_zero_for_no_unit():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (500, len(AU_NUMBERS))).astype(np.int8)
    assert all(share == 1 for share, _ in conflict_accuracy(labels, labels).values())
    assert all(share == 0 for share, _ in conflict_accuracy(0 * labels, labels).values())


# --- Embeddings ----------------------------------------------------------------------------------


def test_identity_is_one_for_equal_and_minus_one_for_opposite_embeddings():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 8))
    np.testing.assert_allclose(identity_similarity(3 * a, a), 1.0)
    np.testing.assert_allclose(identity_similarity(-a, a), -1.0)
    b = rng.normal(size=(4, 8))
    by_hand = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(identity_similarity(a, b), by_hand)


def test_diversity_is_the_mean_distance_of_all_pairs():
    rng = np.random.default_rng(1)
    drawn = rng.normal(size=(4, 3, 8))
    by_hand = [
        np.mean(
            [
                1 - identity_similarity(drawn[i, [m]], drawn[j, [m]])[0]
                for i in range(4)
                for j in range(i)
            ]
        )
        for m in range(3)
    ]
    np.testing.assert_allclose(diversity(drawn), by_hand)
    np.testing.assert_allclose(diversity(np.repeat(drawn[:1], 5, 0)), 0.0, atol=1e-12)


def test_invalid_embeddings_are_refused():
    good = np.ones((2, 4))
    with pytest.raises(ValueError, match=r"\(2, 4\) pictures and \(3, 4\) references"):
        identity_similarity(good, np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"1 embedding\(s\) are zero or not finite.*\[1\]"):
        identity_similarity(good, np.array([[1.0] * 4, [0.0] * 4]))
    with pytest.raises(ValueError, match="two or more"):
        diversity(good[None])
