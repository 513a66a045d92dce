"""What is left of an evaluation: report.json with every figure, report.md to read, records.csv.

The first table of report.md has the form of the paper's (FID, KID, IS, LPIPS, AAAD), a row a system
or floor; figures on real BP4D are of another population and are not in it. Systems that were
evaluated before on the very same records, by the same readers, can stand beside the new one.
"""

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from auface_jax.evaluation.groups import AGE, PERSON, SKIN_TONE
from auface_jax.evaluation.results import Findings, table_rows
from auface_jax.evaluation.scores import REAL, REFERENCE, SYSTEM
from auface_jax.facs import AU_NUMBERS

JSON, MARKDOWN, RECORDS, FAULTS = "report.json", "report.md", "records.csv", "faults.txt"
_FEW_PEOPLE = 5  # shown of either end; report.json has them all


class ReportError(ValueError):
    """A report that cannot be written, or an earlier one that cannot stand beside it."""


def make_folder(out: Path) -> None:
    """Makes the folder of a report, so that what hinders it is known before anything is drawn.

    Raises:
      ReportError: it is a file, or nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ReportError(
            f"--out {out} cannot be written ({error.strerror or error}); name a folder, new or "
            "there, in which you may write"
        ) from error


def write_report(
    findings: Findings, out: Path, *, beside: Sequence[Mapping] = (), plots: Sequence[Path] = ()
) -> None:
    """Writes report.json and report.md into the folder `out`.

    Args:
      beside: earlier reports, from `read_beside`.
      plots: pictures in `out` to show in report.md.
    """
    out.mkdir(parents=True, exist_ok=True)
    report = findings.as_json()
    (out / JSON).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    (out / MARKDOWN).write_text(markdown(report, beside=beside, plots=[p.name for p in plots]))


def write_records(path: Path, findings: Findings, probabilities: np.ndarray) -> None:
    """A row a record: the cosine with each side of its text, and what was read from the picture."""
    sides = {side: a.agreements[SYSTEM].cosines for side, a in findings.alignments.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        units = [f"AU{n}" for n in AU_NUMBERS]
        asked = [f"asked {unit}" for unit in units]
        table.writerow(["record", "person", *(f"cosine ({s})" for s in sides), *units, *asked])
        p = findings.population
        for row, record in enumerate(p.names):
            cosines = [f"{cosine[row]:.6f}" for cosine in sides.values()]
            read = [f"{value:.4f}" for value in probabilities[row]]
            table.writerow([record, p.subjects[row], *cosines, *read, *p.labels[row].tolist()])


def read_beside(folders: Sequence[str | Path], findings: Findings) -> list[dict]:
    """Earlier reports, each from the folder that it was written to.

    Raises:
      ReportError: not a report, or of other records, by another scorer or text reader, or with
        another C_min; says in what they differ.
    """
    ours, reports = findings.as_json(), []
    for folder in map(Path, folders):
        try:
            report = json.loads((folder / JSON).read_text())
            differing = _differing(ours, report)
            for other in (ours, *reports):  # none is to meet another's reader in one column
                differing |= _other_reader(other, report)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReportError(f"{folder} holds no report of an evaluation ({error})") from error
        if differing:
            told = "; ".join(f"{name} {sides}" for name, sides in differing.items())
            raise ReportError(
                f"{folder} cannot stand in one table with this evaluation, its "
                f"{' and '.join(differing)} differ ({told}): figures compare on the same records "
                "of the same data set, read by the same scorer and text reader, and AAAD with the "
                "same C_min; evaluate that system again, as this one"
            )
        reports.append(report)
    return reports


def _differing(ours: Mapping, theirs: Mapping) -> dict[str, str]:
    """What a report must have in common with this one and has not: its name -> both sides.

    Reports of earlier versions took C_min from their own seed and did not clip what they resized
    for Inception, and do not say so.
    """
    told, asked = theirs["compares_with"], ours["compares_with"]
    found = {
        name: f"{told[name][:12]} there, {asked[name][:12]} here"
        for name in ("population", "calibration", "scorer")
        if told[name] != asked[name]
    }
    seed = told.get("calibration_seed", theirs["seed"])
    if theirs["aaad"] and seed != asked["calibration_seed"]:
        found["seed of C_min"] = f"{seed} there, {asked['calibration_seed']} here"
    resizing = told.get("resizing", "clean, not clipped")
    names = {score["name"] for scores in theirs["distances"].values() for score in scores}
    if asked["resizing"] and names & {"FID", "KID", "IS"} and resizing != asked["resizing"]:
        found["resizing for FID"] = f"{resizing} there, {asked['resizing']} here"
    return found


def _other_reader(one: Mapping, other: Mapping) -> dict[str, str]:
    """Whether two reports have figures of different text readers; as `_differing`.

    Reports of earlier versions say which run it was and not which weights.
    """
    runs = [report["text_reader"] for report in (one, other)]
    weights = [report["compares_with"].get("text_reader") for report in (one, other)]
    known = weights if all(weights) else runs
    if not all(runs) or known[0] == known[1]:
        return {}
    named = (
        f"{run} ({f'weights {of[:12]}' if of else 'weights not told'})"
        for run, of in zip(runs, weights, strict=True)
    )
    return {"text reader": " and ".join(named)}


def markdown(report: Mapping, *, beside: Sequence[Mapping] = (), plots: Sequence[str] = ()) -> str:
    """A report to read, from what report.json holds."""
    p, scorer = report["population"], report["scorer"]
    reader = report["text_reader"]
    parts = [
        f"# {report['system']['name']}",
        f"{p['records']:,} records of {p['people']} people with {p['label_rows']} label rows: "
        f"{p['split']} of `{p['data']}` (fingerprint {p['data_fingerprint'][:12]}), {p['size']} "
        f"px. Judged by `{scorer['name']}` ({scorer['kind']}, weights "
        f"{scorer['fingerprint'][:12]}). Texts: labels"
        + (f", and as `{reader}` reads them" if reader else "")
        + f". Seed {report['seed']}.",
        "\n".join(f"- {note}" for note in report["notes"]),
        "## Systems and floors",
        _main_table(report, beside),
    ]
    if report["aaad"]:
        parts += [
            "## AAAD",
            *(_aaad_section(report, side) for side in report["aaad"]),
        ]
    if report["units"]:
        parts += ["## Units", _unit_table(report)]
        parts += ["## Conflicting sets", _conflict_table(report, beside)]
    if report["groups"]:
        parts += ["## By group", *_group_tables(report["groups"])]
    if report["identity"]:
        parts += ["## Identity", _identity_text(report)]
    if report["diversity"]:
        d = report["diversity"]
        parts += [
            "## Diversity",
            f"Mean 1 - cosine ({d['features']}) of pictures of one record with {d['seeds']} seeds: "
            f"{_shown(d['between seeds'])}; of pictures of different records: "
            f"{_shown(d['between records'])} ({d['records']} records).",
        ]
    if plots:
        parts += ["## Pictures", *(f"![{name.removesuffix('.png')}]({name})" for name in plots)]
    return "\n\n".join(part for part in parts if part) + "\n"


_ORDER = ("FID", "KID", "IS", "LPIPS", "AAAD (", "AAAD-chance", "AU-F1", "conflicts")


def _main_table(report: Mapping, beside: Sequence[Mapping]) -> str:
    """System, earlier systems, floors; columns in the paper's order, then our own."""
    first, *below = report["table"]
    rows = [first, *(other["table"][0] for other in beside), *below]
    names = dict.fromkeys(key for row in rows for key in row if key not in ("answer", "N"))
    rank = {name: next(i for i, o in enumerate(_ORDER) if name.startswith(o)) for name in names}
    columns = sorted(names, key=rank.__getitem__)
    table = _table(
        ["", "N", *columns],
        [[row["answer"], f"{row['N']:,}", *(_shown(row.get(c)) for c in columns)] for row in rows],
    )
    p = report["population"]
    told = []
    if any(name.startswith(("FID", "KID")) for name in columns):
        told.append(f"FID and KID are against {p['distances']}.")
    if report["aaad"]:
        told.append(
            f"C_min and C_max are of {p['calibration']['records']:,} real pictures of the seen "
            "test set."
        )
    if report["units"]:
        told.append("AU-F1 is the macro F1 of the units; conflicts: see below.")
    return "\n\n".join([table, " ".join(told)]) if told else table


