"""Files of an evaluation: report.json with every figure, report.md to read, and records.csv.

Systems that were evaluated earlier on the same records, by the same readers, can stand in the
tables of a new report.
"""

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from auface_jax.evaluation.report_page import markdown
from auface_jax.evaluation.results import FORMAT_VERSION, Results, table_rows
from auface_jax.evaluation.scores import SYSTEM
from auface_jax.facs import AU_NUMBERS
from auface_jax.runs.json_files import read_object

JSON, MARKDOWN, RECORDS, FAULTS = "report.json", "report.md", "records.csv", "faults.txt"


class ReportError(ValueError):
    """A report cannot be written, or an earlier one cannot stand beside it."""


def make_folder(out: Path) -> None:
    """Makes the folder of a report, so that an error shows before any picture is drawn.

    Raises:
      ReportError: the folder is a file, or nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ReportError(
            f"--out {out} cannot be written ({error.strerror or error}); name a new "
            "or existing folder in which you may write"
        ) from error


def write_report(
    results: Results,
    out: Path,
    *,
    beside: Sequence[Mapping[str, Any]] = (),
    plots: Sequence[Path] = (),
) -> None:
    """Writes report.json and report.md into the folder `out`.

    Args:
      results: all figures.
      out: folder to write to.
      beside: earlier reports, from `read_beside`.
      plots: picture files in `out` that report.md shows.
    """
    out.mkdir(parents=True, exist_ok=True)
    report = results.as_json()
    (out / JSON).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    (out / MARKDOWN).write_text(markdown(report, beside=beside, plots=[p.name for p in plots]))


def write_records(path: Path, results: Results, probabilities: Float[np.ndarray, "M A"]) -> None:
    """Writes a CSV with one row a record.

    Each row holds the cosine with each side of the record's text, the probabilities of the units in
    the system's picture, and the record's labels.

    Args:
      path: file to write.
      results: all figures.
      probabilities: probabilities that the evaluator read from the system's pictures.
    """
    sides = {side: a.agreements[SYSTEM].cosines for side, a in results.alignments.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        units = [f"AU{n}" for n in AU_NUMBERS]
        asked = [f"asked {unit}" for unit in units]
        writer.writerow(["record", "person", *(f"cosine ({s})" for s in sides), *units, *asked])
        p = results.population
        for index, record in enumerate(p.record_ids):
            cosines = [f"{cosine[index]:.6f}" for cosine in sides.values()]
            read = [f"{value:.4f}" for value in probabilities[index]]
            writer.writerow([record, p.subjects[index], *cosines, *read, *p.labels[index].tolist()])


def read_beside(folders: Sequence[str | Path], results: Results) -> list[dict[str, Any]]:
    """Reads earlier reports that are to stand in one table with new results.

    Args:
      folders: folder of each earlier report.
      results: the new results; their figures need not be filled in yet.

    Raises:
      ReportError: a folder holds no report of this format, or its report is of other records, by
        another scorer or text reader, or with another C_min; the message says what differs.
    """
    ours, reports = results.as_json(), []
    for folder in map(Path, folders):
        report = _read_report(folder)
        differing = _differing(ours, report)
        for other in (ours, *reports):  # no column may mix figures of two text readers
            differing |= _other_reader(other, report)
        if differing:
            described = "; ".join(f"{name} {sides}" for name, sides in differing.items())
            raise ReportError(
                f"{folder} cannot stand in one table with this evaluation, its "
                f"{' and '.join(differing)} differ ({described}): figures compare on the same "
                "records of the same data set, read by the same scorer and text reader, and AAAD "
                "with the same C_min; evaluate that system again with the options of this one"
            )
        reports.append(report)
    return reports


def _read_report(folder: Path) -> dict[str, Any]:
    try:
        report = read_object(folder / JSON, ReportError)
    except (OSError, ReportError) as error:
        raise ReportError(f"{folder} holds no report of an evaluation ({error})") from error
    if (version := report.get("format_version")) != FORMAT_VERSION:
        raise ReportError(
            f"{folder / JSON} has format {version}, and this version reads {FORMAT_VERSION}; "
            "evaluate that system again"
        )
    return report


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, str]:
    """Finds what two reports must have in common and have not.

    Returns:
      Name of what differs -> a description of both sides.
    """
    found = {}
    there, here = theirs["compares_with"], ours["compares_with"]
    for name in ("population", "calibration", "scorer"):
        if there[name] != here[name]:
            found[name] = f"{there[name][:12]} there, {here[name][:12]} here"
    seeds = there["calibration_seed"], here["calibration_seed"]
    if theirs["aaad"] and seeds[0] != seeds[1]:
        found["seed of C_min"] = f"{seeds[0]} there, {seeds[1]} here"
    resizings = there["resizing"], here["resizing"]
    if all(resizings) and resizings[0] != resizings[1]:
        found["resizing for FID"] = f"{resizings[0]} there, {resizings[1]} here"
    return found


def _other_reader(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, str]:
    """Describes the text readers of two reports if they have different ones; see `_differing`."""
    runs = [report["text_reader"] for report in (one, other)]
    weights = [report["compares_with"]["text_reader"] for report in (one, other)]
    if not all(weights) or weights[0] == weights[1]:
        return {}
    named = (f"{run} (weights {of[:12]})" for run, of in zip(runs, weights, strict=True))
    return {"text reader": " and ".join(named)}


def summary(results: Results) -> list[str]:
    """Formats the first table's rows for the terminal."""
    lines = []
    for row in table_rows(results):
        figures = {name: value for name, value in row.items() if name not in ("answer", "N")}
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        lines.append(f"  {row['answer']}: {shown}")
    return lines
