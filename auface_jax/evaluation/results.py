"""All figures of one evaluation, and the same as JSON."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

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

CLEAN = "clean, clipped"  # how pictures come to the size of FID's network
FORMAT_VERSION = 1


@dataclasses.dataclass(kw_only=True, eq=False)
class Findings:
    """All figures of one evaluation; None and empty where they were not asked for.

    Attributes:
      name: of the system.
      about: what it is: a run or a folder of pictures.
      population: what was asked for.
      truth: the seen test set that C_min and C_max are of.
      scorer: name, kind and fingerprint.
      text_reader: name and fingerprint of the run that read the texts, or None.
      seed: of pictures, shuffled texts and intervals.
      alignments: side of the text -> AAAD.
      distances: answer -> FID, KID, IS, LPIPS.
      distance_population: of the real pictures for these.
      notes: what a reader has to be told.
    """

    name: str
    about: dict[str, Any]
    population: Population
    truth: Population
    scorer: dict[str, str]
    text_reader: dict[str, str] | None
    seed: int
    alignments: dict[str, Alignment] = dataclasses.field(default_factory=dict)
    units: UnitReport | None = None
    groups: list[GroupScore] = dataclasses.field(default_factory=list)
    distances: dict[str, list[Score]] = dataclasses.field(default_factory=dict)
    distance_population: str = ""
    identity: dict[str, float] | None = None
    diversity: dict[str, float] | None = None
    features: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Every figure as JSON; NaN is null."""
        p, reader = self.population, self.text_reader or {"name": None, "fingerprint": None}
        report = {
            "format_version": FORMAT_VERSION,
            "system": {"name": self.name, **self.about},
            "population": {
                "data": str(p.data),
                "data_fingerprint": p.info["fingerprint"],
                "split": p.split,
                "records": len(p),
                "people": len(p.people),
                "label_rows": len(np.unique(p.asked, axis=0)),
                "size": p.size,
                "fingerprint": p.fingerprint,
                "calibration": {"split": self.truth.split, "records": len(self.truth)},
                "distances": self.distance_population,
            },
            "scorer": self.scorer,
            "text_reader": reader["name"],
            "seed": self.seed,
            "compares_with": {
                "population": p.fingerprint,
                "calibration": self.truth.fingerprint,
                "scorer": self.scorer["fingerprint"],
                "text_reader": reader["fingerprint"],
                "calibration_seed": CALIBRATION_SEED,
                "resizing": CLEAN if self.features == INCEPTION else None,
            },
            "table": table_rows(self),
            "aaad": {
                side: {
                    "calibration": dataclasses.asdict(alignment.calibration),
                    "answers": {
                        name: {
                            field.name: getattr(a, field.name)
                            for field in dataclasses.fields(a)
                            if field.name != "cosines"
                        }
                        for name, a in alignment.agreements.items()
                    },
                }
                for side, alignment in self.alignments.items()
            },
            "units": None,
            "groups": [dataclasses.asdict(group) for group in self.groups],
            "distances": {
                answer: [{"name": s.name, **dataclasses.asdict(s)} for s in scores]
                for answer, scores in self.distances.items()
            },
            "identity": self.identity,
            "diversity": self.diversity,
            "notes": self.notes,
        }
        if self.units is not None:
            report["units"] = {
                "answers": {
                    name: {
                        "macro_f1": s.macro_f1,
                        **{
                            quantity: dict(_by_unit(getattr(s, quantity)))
                            for quantity in ("f1", "precision", "recall")
                        },
                    }
                    for name, s in self.units.scores.items()
                },
                "conflicts": self.units.conflicts,
                "reliability": self.units.reliability,
                "confusion": self.units.confusion,
                "asked": self.units.asked,
            }
        return _plain(report)


def table_rows(findings: Findings) -> list[dict[str, Any]]:
    """A row a system or floor: its name, N, and each figure under the name of its column."""
    rows: dict[str, dict[str, Any]] = {answer: {} for answer in (SYSTEM, REAL, *FLOORS)}
    for answer, scores in findings.distances.items():
        rows[answer].update({score.name: score.value for score in scores})
    for side, alignment in findings.alignments.items():
        for answer, agreement in alignment.agreements.items():
            row = rows[answer]
            row[f"AAAD ({side})"] = agreement.aaad
            row[f"AAAD-chance ({side})"] = agreement.chance
    if findings.units is not None:
        for answer, scores in findings.units.scores.items():
            rows[answer]["AU-F1"] = scores.macro_f1
        for answer, conflicts in findings.units.conflicts.items():
            rows[answer]["conflicts"] = conflicts["all"][0]
    counts = dict.fromkeys(rows, len(findings.population))
    if findings.population.image is None:  # then these floors are of the seen test set
        counts |= dict.fromkeys(("shuffled texts", "mean vector"), len(findings.truth))
    return [
        {"answer": findings.name if name == SYSTEM else name, "N": counts[name], **row}
        for name, row in rows.items()
        if row or name == SYSTEM
    ]


def _by_unit(values: np.ndarray) -> list[tuple[str, float]]:
    return [(f"AU{number}", value) for number, value in zip(AU_NUMBERS, values, strict=True)]


def _plain(value: Any) -> Any:
    """Arrays as lists, numpy's numbers as Python's, NaN as None."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(entry) for entry in (value.tolist() if hasattr(value, "tolist") else value)]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
