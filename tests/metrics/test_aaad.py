"""AAAD by its definition, computed slowly by hand, and the laws that it obeys."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auface_jax.facs import AU_NUMBERS, labels_from_units
from auface_jax.metrics.aaad import aaad, calibrate, cosines, derangement, floors, summary
from benchmarks import degradation
from benchmarks.degradation import (
    SHARES,
    degrade,
    fall,
    fall_of_readings,
    main,
    sample_labels,
    unsure,
)

LABELS = sample_labels(600, seed=0)
KINDS = ("labels", "unsure readers")


def pairs_of(kind):
    """Returns pictures and texts of the same labels as one kind of reader reads them."""
    if kind == "labels":
        return LABELS.astype(float), LABELS.astype(float)
    return unsure(LABELS, 1), unsure(LABELS, 2)


def small_pairs(count=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((count, 12)), rng.random((count, 12))


# --- The definition ------------------------------------------------------------------------------


def test_calibration_and_agreement_equal_those_by_hand():
    image, text = small_pairs()
    made, _ = small_pairs(seed=7)

    def cosine(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5

    truth = [cosine(image[i], text[i]) for i in range(5)]
    found = calibrate(image, text, seed=3)
    order = derangement(5, 3)
    shuffled = [cosine(image[i], text[order[i]]) for i in range(5)]
    every = [
        np.mean([cosine(image[i], text[p[i]]) for i in range(5)])
        for p in itertools.permutations(range(5))
        if all(p[i] != i for i in range(5))
    ]
    assert len(every) == 44
    assert found.c_max == pytest.approx(max(truth))
    assert found.c_min == pytest.approx(min(shuffled))
    assert found.mean_truth == pytest.approx(np.mean(truth))
    assert found.mean_shuffled == pytest.approx(np.mean(every))
    assert (found.pairs, found.left_out, found.seed) == (5, 0, 3)

    result = aaad(made, text, found)
    mean = np.mean([cosine(made[i], text[i]) for i in range(5)])
    assert result.mean_cosine == pytest.approx(mean)
    assert result.aaad == pytest.approx((mean - found.c_min) / (found.c_max - found.c_min))
    chance = (mean - np.mean(every)) / (np.mean(truth) - np.mean(every))
    assert result.chance == pytest.approx(chance)
    np.testing.assert_allclose(cosines(made, text), result.cosines)
    of_unit = [
        np.mean(
            [
                made[i, a] * text[i, a] / np.linalg.norm(made[i]) / np.linalg.norm(text[i])
                for i in range(5)
            ]
        )
        for a in range(12)
    ]
    np.testing.assert_allclose(result.contributions, of_unit)


def test_range_of_c_min_is_over_ten_derangements():
    image, text = pairs_of("unsure readers")
    lowest = [cosines(image, text[derangement(len(text), 5 + n)]).min() for n in range(10)]
    found = calibrate(image, text, seed=5)
    assert found.c_min == pytest.approx(lowest[0])
    assert (found.c_min_low, found.c_min_high) == pytest.approx((min(lowest), max(lowest)))
    assert found.c_min_low < found.c_min_high


@given(st.integers(2, 60), st.integers(0, 1_000))
def test_derangement_moves_every_element(count, seed):
    order = derangement(count, seed)
    assert (order != np.arange(count)).all()
    assert sorted(order) == list(range(count))
    np.testing.assert_array_equal(order, derangement(count, seed))


def test_derangements_are_equally_likely():
    drawn = [tuple(derangement(4, seed)) for seed in range(3_000)]
    counts = [drawn.count(order) for order in set(drawn)]
    assert len(counts) == 9 and min(counts) > 250 and max(counts) < 420


@given(st.integers(0, 500), st.floats(0.05, 1.0))
def test_cosines_do_not_depend_on_lengths(seed, scale):
    image, text = small_pairs(seed=seed)
    np.testing.assert_allclose(cosines(scale * image, text), cosines(image, text))
    np.testing.assert_allclose(cosines(text, image), cosines(image, text))
    np.testing.assert_allclose(cosines(image, image), 1.0)


def test_interval_contains_the_score_and_narrows_with_pairs():
    image, text = pairs_of("unsure readers")
    calibration = calibrate(image, text)
    few, many = aaad(image[:60], text[:60], calibration), aaad(image, text, calibration)
    for result in (few, many):
        assert result.aaad_low < result.aaad < result.aaad_high
    assert many.aaad_high - many.aaad_low < (few.aaad_high - few.aaad_low) / 2
    # The standard error of a mean, in units of the score, times 1.96 on either side.
    error = many.cosines.std() / np.sqrt(many.pairs) / (calibration.c_max - calibration.c_min)
    assert many.aaad_high - many.aaad_low == pytest.approx(2 * 1.96 * error, rel=0.1)
    again = aaad(image, text, calibration)
    assert (again.aaad_low, again.aaad_high) == (many.aaad_low, many.aaad_high)


# --- Vectors without a direction -----------------------------------------------------------------


def test_texts_without_a_unit_are_left_out_and_counted():
    image, text = pairs_of("labels")
    calibration = calibrate(image, text)
    blank = np.zeros((3, 12))
    more_images, more_text = np.vstack([image, image[:3]]), np.vstack([text, blank])
    assert calibrate(more_images, more_text).left_out == 3
    result = aaad(more_images, more_text, calibration)
    assert (result.pairs, result.left_out) == (600, 3)
    assert np.isnan(result.cosines[-3:]).all()
    assert result.aaad == pytest.approx(aaad(image, text, calibration).aaad)
    for floor in floors(more_images, more_text, calibration).values():
        assert np.isfinite(floor.aaad)


def test_blank_pictures_have_cosine_zero():
    image, text = pairs_of("labels")
    calibration = calibrate(image, text)
    shown = image.copy()
    shown[:300] = 0
    result = aaad(shown, text, calibration)
    assert result.blank == 300 and result.pairs == 600
    np.testing.assert_array_equal(result.cosines[:300], 0.0)
    assert result.aaad < aaad(image, text, calibration).aaad - 0.4


# --- Laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_ground_truth_scores_near_one_and_shuffled_texts_far_below(kind):
    image, text = pairs_of(kind)
    c = calibrate(image, text)
    truth = aaad(image, text, c)
    shuffled = floors(image, text, c)["shuffled texts"]
    assert truth.chance == pytest.approx(1.0)
    assert truth.aaad == pytest.approx(1.0) if kind == "labels" else truth.aaad > 0.8
    assert abs(shuffled.chance) < 0.06
    # Not 0: C_min is the smallest of them, and their mean is well above it.
    where = (c.mean_shuffled - c.c_min) / (c.c_max - c.c_min)
    assert shuffled.aaad == pytest.approx(where, abs=0.03) and 0.35 < where < 0.65


@pytest.mark.parametrize("noisy", [False, True])
def test_both_scores_fall_as_labels_are_degraded(noisy):
    found = fall(LABELS, noisy=noisy)
    scores = [agreement.aaad for agreement in found.agreements]
    chances = [agreement.chance for agreement in found.agreements]
    assert all(np.diff(scores) < 0) and all(np.diff(chances) < 0)
    assert chances[0] == pytest.approx(1.0) and abs(chances[-1]) < 0.06
    for floor in found.floors.values():
        assert scores[-1] - 0.03 < floor.aaad < scores[0]


def test_fall_of_readings_degrades_the_texts_alone(monkeypatch):
    class Reader:
        def probabilities(self, sentences):
            return np.array([list(map(float, text)) for text in sentences])

    monkeypatch.setattr(degradation, "describe", lambda row, rng: "".join(map(str, row)))
    images = LABELS.astype(np.uint8)
    found = fall_of_readings(images, LABELS, lambda images: images.astype(float), Reader())
    start = found.agreements[0]
    assert start.aaad == pytest.approx(1.0) and start.chance == pytest.approx(1.0)
    for last, text in ((0, LABELS), (-1, degrade(LABELS, 1.0, 0))):
        by_hand = aaad(LABELS, text, found.calibration)
        assert found.agreements[last].aaad == by_hand.aaad
    scores = [agreement.chance for agreement in found.agreements]
    assert all(after < before for before, after in itertools.pairwise(scores))


def test_larger_share_takes_all_that_a_smaller_one_takes():
    shown = [degrade(LABELS, share, 4) for share in SHARES]
    np.testing.assert_array_equal(shown[0], LABELS)
    np.testing.assert_array_equal(shown[-1], LABELS[derangement(len(LABELS), 4)])
    changed = [rows != LABELS for rows in shown]
    for few, many in itertools.pairwise(changed):
        assert (many | ~few).all() and many.sum() > few.sum()


def test_contributions_sum_to_the_mean_cosine():
    image, text = pairs_of("unsure readers")
    calibration = calibrate(image, text)
    result = aaad(image, text, calibration)
    assert result.contributions.sum() == pytest.approx(result.mean_cosine)
    unit = AU_NUMBERS.index(12)
    blind = image.copy()
    blind[:, unit] = 0
    without = aaad(blind, text, calibration)
    assert without.contributions[unit] == 0 and without.aaad < result.aaad


def test_mean_vector_scores_above_shuffled_texts():
    image, text = pairs_of("unsure readers")
    calibration = calibrate(image, text)
    neutral = unsure(np.zeros_like(LABELS), 3)
    found = floors(image, text, calibration, reference=neutral)
    assert set(found) == {"shuffled texts", "mean vector", "reference unchanged"}
    assert found["mean vector"].aaad > found["shuffled texts"].aaad
    alike = aaad(neutral, text, calibration)
    assert found["reference unchanged"].aaad == pytest.approx(alike.aaad)
    lines = summary({"system": aaad(image, text, calibration)} | found).splitlines()
    assert len(lines) == 6 and all(line.count("|") == 7 for line in lines)


def test_calibration_serves_texts_of_unseen_combinations():
    image, text = pairs_of("labels")
    calibration = calibrate(image, text)
    novel = np.stack([labels_from_units(units) for units in ((2, 24), (1, 10), (4, 14, 23))])
    assert aaad(novel, novel, calibration).aaad == pytest.approx(1.0)


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "text", "message"),
    [
        (np.zeros((3, 12)), np.zeros((4, 12)), r"shape \(3, 12\) and texts \(4, 12\)"),
        (np.zeros((3, 11)), np.zeros((3, 11)), r"expected \[M, 12\]"),
        (np.full((2, 12), np.nan), np.ones((2, 12)), "24 picture value.*nan at"),
        (np.ones((2, 12)), np.full((2, 12), -1), r"24 text value.*-1.0 at \[0, 0\].*not coded"),
        (np.full((2, 12), 1.5), np.ones((2, 12)), r"no probabilities in \[0, 1\]"),
    ],
)
def test_values_outside_zero_and_one_are_named(image, text, message):
    with pytest.raises(ValueError, match=message):
        cosines(image, text)


def test_all_faults_are_reported_at_once():
    with pytest.raises(ValueError, match="picture value.*; 12 text value"):
        cosines(np.full((1, 12), 2.0), np.full((1, 12), -2.0))


def test_pairs_without_a_scale_are_refused():
    one = labels_from_units([12])[None]
    with pytest.raises(ValueError, match=r"1 pair\(s\) whose text has a unit, and 1 without"):
        calibrate(np.vstack([one, one]), np.vstack([one, 0 * one]))
    with pytest.raises(ValueError, match="one AU combination in all the data"):
        calibrate(np.repeat(one, 5, 0), np.repeat(one, 5, 0))
    image, text = pairs_of("labels")
    with pytest.raises(ValueError, match="none of the 600 texts has a unit"):
        aaad(image, 0 * text, calibrate(image, text))
    with pytest.raises(ValueError, match="two or more"):
        derangement(1, 0)


# --- The command ---------------------------------------------------------------------------------


def test_degradation_is_plotted_and_printed(tmp_path, capsys):
    path = tmp_path / "new" / "plot.png"
    main(["--out", str(path), "--rows", "200"])
    assert path.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert printed.count("| mean vector |") == 2 and printed.count("| 100% of the units |") == 2
    with pytest.raises(SystemExit):
        main(["--out", str(path), "--rows", "1"])
    assert "expected 2 or more" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", str(path), "--data", "datasets/none"])
    assert "give all three or none" in capsys.readouterr().err
