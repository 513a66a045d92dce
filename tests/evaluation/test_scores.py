"""Scores, groups and cached readings of an evaluation, from known readings."""

import dataclasses
import errno

import numpy as np
import pytest

from auface_jax.data.sources.open_faces import OpenFaces
from auface_jax.evaluation import groups, scores
from auface_jax.evaluation.cache import cached
from auface_jax.evaluation.evaluator import Reading
from auface_jax.evaluation.population import Population
from auface_jax.evaluation.scores import REAL, REFERENCE, SYSTEM
from auface_jax.faces import sampler
from auface_jax.metrics.aaad import calibrate
from auface_jax.metrics.features import Features
from benchmarks.degradation import sample_labels, unsure

COUNT = 120
PEOPLE = [f"P{row // 4}" for row in range(COUNT)]


@pytest.fixture(scope="module")
def labels():
    return sample_labels(COUNT, 0)


def reading(probabilities, seed=0):
    rng = np.random.default_rng(seed)
    return Reading(probabilities, Features("au", rng.normal(size=(len(probabilities), 5))))


@pytest.fixture(scope="module")
def answers(labels):
    return {
        SYSTEM: reading(unsure(labels, 1)),
        REAL: reading(unsure(labels, 2, separation=3.0)),
        REFERENCE: reading(unsure(np.zeros_like(labels), 3)),
    }


def test_system_equal_to_the_real_pictures_scores_as_they_do(labels, answers):
    real = answers[REAL]
    found = scores.align_scores(
        real, answers[REFERENCE], real, labels, real, labels, seed=0
    ).agreements
    assert found[SYSTEM].aaad == found[REAL].aaad and found[SYSTEM].chance == pytest.approx(1.0)
    assert set(found) == {SYSTEM, REAL, "shuffled texts", "mean vector", REFERENCE}
    assert found[REFERENCE].aaad < found[SYSTEM].aaad


def test_floors_are_those_of_the_ground_truth_without_real_pictures(labels, answers):
    few = labels[:30]
    found = scores.align_scores(
        answers[SYSTEM].take(np.arange(30)),
        answers[REFERENCE].take(np.arange(30)),
        None,
        few,
        answers[REAL],
        labels,
        seed=0,
    )
    assert REAL not in found.agreements
    assert found.agreements[SYSTEM].pairs == 30
    assert found.agreements["mean vector"].pairs == COUNT
    assert found.calibration == calibrate(answers[REAL].probabilities, labels, seed=0)


def test_another_seed_keeps_the_calibration(labels, answers):
    def of_seed(seed):
        sides = (answers[SYSTEM], answers[REFERENCE], answers[REAL], labels, answers[REAL], labels)
        return scores.align_scores(*sides, seed=seed)

    one, other = of_seed(0), of_seed(7)
    assert one.calibration == other.calibration
    for answer in (SYSTEM, REAL, "mean vector", REFERENCE):
        assert one.agreements[answer].aaad == other.agreements[answer].aaad
    for answer, quantity in (("shuffled texts", "aaad"), (SYSTEM, "aaad_low")):
        drawn = [getattr(found.agreements[answer], quantity) for found in (one, other)]
        assert drawn[0] != drawn[1]


def test_confusion_has_recall_on_its_diagonal(labels, answers):
    found = scores.unit_report(answers, labels)
    recall = found.scores[SYSTEM].recall
    np.testing.assert_allclose(np.diag(found.confusion), recall)
    np.testing.assert_allclose(np.diag(found.asked), 1.0)
    perfect = reading(labels.astype(float))
    found = scores.unit_report({SYSTEM: perfect}, labels)
    np.testing.assert_array_equal(found.confusion, found.asked)
    assert found.scores[SYSTEM].macro_f1 == 1.0 and found.conflicts[SYSTEM]["all"][0] == 1.0


def test_reliability_counts_every_coded_unit_once(labels):
    some = labels.copy()
    some[::7, 3] = -1
    p = np.random.default_rng(0).uniform(size=labels.shape)
    p[0, 0], p[1, 0] = 0.0, 1.0
    found = scores.reliability(p, some)
    assert found[:, 2].sum() == (some >= 0).sum()
    present = np.nansum(found[:, 1] * found[:, 2])
    assert present == pytest.approx((some == 1).sum())
    # A calibrated reader lies on the diagonal.
    drawn = np.random.default_rng(1).uniform(size=(20_000, 12))
    true = (np.random.default_rng(2).uniform(size=drawn.shape) < drawn).astype(np.int8)
    curve = scores.reliability(drawn, true)
    np.testing.assert_allclose(curve[:, 0], curve[:, 1], atol=0.02)
    empty = scores.reliability(np.full((3, 12), 0.55), np.ones((3, 12), np.int8))
    assert np.isfinite(empty[5]).all() and np.isnan(empty[0, :2]).all()


