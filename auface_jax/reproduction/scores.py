"""Figures of one run from its evaluation: of all records, and of those with opposed units."""

import csv
from pathlib import Path

import numpy as np

from auface_jax.evaluation import report
from auface_jax.facs import AU_NUMBERS
from auface_jax.facs.interactions import OPPOSED_PAIRS
from auface_jax.metrics.units import unit_scores
from auface_jax.recognition.image_recognizer import THRESHOLD
from auface_jax.runs.json_files import read_object

OPPOSED = "opposed"  # marks figures of records whose labels have two opposed units


def read_scores(folder: Path) -> dict[str, float]:
    """Reads the figures of an evaluation.

    AAAD is computed with the labels unless its name says "text reader". "both shown" is the share
    of the records asked for one of the paper's conflicting sets in which all opposed units are
    read.

    Args:
      folder: folder of the evaluation's report.

    Returns:
      Name -> figure, without figures that the report lacks or that have no record.
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
    """Computes figures of the records with opposed units, with the calibration of all records."""
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    asked = np.array([[int(line[f"asked AU{n}"]) for n in AU_NUMBERS] for line in lines])
    read = np.array([[float(line[f"AU{n}"]) for n in AU_NUMBERS] for line in lines])
    cosines = np.array([float(line["cosine (labels)"]) for line in lines])
    column = {unit: AU_NUMBERS.index(unit) for pair in OPPOSED_PAIRS for unit in pair}
    opposed = np.zeros(len(lines), bool)
    for first, second in OPPOSED_PAIRS:
        opposed |= (asked[:, column[first]] == 1) & (asked[:, column[second]] == 1)
    if not opposed.any():
        return {}
    c, mean = calibration, cosines[opposed].mean()
    units = unit_scores(
        (read[opposed] >= THRESHOLD).astype(np.int8), asked[opposed].astype(np.int8)
    )
    return {
        f"AAAD, {OPPOSED}": float((mean - c["c_min"]) / (c["c_max"] - c["c_min"])),
        f"AAAD-chance, {OPPOSED}": float(
            (mean - c["mean_shuffled"]) / (c["mean_truth"] - c["mean_shuffled"])
        ),
        f"AU-F1, {OPPOSED}": units.macro_f1,
        f"records, {OPPOSED}": int(opposed.sum()),
    }
