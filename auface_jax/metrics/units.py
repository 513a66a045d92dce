"""Scores of units that are read or shown: precision, recall, F1, thresholds, opposed pairs.

Scores of generated pictures against their labels are this project's own; the paper reports AAAD
alone.
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
    """Scores of each unit; NaN where a denominator is zero.

    Attributes:
      precision: share of the examples read as present in which the unit is present.
      recall: share of the examples with the unit in which it is read as present.
      f1: F1 of the unit, see `f1_scores`.
    """

    precision: Float[np.ndarray, " A"]
    recall: Float[np.ndarray, " A"]
    f1: Float[np.ndarray, " A"]

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the units that occur; NaN if no unit occurs."""
        return float(np.nanmean(self.f1)) if np.isfinite(self.f1).any() else float("nan")


def f1_scores(
    predicted: Int8[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"]
) -> Float[np.ndarray, " A"]:
    """Computes F1 of each unit over the examples where it is coded; NaN where it never occurs.

    Args:
      predicted: 0 or 1.
      labels: 0, 1, or -1 where a unit is not coded.
    """
    coded = labels >= 0
    hits = ((predicted == 1) & (labels == 1) & coded).sum(0)
    errors = ((predicted != labels) & coded).sum(0)
    occurs = ((labels == 1) & coded).sum(0) > 0
    return np.where(occurs, 2 * hits / np.maximum(2 * hits + errors, 1), np.nan)


def unit_scores(predicted: Int8[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"]) -> UnitScores:
    """Computes precision, recall and F1 of each unit over the examples where it is coded.

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


def rank_correlations(
    read: Float[np.ndarray, "M A"], true: Float[np.ndarray, "M A"]
) -> Float[np.ndarray, " A"]:
    """Computes Spearman's correlation of read and true intensities, over the examples with a unit.

    Args:
      read: intensities as they are read in pictures.
      true: intensities in [0, 1]; 0 where a unit is absent, -1 where it is not known.

    Returns:
      The correlation of each unit; NaN where fewer than three examples have it, or all equally.
    """
    from scipy import stats  # the import takes seconds

    found = np.full(true.shape[1], np.nan)
    for unit in range(true.shape[1]):
        present = true[:, unit] > 0
        one, other = read[present, unit], true[present, unit]
        if len(one) >= 3 and np.ptp(one) and np.ptp(other):
            found[unit] = stats.spearmanr(one, other).statistic
    return found


def best_thresholds(
    probabilities: Float[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"]
) -> Float[np.ndarray, " A"]:
    """Finds the threshold of each unit that gives the best F1 on some examples.

    A probability at or above the threshold is read as present. Candidates lie midway between
    neighbouring probabilities, or below all of them; among equally good ones the nearest to 0.5 is
    taken.

    Args:
      probabilities: probabilities of the units.
      labels: 0, 1, or -1 where a unit is not coded.

    Returns:
      float32 thresholds in [0, 1); 0.5 for a unit that never occurs or is always present.
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
    """Computes how often both units of each opposed pair are read where a conflicting set is asked.

    Args:
      predicted: units read from the pictures, 0 or 1.
      labels: units that the texts ask for.

    Returns:
      Name of a set, such as "AU12+AU15" -> the share of right pictures among those asked for all
      units of the set, and the number of these; a picture is right if every opposed pair of the set
      is read as active. "all" counts each picture asked for any set once, which is right if it is
      right for all its sets. The share is NaN if the number is 0.
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
