"""How well units are read or shown: precision, recall, F1, thresholds, opposed pairs.

Scores of generated pictures against the labels that were asked for are this project's additions;
the paper reports AAAD alone.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int8

from auface_jax.facs import AU_NUMBERS
from auface_jax.facs.interactions import Interaction

# The six sets of the paper's user study, in its order.
CONFLICTING_SETS = ((12, 15), (1, 4), (6, 12, 15), (12, 15, 17), (6, 12, 15, 17), (1, 2, 4))


@dataclasses.dataclass(frozen=True, eq=False)
class UnitScores:
    """Scores of each unit, NaN where a quotient has no denominator.

    Attributes:
      precision: of the rows read as present, the share in which the unit is present.
      recall: of the rows in which it is present, the share read as present.
      f1: as `f1_scores`.
    """

    precision: Float[np.ndarray, " A"]
    recall: Float[np.ndarray, " A"]
    f1: Float[np.ndarray, " A"]

    @property
    def macro_f1(self) -> float:
        """The mean F1 over the units that occur; NaN where none does."""
        return float(np.nanmean(self.f1)) if np.isfinite(self.f1).any() else float("nan")


def f1_scores(
    predicted: Int8[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"]
) -> Float[np.ndarray, " A"]:
    """F1 of each unit over the rows where it is coded (label 0 or 1); NaN where it never occurs."""
    coded = labels >= 0
    hits = ((predicted == 1) & (labels == 1) & coded).sum(0)
    errors = ((predicted != labels) & coded).sum(0)
    occurs = ((labels == 1) & coded).sum(0) > 0
    return np.where(occurs, 2 * hits / np.maximum(2 * hits + errors, 1), np.nan)


def unit_scores(predicted: Int8[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"]) -> UnitScores:
    """Precision, recall and F1 of each unit over the rows where it is coded.

    Args:
      predicted: 0 or 1.
      labels: 0, 1, or -1 where a unit is not coded.
    """
    coded = labels >= 0
    hits = ((predicted == 1) & (labels == 1)).sum(0)
    claimed, present = ((predicted == 1) & coded).sum(0), (labels == 1).sum(0)
    nan = np.full(len(hits), np.nan)
    return UnitScores(
        precision=np.divide(hits, claimed, out=nan.copy(), where=claimed > 0),
        recall=np.divide(hits, present, out=nan.copy(), where=present > 0),
        f1=f1_scores(predicted, labels),
    )


def best_thresholds(
    probabilities: Float[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"]
) -> Float[np.ndarray, " A"]:
    """The threshold of each unit that gives the best F1 on these rows; float32 in [0, 1).

    A probability at or above it is read as present. Thresholds lie midway between neighbouring
    probabilities, or below all of them; of equally good ones the nearest to 0.5 is taken. A unit
    that never occurs, or is always present, keeps 0.5.
    """
    thresholds = np.full(labels.shape[1], 0.5)
    for unit in range(labels.shape[1]):
        coded = labels[:, unit] >= 0
        p, present = probabilities[coded, unit], labels[coded, unit] == 1
        if not present.any() or present.all():
            continue
        values = np.unique(p)
        cuts = np.append((values[1:] + values[:-1]) / 2, [values[0] / 2, 0.5])
        claimed = p[:, None] >= cuts  # [M, cuts]
        hits = (claimed & present[:, None]).sum(0)
        f1 = 2 * hits / (claimed.sum(0) + present.sum())
        best = cuts[f1 >= f1.max()]
        thresholds[unit] = best[np.abs(best - 0.5).argmin()]
    return thresholds.astype(np.float32)


def conflict_accuracy(
    predicted: Int8[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"]
) -> dict[str, tuple[float, int]]:
    """How often both units of every opposed pair read as active where a conflicting set was asked.

    Args:
      predicted: units read from the pictures, 0 or 1.
      labels: units that were asked for.

    Returns:
      "AU12+AU15" -> (share of the rows in which all units of that set were asked for, their
      number), one entry for each of `CONFLICTING_SETS`, and "all" over the rows of any of them, a
      row counting once: there every opposed pair of its sets must be active. NaN with 0 rows.
    """
    asked_any = np.zeros(len(labels), bool)
    right_all = np.ones(len(labels), bool)
    shares = {}
    for units in CONFLICTING_SETS:
        interaction = Interaction(units)
        asked = (labels[:, [AU_NUMBERS.index(unit) for unit in units]] == 1).all(1)
        opposed = sorted({unit for pair in interaction.opposed for unit in pair})
        right = (predicted[:, [AU_NUMBERS.index(unit) for unit in opposed]] == 1).all(1)
        shares[interaction.name] = _share(right[asked])
        asked_any |= asked
        right_all &= right | ~asked
    return shares | {"all": _share(right_all[asked_any])}


def _share(right: np.ndarray) -> tuple[float, int]:
    return (float(right.mean()) if len(right) else float("nan")), len(right)
