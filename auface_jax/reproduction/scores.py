"""One run's figures, from what its evaluation wrote: all records, and those with opposed pulls."""

import csv
from pathlib import Path

import numpy as np

from auface_jax.evaluation import report
from auface_jax.facs import AU_NUMBERS
from auface_jax.facs.interactions import OPPOSED_PAIRS
from auface_jax.metrics.units import unit_scores
from auface_jax.recognition.image_recognizer import THRESHOLD
from auface_jax.runs.json_files import read_object

OPPOSED = "opposed"  # figures of the records whose label rows have two opposed units


def read_scores(folder: Path) -> dict[str, float]:
    """Figures by name; those that a report does not have, or that have no record, are absent.

    AAAD is against the labels unless "text reader" stands beside it. "both shown" is the share of
    the records asked for one of the paper's conflicting sets whose opposed units are all read.
    """
    found = read_object(folder / report.JSON, ValueError)
    row = found["table"][0]
    named = {
        "AAAD": "AAAD (labels)",
        "AAAD-chance": "AAAD-chance (labels)",
        "AAAD, text reader": "AAAD (text reader)",
        "AU-F1": "AU-F1",
        "both shown": "conflicts",
    }
    scores = {name: row.get(column) for name, column in named.items()}
    scores |= {
        column: row[column] for column in row if column.startswith(("FID", "KID", "IS", "LPIPS"))
    }
    scores |= _opposed(folder / report.RECORDS, found["aaad"]["labels"]["calibration"])
    return {name: value for name, value in scores.items() if value is not None}


def _opposed(path: Path, calibration: dict[str, float]) -> dict[str, float]:
    """The same figures of the records with opposed units, on the scale of all."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    asked = np.array([[int(line[f"asked AU{n}"]) for n in AU_NUMBERS] for line in lines])
    read = np.array([[float(line[f"AU{n}"]) for n in AU_NUMBERS] for line in lines])
    cosines = np.array([float(line["cosine (labels)"]) for line in lines])
    place = {unit: AU_NUMBERS.index(unit) for pair in OPPOSED_PAIRS for unit in pair}
    rows = np.zeros(len(lines), bool)
    for first, second in OPPOSED_PAIRS:
        rows |= (asked[:, place[first]] == 1) & (asked[:, place[second]] == 1)
    if not rows.any():
        return {}
    c, mean = calibration, cosines[rows].mean()
    units = unit_scores((read[rows] >= THRESHOLD).astype(np.int8), asked[rows].astype(np.int8))
    return {
        f"AAAD, {OPPOSED}": float((mean - c["c_min"]) / (c["c_max"] - c["c_min"])),
        f"AAAD-chance, {OPPOSED}": float(
            (mean - c["mean_shuffled"]) / (c["mean_truth"] - c["mean_shuffled"])
        ),
        f"AU-F1, {OPPOSED}": units.macro_f1,
        f"records, {OPPOSED}": int(rows.sum()),
    }
