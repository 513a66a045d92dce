"""All figures of one evaluation, and their JSON."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from auface_jax.evaluation.population import Population
from auface_jax.evaluation.scores import (
    CALIBRATION_SEED,
    FLOORS,
    REAL,
    SYSTEM,
    Alignment,
    GroupScore,
    UnitReport,
)
from auface_jax.facs import AU_NUMBERS
from auface_jax.metrics.distances import Score
from auface_jax.metrics.features import INCEPTION

CLEAN = "clean, clipped"  # method that resizes pictures for FID's network
FORMAT_VERSION = 2


@dataclasses.dataclass(kw_only=True, eq=False)
class Results:
    """All figures of one evaluation; None or empty where they were not asked for.

    Attributes:
      name: name of the system in tables.
      about: description of the system: its run or its folder of pictures.
      population: records that the system drew pictures of.
      truth: records of the seen test set, which C_min and C_max are computed on.
      evaluator: name, kind and fingerprint of the recogniser that scored the pictures.
      text_reader: name and fingerprint of the run that read the texts, or None.
      seed: seed of pictures, shuffled texts and intervals.
      alignments: side of the text -> AAAD of each answer.
      units: units that were read, compared with the labels.
      groups: scores of groups of records.
      distances: answer -> FID, KID, IS, LPIPS.
      distance_population: description of the real pictures that distances are measured to.
      identity: mean cosines to reference faces, and the name of the features.
      diversity: mean 1 - cosine between seeds and between records, and how they were drawn.
      features: name of the network whose features distances and identity are measured on.
      notes: remarks for the reader of the report.
    """

    name: str
    about: dict[str, Any]
    population: Population
    truth: Population
    evaluator: dict[str, str]
    text_reader: dict[str, str] | None
    seed: int
    alignments: dict[str, Alignment] = dataclasses.field(default_factory=dict)
    units: UnitReport | None = None
    groups: list[GroupScore] = dataclasses.field(default_factory=list)
    distances: dict[str, list[Score]] = dataclasses.field(default_factory=dict)
    distance_population: str = ""
    identity: dict[str, Any] | None = None
    diversity: dict[str, Any] | None = None
    features: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Returns every figure as JSON; NaN becomes null."""
        p, reader = self.population, self.text_reader or {"name": None, "fingerprint": None}
        return _plain(
            {
                "format_version": FORMAT_VERSION,
                "system": {"name": self.name, **self.about},
                "population": {
                    "data": str(p.data),
                    "data_fingerprint": p.info["fingerprint"],
                    "split": p.split,
                    "records": len(p),
                    "people": len(p.people),
                    "au_combinations": len(np.unique(p.asked, axis=0)),
                    "size": p.size,
                    "fingerprint": p.fingerprint,
                    "calibration": {"split": self.truth.split, "records": len(self.truth)},
                    "distances": self.distance_population,
                },
                "scorer": self.evaluator,
                "text_reader": reader["name"],
                "seed": self.seed,
                "compares_with": {
                    "population": p.fingerprint,
                    "calibration": self.truth.fingerprint,
                    "scorer": self.evaluator["fingerprint"],
                    "text_reader": reader["fingerprint"],
                    "calibration_seed": CALIBRATION_SEED,
                    "resizing": CLEAN if self.features == INCEPTION else None,
                },
                "table": table_rows(self),
                "aaad": {side: _alignment(found) for side, found in self.alignments.items()},
                "units": None if self.units is None else _units(self.units),
                "groups": [dataclasses.asdict(group) for group in self.groups],
                "distances": {
                    answer: [{"name": s.name, **dataclasses.asdict(s)} for s in scores]
                    for answer, scores in self.distances.items()
                },
                "identity": self.identity,
                "diversity": self.diversity,
                "notes": self.notes,
            }
        )


def table_rows(results: Results) -> list[dict[str, Any]]:
    """Returns the rows of the main table: the system's, then the floors'.

    Each row holds its name under "answer", the number of records under "N" and each figure under
    the name of its column.
    """
    rows: dict[str, dict[str, Any]] = {answer: {} for answer in (SYSTEM, REAL, *FLOORS)}
    for answer, scores in results.distances.items():
        rows[answer].update({score.name: score.value for score in scores})
    for side, alignment in results.alignments.items():
        for answer, agreement in alignment.agreements.items():
            row = rows[answer]
            row[f"AAAD ({side})"] = agreement.aaad
            row[f"AAAD-chance ({side})"] = agreement.chance
    if results.units is not None:
        for answer, scores in results.units.scores.items():
            rows[answer]["AU-F1"] = scores.macro_f1
        for answer, conflicts in results.units.conflicts.items():
            rows[answer]["conflicts"] = conflicts["all"][0]
    counts = dict.fromkeys(rows, len(results.population))
    if results.population.image is None:  # these floors are then those of the seen test set
        counts |= dict.fromkeys(("shuffled texts", "mean vector"), len(results.truth))
    return [
        {"answer": results.name if name == SYSTEM else name, "N": counts[name], **row}
        for name, row in rows.items()
        if row or name == SYSTEM
    ]


def _alignment(alignment: Alignment) -> dict[str, Any]:
    """Returns an alignment without its cosines."""
    answers = {name: dataclasses.asdict(found) for name, found in alignment.agreements.items()}
    for fields in answers.values():
        del fields["cosines"]
    return {"calibration": dataclasses.asdict(alignment.calibration), "answers": answers}


def _units(units: UnitReport) -> dict[str, Any]:
    answers = {}
    for name, scores in units.scores.items():
        answers[name] = {"macro_f1": scores.macro_f1}
        for quantity in ("f1", "precision", "recall"):
            answers[name][quantity] = _by_unit(getattr(scores, quantity))
    return {
        "answers": answers,
        "conflicts": units.conflicts,
        "reliability": units.reliability,
        "confusion": units.confusion,
        "asked": units.asked,
    }


def _by_unit(values: Float[np.ndarray, " A"]) -> dict[str, float]:
    return {f"AU{number}": value for number, value in zip(AU_NUMBERS, values, strict=True)}


def _plain(value: Any) -> Any:
    """Converts arrays to lists, numpy's numbers to Python's and NaN to None."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(entry) for entry in (value.tolist() if hasattr(value, "tolist") else value)]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