def test_group_scores_average_to_those_of_all_pictures(labels, answers):
    members_of = {"half": {"even": np.arange(0, COUNT, 2), "odd": np.arange(1, COUNT, 2)}}
    calibration = calibrate(answers[REAL].probabilities, labels)
    found = scores.group_scores(
        members_of, answers[SYSTEM], answers[REAL], labels, PEOPLE, calibration
    )
    assert [(group.count, group.people) for group in found] == [(COUNT // 2, COUNT // 4)] * 2
    both = np.mean([group.aaad for group in found])
    everything = {"half": {"all": np.arange(COUNT)}}
    (one,) = scores.group_scores(everything, answers[SYSTEM], None, labels, PEOPLE, calibration)
    assert both == pytest.approx(one.aaad) and np.isnan(one.real_f1)
    neutral = np.zeros_like(labels)
    (none,) = scores.group_scores(everything, answers[SYSTEM], None, neutral, PEOPLE, calibration)
    assert np.isnan(none.aaad) and np.isnan(none.macro_f1)


def test_distances_carry_the_name_of_their_features_and_warn_of_few_images():
    rng = np.random.default_rng(0)
    made, real = (Features("au", rng.normal(size=(40, 4)) + shift) for shift in (0.0, 1.0))
    found, warned = scores.distance_scores(made, real, {"fid", "kid", "is"}, seed=0)
    assert [score.name for score in found] == ["FID(au)", "KID(au)"]
    assert len(warned) == 1 and "N = 40 images" in warned[0]
    logits = rng.normal(size=(40, 8))
    made, real = (Features("inception", side.values, logits) for side in (made, real))
    found, _ = scores.distance_scores(made, real, {"fid", "kid", "is"}, seed=0)
    assert [score.name for score in found] == ["FID", "KID", "IS"]
    assert scores.distance_scores(made, real, set(), seed=0) == ([], [])


def test_identity_is_higher_than_that_of_another_person():
    rng = np.random.default_rng(0)
    people = rng.normal(size=(6, 16))
    subjects = tuple(f"P{number}" for number in range(6) for _ in range(4))
    faces = people.repeat(4, axis=0)
    reference = Features("au", faces)
    real = Features("au", faces + 0.1 * rng.normal(size=faces.shape))
    found = scores.identity_scores(reference, real, reference, subjects)
    assert found[SYSTEM] == pytest.approx(1.0) and found[REAL] > 0.9
    assert found["another person"] < 0.7
    alone = scores.identity_scores(reference, None, reference, ("P0",) * 24)
    assert set(alone) == {SYSTEM}


def test_diversity_between_seeds_is_zero_for_equal_pictures():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 10, 6))
    found = scores.diversity_scores(np.repeat(one, 3, axis=0))
    assert found["between seeds"] == pytest.approx(0.0, abs=1e-12)
    assert found["between records"] > 0.1


# --- Groups of people ----------------------------------------------------------------------------


def drawn_population(people=40, *, drawing=None, source="builtin"):
    options = {"people": people, "frames": 3, "size": 16, "seed": 5}
    drawing = drawing or OpenFaces(**options).options["drawing"]
    subjects = tuple(f"P{number:05d}" for number in range(people) for _ in range(2))
    fields = {field.name: None for field in dataclasses.fields(Population)}
    info = {"source": source, "options": {**options, "drawing": drawing}}
    return Population(**fields | {"info": info, "subjects": subjects})


def test_groups_hold_each_record_of_drawn_people_once():
    population = drawn_population()
    found = groups.groups(population)
    assert set(found) == {groups.SKIN_TONE, groups.AGE, groups.PERSON}
    for of_kind in found.values():
        indices = np.concatenate(list(of_kind.values()))
        assert sorted(indices.tolist()) == list(range(80))
    assert len(found[groups.PERSON]) == 40
    person = sampler.sample_person(np.random.default_rng([5, 7, 0]))
    assert 14 in found[groups.SKIN_TONE][groups.skin_tone(person)]
    assert 15 in found[groups.AGE][groups.age_lines(person)]


def test_skin_types_from_one_to_six_have_tones_in_their_order():
    person = sampler.sample_person(np.random.default_rng(0))
    tones = [dataclasses.replace(person, skin=tuple(tone)) for tone in sampler._SKIN_TONES]
    assert [groups.skin_tone(tone) for tone in tones] == [
        "very light",
        "very light",
        "light",
        "tan",
        "brown",
        "dark",
    ]


@pytest.mark.parametrize("known", [{"drawing": "0" * 16}, {"source": "bp4d"}])
def test_unknown_people_are_grouped_by_person_alone(known):
    assert set(groups.groups(drawn_population(**known))) == {groups.PERSON}


# --- Cached readings -----------------------------------------------------------------------------


def test_cached_arrays_are_computed_again_only_for_other_keys(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return np.arange(3.0), np.full((2, 2), len(calls))

    first = cached(compute, "data", "network", folder=tmp_path / "new")
    again = cached(compute, "data", "network", folder=tmp_path / "new")
    assert len(calls) == 1
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    cached(compute, "data", "another network", folder=tmp_path / "new")
    cached(compute, "data", "network", folder=None)
    assert len(calls) == 3
    assert len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn", None])
def test_damaged_cache_file_is_computed_again(tmp_path, damage):
    cached(lambda: (np.arange(4),), "x", folder=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-30] if damage is None else damage)
    (found,) = cached(lambda: (np.arange(4),), "x", folder=tmp_path)
    np.testing.assert_array_equal(found, np.arange(4))
    (found,) = cached(lambda: pytest.fail("computed again"), "x", folder=tmp_path)


def test_unwritable_cache_is_reported_once_and_arrays_are_computed(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    for name in ("x", "y"):
        (found,) = cached(lambda: (np.arange(4),), name, folder=tmp_path / "file" / "readings")
        np.testing.assert_array_equal(found, np.arange(4))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "cannot be written (Not a directory)" in lines[0]

    def torn(path, **arrays):
        path.write_bytes(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", torn)
    cached(lambda: (np.arange(4),), "x", folder=tmp_path / "full")
    assert "(No space left on device)" in capsys.readouterr().out
    assert list((tmp_path / "full").iterdir()) == []
