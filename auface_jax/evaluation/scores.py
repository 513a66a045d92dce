"""Every figure of an evaluation, from readings that were taken once."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence, Set

import numpy as np
from jaxtyping import Float, Int, Int8

from auface_jax.evaluation.evaluator import Reading
from auface_jax.metrics import distances
from auface_jax.metrics.aaad import Agreement, Calibration, aaad, calibrate, floors
from auface_jax.metrics.distances import Score
from auface_jax.metrics.features import Features
from auface_jax.metrics.identity import diversity, identity_similarity
from auface_jax.metrics.units import UnitScores, conflict_accuracy, unit_scores

# Names of answers in tables. The system's own pictures come first in every table.
SYSTEM, REAL, REFERENCE = "system", "real pictures", "reference unchanged"
FLOORS = ("shuffled texts", "mean vector", REFERENCE)  # names that `metrics.aaad.floors` gives

# Seed of the derangement that gives C_min. It is one for all evaluations: pictures that are drawn
# with another seed are still compared on the same scale.
CALIBRATION_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """AAAD of each answer with one side of the texts: their labels, or a reader's probabilities.

    Attributes:
      calibration: C_max and C_min of ground-truth pairs of the seen test set.
      agreements: answer -> its score; the answers are `SYSTEM`, `REAL` where there are real
        pictures, and the floors.
      shuffled: cosines of real pictures and deranged texts, for a histogram.
    """

    calibration: Calibration
    agreements: dict[str, Agreement]
    shuffled: Float[np.ndarray, " M"]


@dataclasses.dataclass(frozen=True, eq=False)
class UnitReport:
    """Units that are read from pictures, compared with those that the texts ask for.

    Attributes:
      scores: answer -> precision, recall and F1 of each unit.
      conflicts: answer -> `conflict_accuracy`.
      reliability: answer -> (mean probability, share present, count) of each of ten bins.
      confusion: share of the pictures asked for the unit of the row in which the unit of the column
        is read.
      asked: share of the same pictures that are asked for the unit of the column.
    """

    scores: dict[str, UnitScores]
    conflicts: dict[str, dict[str, tuple[float, int]]]
    reliability: dict[str, Float[np.ndarray, "bins 3"]]
    confusion: Float[np.ndarray, "A A"]
    asked: Float[np.ndarray, "A A"]


@dataclasses.dataclass(frozen=True)
class GroupScore:
    """Scores of a group of records.

    Attributes:
      kind: kind of group, such as "skin tone".
      name: name of the group, such as "tan".
      people: number of people in the group.
      count: number of pictures.
      macro_f1: macro F1 of the system's pictures.
      real_f1: macro F1 of the real pictures; NaN where there are none.
      aaad: AAAD with the labels; NaN where no text has a unit.
      chance: AAAD-chance with the labels; NaN where no text has a unit.
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
    """Computes AAAD of a system and of the answers that every table shows beside it.

    Args:
      system: readings of the system's pictures for M records.
      reference: readings of the records' references.
      real: readings of the records' real pictures; None where they have none, and then the floors
        are those of the ground truth.
      text: probabilities or labels of the records' texts.
      truth: readings of the N real pictures of the seen test set.
      truth_text: probabilities or labels of their texts.
      seed: seed of the shuffled texts and of intervals; that of C_min is `CALIBRATION_SEED`.
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


def unit_report(answers: Mapping[str, Reading], labels: Int8[np.ndarray, "M A"]) -> UnitReport:
    """Compares the units of each answer with the labels; for `SYSTEM` also computes confusion."""
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
    """Computes a reliability curve over equal bins of probability.

    Returns:
      Mean probability, share present and number of coded units in each bin; the first two are NaN
      in an empty bin.
    """
    coded = labels >= 0
    p, present = probabilities[coded], labels[coded] == 1
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bin_of, values, bins) / counts for values in (p, present)]
    return np.stack([*means, counts], axis=1)


def group_scores(
    members_of: Mapping[str, Mapping[str, Int[np.ndarray, " K"]]],
    system: Reading,
    real: Reading | None,
    labels: Int8[np.ndarray, "M A"],
    subjects: Sequence[str],
    calibration: Calibration,
) -> list[GroupScore]:
    """Computes F1 and AAAD of every group.

    Args:
      members_of: kind of group -> name of the group -> indices of its records.
      system: readings of the system's pictures.
      real: readings of the real pictures, or None.
      labels: labels of all records.
      subjects: person in each record.
      calibration: C_max and C_min, which are those of all records together.
    """
    found, asked = [], np.maximum(labels, 0)
    for kind, groups in members_of.items():
        for name, members in groups.items():
            agreement = None
            if asked[members].any():
                agreement = aaad(
                    system.probabilities[members], asked[members], calibration, resamples=1
                )
            found.append(
                GroupScore(
                    kind=kind,
                    name=name,
                    people=len({subjects[member] for member in members}),
                    count=len(members),
                    macro_f1=unit_scores(system.units[members], labels[members]).macro_f1,
                    real_f1=(
                        unit_scores(real.units[members], labels[members]).macro_f1
                        if real is not None
                        else float("nan")
                    ),
                    aaad=agreement.aaad if agreement else float("nan"),
                    chance=agreement.chance if agreement else float("nan"),
                )
            )
    return found


def distance_scores(
    made: Features, real: Features, wanted: Set[str], *, seed: int
) -> tuple[list[Score], list[str]]:
    """Computes those of FID, KID and the Inception score that are wanted and possible.

    Args:
      made: features of the system's pictures.
      real: features of real pictures.
      wanted: any of "fid", "kid", "is".
      seed: seed of KID's subsets and of the Inception score's splits.

    Returns:
      The scores, and warnings for a reader of the report.
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
    system: Features, real: Features | None, reference: Features, subjects: Sequence[str]
) -> dict[str, float]:
    """Computes mean cosines of pictures to reference faces.

    Args:
      system: features of the system's pictures.
      real: features of the real pictures, or None.
      reference: features of the reference of each picture.
      subjects: person in each picture.

    Returns:
      `SYSTEM`: the system's pictures and their own references. `REAL`: real pictures and their own
      references. "another person": real pictures (or references) and another person's reference; if
      this cosine is as high as the others, the features do not tell people apart.
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


def _of_another(people: Int[np.ndarray, " M"]) -> Int[np.ndarray, " M"]:
    """Returns for each record the index of the first record of the next person."""
    first = np.array([np.flatnonzero(people == person)[0] for person in range(people.max() + 1)])
    return first[(people + 1) % len(first)]


def diversity_scores(features: Float[np.ndarray, "seeds K D"]) -> dict[str, float]:
    """Computes mean diversity, 1 - cosine, between seeds of a record and between records.

    Args:
      features: features of K records' pictures, drawn with each of several seeds.

    Returns:
      "between seeds" and "between records"; the latter is NaN for a single record.
    """
    records = diversity(features[0][:, None]) if features.shape[1] > 1 else [float("nan")]
    return {
        "between seeds": float(diversity(features).mean()),
        "between records": float(np.mean(records)),
    }