def _aaad_section(report: Mapping, side: str) -> str:
    found = report["aaad"][side]
    c, answers = found["calibration"], found["answers"]
    head = (
        f"Texts as {side}: C_max {c['c_max']:.3f}, C_min {c['c_min']:.3f} ({c['c_min_low']:.3f} to "
        f"{c['c_min_high']:.3f} over ten derangements), mean of ground truth "
        f"{c['mean_truth']:.3f}, shuffled {c['mean_shuffled']:.3f}; {c['pairs']:,} pairs, "
        f"{c['left_out']} without a unit left out."
    )
    rows = [
        [
            report["system"]["name"] if name == SYSTEM else name,
            f"{a['pairs']:,}",
            _shown(a["mean_cosine"]),
            _shown(a["aaad"]),
            f"{_shown(a['aaad_low'])} – {_shown(a['aaad_high'])}",
            _shown(a["chance"]),
        ]
        for name, a in answers.items()
    ]
    header = ["answers", "pairs", "C̄", "AAAD", "95 %", "AAAD-chance"]
    return f"{head}\n\n{_table(header, rows)}"


def _unit_table(report: Mapping) -> str:
    answers = report["units"]["answers"]
    shares = report["aaad"].get("labels", {}).get("answers", {}).get(SYSTEM, {})
    header = ["", "precision", "recall", "F1"]
    header += [f"F1, {name}" for name in (REAL, REFERENCE) if name in answers]
    header += ["share of C̄"] if shares else []
    rows = []
    for place, number in enumerate(AU_NUMBERS):
        unit, own = f"AU{number}", answers[SYSTEM]
        row = [unit, *(_shown(own[name][unit]) for name in ("precision", "recall", "f1"))]
        row += [_shown(answers[name]["f1"][unit]) for name in (REAL, REFERENCE) if name in answers]
        row += [_shown(shares["contributions"][place])] if shares else []
        rows.append(row)
    macro = ["macro", "", "", _shown(answers[SYSTEM]["macro_f1"])]
    macro += [_shown(answers[name]["macro_f1"]) for name in (REAL, REFERENCE) if name in answers]
    macro += [_shown(shares["mean_cosine"])] if shares else []
    return _table(header, [*rows, macro])


