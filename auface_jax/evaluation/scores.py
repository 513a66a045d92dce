"""Every figure of an evaluation, from readings that were taken once."""

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int8

from auface_jax.evaluation.scorer import Reading
from auface_jax.metrics import distances
from auface_jax.metrics.aaad import Agreement, Calibration, aaad, calibrate, floors
from auface_jax.metrics.distances import Score
from auface_jax.metrics.features import Features
from auface_jax.metrics.identity import diversity, identity_similarity
from auface_jax.metrics.units import UnitScores, conflict_accuracy, unit_scores

# Answers, as tables call them. A system's own is the first of every table.
SYSTEM, REAL, REFERENCE = "system", "real pictures", "reference unchanged"
FLOORS = ("shuffled texts", "mean vector", REFERENCE)  # as `metrics.aaad.floors` names them

# Of the derangement that gives C_min. One for all evaluations: another draw of pictures is no
# other scale to hold them against.
CALIBRATION_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """How well pictures agree with one side of the text.

    Attributes:
      calibration: of ground-truth pairs of the seen test set.
      agreements: answer -> its score; `SYSTEM`, `REAL` where there are real pictures, the floors.
      shuffled: cosines of real pictures and deranged texts, for a histogram.
    """

    calibration: Calibration
    agreements: dict[str, Agreement]
    shuffled: Float[np.ndarray, " M"]


@dataclasses.dataclass(frozen=True, eq=False)
class UnitReport:
    """Units that are read from pictures against those that were asked for.

    Attributes:
      scores: answer -> precision, recall and F1 of each unit.
      conflicts: answer -> `conflict_accuracy`.
      reliability: answer -> (mean probability, share present, pictures) of each of ten bins.
      confusion: [A, A] of the pictures asked for the unit of the row, the share in which that of
        the column is read; `asked` is the same share of what was asked for.
    """

    scores: dict[str, UnitScores]
    conflicts: dict[str, dict[str, tuple[float, int]]]
    reliability: dict[str, Float[np.ndarray, "bins 3"]]
    confusion: Float[np.ndarray, "A A"]
    asked: Float[np.ndarray, "A A"]


@dataclasses.dataclass(frozen=True)
class GroupScore:
    """Figures of some of the pictures.

    Attributes:
      kind, name: "skin tone", "tan".
      people, count: how many of them, and of pictures.
      macro_f1, real_f1: of the system's pictures and of the real ones; NaN where there is none.
      aaad, chance: against the labels; NaN where no text has a unit.
    """

    kind: str
    name: str
    people: int
    count: int
    macro_f1: float
    real_f1: float
    aaad: float
    chance: float


def align_scores(
    system: Reading,
    reference: Reading,
    real: Reading | None,
    text: Float[np.ndarray, "M A"],
    truth: Reading,
    truth_text: Float[np.ndarray, "N A"],
    *,
    seed: int,
) -> Alignment:
    """AAAD of a system and of the answers that every table holds beside it.

    Args:
      system, reference, real: readings of the M records' pictures; `real` is None where they have
        none, and then the floors are of the truth.
      text: probabilities or labels of their texts.
      truth, truth_text: the N ground-truth pairs of the seen test set.
      seed: of the floor of shuffled texts and of intervals; C_min's is `CALIBRATION_SEED`.
    """
    calibration = calibrate(truth.probabilities, truth_text, seed=CALIBRATION_SEED)
    found = {SYSTEM: aaad(system.probabilities, text, calibration, seed=seed)}
    if real is not None:
        found[REAL] = aaad(real.probabilities, text, calibration, seed=seed)
    pairs = (truth.probabilities, truth_text) if real is None else (real.probabilities, text)
    below = floors(*pairs, calibration, seed=seed)
    found |= below
    found[REFERENCE] = aaad(reference.probabilities, text, calibration, seed=seed)
    return Alignment(calibration, found, below[FLOORS[0]].cosines)


