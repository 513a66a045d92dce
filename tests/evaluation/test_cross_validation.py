"""Folds of people and the table of their scores."""

import pytest

from auface_jax.data.shards import DatasetError
from auface_jax.evaluation.cross_validation import BP4D_FOLDS, read_folds, score_table


def test_bp4d_folds_hold_each_of_41_people_once():
    folds = read_folds("")
    people = [person for fold in folds for person in fold]
    assert [len(fold) for fold in folds] == [13, 14, 14]
    assert len(set(people)) == 41
    everybody = [f"F{n:03}" for n in range(1, 24)] + [f"M{n:03}" for n in range(1, 19)]
    assert sorted(people) == [f"BP4D-{person}" for person in everybody]
    assert len(BP4D_FOLDS) == 3


def test_overlapping_folds_are_rejected(tmp_path):
    path = tmp_path / "folds.txt"
    path.write_text("a b\nc b\n")
    with pytest.raises(DatasetError, match="people in two folds: b"):
        read_folds(str(path))


def test_score_table_shows_means_in_percent():
    text = score_table({"AU1": [0.5, 0.25], "mean": [0.4, 0.6]}, bp4d=True)
    assert "AU1           50.0    25.0    37.5" in text and "ResNet-50: 64.7" in text