def _conflict_table(report: Mapping, beside: Sequence[Mapping]) -> str:
    """The paper's user study in form: a column a set, a row a system."""
    found = report["units"]["conflicts"]
    sets = list(found[SYSTEM])
    rows = [[report["system"]["name"], *(_shown(found[SYSTEM][name][0]) for name in sets)]]
    for other in beside:
        if other["units"]:
            theirs = other["units"]["conflicts"][SYSTEM]
            rows.append([other["system"]["name"], *(_shown(theirs[name][0]) for name in sets)])
    rows += [
        [name, *(_shown(of_answer[set_][0]) for set_ in sets)]
        for name, of_answer in found.items()
        if name != SYSTEM
    ]
    header = ["", *(f"{name} (N = {found[SYSTEM][name][1]})" for name in sets)]
    return (
        "Of the pictures asked for a set, the share in which both units of every opposed pair read "
        f"as active.\n\n{_table(header, rows)}"
    )


def _group_tables(groups: Sequence[Mapping]) -> list[str]:
    parts = []
    header = ["people", "pictures", "AU-F1", "AU-F1, real", "AAAD", "AAAD-chance"]
    for kind in (SKIN_TONE, AGE, PERSON):
        of_kind = [group for group in groups if group["kind"] == kind]
        if not of_kind:
            continue
        told = ""
        if kind == PERSON and len(of_kind) > 2 * _FEW_PEOPLE:
            scored = sorted(
                (g for g in of_kind if g["macro_f1"] is not None), key=lambda g: g["macro_f1"]
            )
            told = (
                f"The {_FEW_PEOPLE} people with the lowest AU-F1 and the {_FEW_PEOPLE} with the "
                f"highest, of {len(of_kind)}; report.json has all of them.\n\n"
            )
            of_kind = scored[:_FEW_PEOPLE] + scored[-_FEW_PEOPLE:]
        rows = [
            [
                group["name"],
                str(group["people"]),
                str(group["count"]),
                *(_shown(group[key]) for key in ("macro_f1", "real_f1", "aaad", "chance")),
            ]
            for group in of_kind
        ]
        parts.append(told + _table([kind, *header], rows))
    return parts


def _identity_text(report: Mapping) -> str:
    found = {name: value for name, value in report["identity"].items() if name != "features"}
    header = [f"mean cosine ({report['identity']['features']})", *found]
    return _table(header, [["to the reference face", *map(_shown, found.values())]])


def summary(findings: Findings) -> list[str]:
    """The first table's rows, for the terminal."""
    lines = []
    for row in table_rows(findings):
        figures = {name: value for name, value in row.items() if name not in ("answer", "N")}
        shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        lines.append(f"  {row['answer']}: {shown}")
    return lines


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