def unit_report(answers: dict[str, Reading], labels: Int8[np.ndarray, "M A"]) -> UnitReport:
    """Units of each answer against the labels; of `SYSTEM` also what was read for what."""
    predicted = {name: reading.units for name, reading in answers.items()}
    asked = (labels == 1).astype(np.float64)
    counts = np.maximum(asked.sum(0), 1)[:, None]
    return UnitReport(
        scores={name: unit_scores(units, labels) for name, units in predicted.items()},
        conflicts={name: conflict_accuracy(units, labels) for name, units in predicted.items()},
        reliability={
            name: reliability(reading.probabilities, labels) for name, reading in answers.items()
        },
        confusion=asked.T @ predicted[SYSTEM] / counts,
        asked=asked.T @ asked / counts,
    )


def reliability(
    probabilities: Float[np.ndarray, "M A"], labels: Int8[np.ndarray, "M A"], *, bins: int = 10
) -> Float[np.ndarray, "bins 3"]:
    """Mean probability, share present and number of coded units in each of equal bins; NaN in
    empty ones."""
    coded = labels >= 0
    p, present = probabilities[coded], labels[coded] == 1
    place = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, values, bins) / counts for values in (p, present)]
    return np.stack([*means, counts], axis=1)


def group_scores(
    rows_of: dict[str, dict[str, np.ndarray]],
    system: Reading,
    real: Reading | None,
    labels: Int8[np.ndarray, "M A"],
    subjects: Sequence[str],
    calibration: Calibration,
) -> list[GroupScore]:
    """F1 and AAAD of every group; C_min and C_max are those of all."""
    found, asked = [], np.maximum(labels, 0)
    for kind, groups in rows_of.items():
        for name, rows in groups.items():
            agreement = None
            if asked[rows].any():
                agreement = aaad(system.probabilities[rows], asked[rows], calibration, resamples=1)
            found.append(
                GroupScore(
                    kind=kind,
                    name=name,
                    people=len({subjects[row] for row in rows}),
                    count=len(rows),
                    macro_f1=unit_scores(system.units[rows], labels[rows]).macro_f1,
                    real_f1=(
                        unit_scores(real.units[rows], labels[rows]).macro_f1
                        if real is not None
                        else float("nan")
                    ),
                    aaad=agreement.aaad if agreement else float("nan"),
                    chance=agreement.chance if agreement else float("nan"),
                )
            )
    return found


def distance_scores(
    made: Features, real: Features, wanted: set[str], *, seed: int
) -> tuple[list[Score], list[str]]:
    """FID, KID and the Inception score, as far as they are wanted and the features allow.

    Args:
      wanted: of "fid", "kid", "is".

    Returns:
      The figures, and what a reader has to be warned of.
    """
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", distances.FewImagesWarning)
        if "fid" in wanted:
            found.append(distances.fid(made, real))
        if "kid" in wanted:
            found.append(distances.kid(made, real, seed=seed))
        if "is" in wanted and made.logits is not None:
            found.append(distances.inception_score(made, seed=seed))
    few = {f"{w.message}." for w in caught if issubclass(w.category, distances.FewImagesWarning)}
    return found, sorted(few)


def identity_scores(
    system: Features, real: Features | None, reference: Features, subjects: tuple[str, ...]
) -> dict[str, float]:
    """Mean cosine to the reference face: of the system's pictures, and what to hold it beside.

    Returns:
      `SYSTEM`; `REAL`, real pictures and their own references; "another person", real pictures (or
      references) and somebody else's reference: an embedding that gives that as much tells nobody
      apart.
    """
    found = {SYSTEM: identity_similarity(system.values, reference.values)}
    shown = reference if real is None else real
    if real is not None:
        found[REAL] = identity_similarity(real.values, reference.values)
    people = np.unique(subjects, return_inverse=True)[1]
    if people.max() > 0:
        other = _of_another(people)
        found["another person"] = identity_similarity(shown.values, reference.values[other])
    return {name: float(cosines.mean()) for name, cosines in found.items()}


def _of_another(people: np.ndarray) -> np.ndarray:
    """For each row the first row of the next person, in order."""
    first = np.array([np.flatnonzero(people == person)[0] for person in range(people.max() + 1)])
    return first[(people + 1) % len(first)]


def diversity_scores(features: Float[np.ndarray, "seeds K D"]) -> dict[str, float]:
    """Mean 1 - cosine between pictures of one record drawn with different seeds, and between those
    of different records."""
    records = diversity(features[0][:, None]) if features.shape[1] > 1 else [float("nan")]
    return {
        "between seeds": float(diversity(features).mean()),
        "between records": float(np.mean(records)),
    }
