"""The action units, their combinations, and the algorithm that turns labels into constructs."""

import itertools

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.facs.interactions import OPPOSED_PAIRS

ALL_LABELS = list(itertools.product((0, 1), repeat=12))

# The paper's list again, as it prints it, in scan order.
PAPER_COMBINATIONS = (
    "AU6+AU12+AU15+AU17 AU6+AU12+AU17+AU23 "
    "AU1+AU2+AU4 AU10+AU15+AU17 AU6+AU7+AU12 AU6+AU12+AU15 AU12+AU15+AU17 AU12+AU17+AU23 "
    "AU10+AU17+AU23 "
    "AU1+AU4 AU1+AU2 AU10+AU15 AU10+AU17 AU15+AU17 AU10+AU14 AU14+AU17 AU6+AU12 AU7+AU12 "
    "AU12+AU17 AU12+AU15 AU12+AU23 AU12+AU24 AU14+AU23 AU17+AU23 AU17+AU24 AU15+AU23"
).split()


def brute_force_constructs(labels):
    """A second implementation of the algorithm: by recursion on lists of names.

    Large combinations are removed one after another by recursion; then every pair of remaining
    units applies, since pairs do not exclude each other; the rest are single units.
    """

    def peel(names):
        for combination in PAPER_COMBINATIONS:
            parts = combination.split("+")
            if len(parts) >= 3 and all(part in names for part in parts):
                return [combination] + peel([name for name in names if name not in parts])
        pairs = [
            combination
            for combination in PAPER_COMBINATIONS
            if combination.count("+") == 1 and set(combination.split("+")) <= set(names)
        ]
        covered = "+".join(pairs).split("+")
        return pairs + [name for name in names if name not in covered]

    order = "AU1 AU2 AU4 AU6 AU7 AU10 AU12 AU14 AU15 AU17 AU23 AU24".split()
    return tuple(peel([name for name, present in zip(order, labels, strict=True) if present]))


def test_units_have_their_order_and_legal_pulls():
    assert facs.AU_NUMBERS == (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
    for unit in facs.ACTION_UNITS:
        assert unit.name and unit.muscles and unit.pulls
        assert {direction for _, direction in unit.pulls} <= {
            "up", "down", "inward", "outward", "tight", "pressed"
        }  # fmt: skip
        assert len(set(unit.regions)) == len(unit.regions)


def test_combinations_are_those_of_the_paper_in_its_order():
    assert [interaction.name for interaction in facs.INTERACTIONS] == PAPER_COMBINATIONS
    assert len(facs.INTERACTIONS) == 26
    assert len(facs.CONSTRUCT_NAMES) == len(set(facs.CONSTRUCT_NAMES)) == 38


def test_antagonistic_combinations_are_those_with_an_opposed_pair():
    antagonistic = {i.name for i in facs.INTERACTIONS if i.kind == "antagonistic"}
    assert antagonistic == {
        "AU1+AU4", "AU1+AU2+AU4", "AU12+AU15", "AU12+AU23", "AU12+AU24", "AU6+AU12+AU15",
        "AU12+AU15+AU17", "AU12+AU17+AU23", "AU6+AU12+AU15+AU17", "AU6+AU12+AU17+AU23",
    }  # fmt: skip
    assert {pair for i in facs.INTERACTIONS for pair in i.opposed} == OPPOSED_PAIRS
    assert all(i.kind in ("antagonistic", "synergistic") for i in facs.INTERACTIONS)


def test_constructs_agree_with_brute_force_on_all_label_vectors():
    for labels in ALL_LABELS:
        assert facs.constructs(np.array(labels, np.int8)) == brute_force_constructs(labels), labels


def test_constructs_cover_exactly_the_active_units():
    for labels in ALL_LABELS:
        named = {part for name in facs.constructs(labels) for part in name.split("+")}
        active = {u.code for u, present in zip(facs.ACTION_UNITS, labels, strict=True) if present}
        assert named == active


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([], ()),
        ([10], ("AU10",)),
        ([6, 12, 15], ("AU6+AU12+AU15",)),
        # A pair leaves its units for later pairs.
        ([10, 12, 15], ("AU10+AU15", "AU12+AU15")),
        # Four units go at once: AU7 loses the AU12 it would have paired with.
        ([6, 7, 12, 15, 17], ("AU6+AU12+AU15+AU17", "AU7")),
        # Singles come last and in label order.
        ([2, 4, 7, 24, 1, 14], ("AU1+AU2+AU4", "AU7", "AU14", "AU24")),
    ],
)
def test_constructs_of_known_sets(units, expected):
    assert facs.constructs(facs.labels_from_units(units)) == expected


@pytest.mark.parametrize("kind", [list, tuple, lambda r: np.array(r, bool), np.float32])
def test_constructs_take_label_vectors_of_any_type(kind):
    labels = [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert facs.constructs(kind(labels)) == ("AU6+AU12",)


@pytest.mark.parametrize("value", [-1, 2, 0.5, float("nan"), None, "1"])
def test_value_other_than_0_and_1_is_rejected(value):
    labels = [0] * 12
    labels[4] = value
    with pytest.raises(ValueError, match=r"index 4 \(AU7\).*neither 0.*nor 1") as error:
        facs.constructs(np.array(labels, dtype=object))
    assert repr(value) in str(error.value) and "threshold" in str(error.value)


@pytest.mark.parametrize("labels", [[0] * 11, [0] * 13, [], 1, [[0] * 12]])
def test_labels_of_another_shape_are_rejected(labels):
    with pytest.raises(ValueError, match=r"expected \(12,\).*AU24"):
        facs.constructs(labels)


def test_labels_from_units_marks_exactly_the_units():
    labels = facs.labels_from_units([12, 6, 12])
    assert labels.dtype == np.int8 and labels.tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert facs.labels_from_units(np.array([24])).sum() == 1
    for labels in ALL_LABELS[::37]:
        units = [n for n, present in zip(facs.AU_NUMBERS, labels, strict=True) if present]
        assert facs.labels_from_units(units).tolist() == list(labels)


@pytest.mark.parametrize("unit", [3, 5, 45, -1, True, "6", 6.0, None])
def test_unknown_unit_is_rejected_with_the_legal_ones(unit):
    with pytest.raises(ValueError, match="unknown action unit") as error:
        facs.labels_from_units([6, unit])
    assert "1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24" in str(error.value)


@pytest.mark.parametrize(
    ("text", "units"),
    [("6,12,15", (6, 12, 15)), ("AU6 au12", (6, 12)), ("6+12", (6, 12)), (" ", ()), ("6,", (6,))],
)
def test_parse_units_reads_lists_of_units(text, units):
    assert facs.parse_units(text) == units


@pytest.mark.parametrize("text", ["6;12", "six", "6,-1", "6,13", "AU", "6.5"])
def test_parse_units_rejects_unknown_units(text):
    with pytest.raises(ValueError, match="units are 1, 2, 4"):
        facs.parse_units(text)
