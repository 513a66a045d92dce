"""The page report.md of an evaluation.

The first table has the paper's columns (FID, KID, IS, LPIPS, AAAD) and one row for each system or
floor. It leaves out figures on real BP4D, which is another population.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from auface_jax.evaluation.groups import AGE, PERSON, SKIN_TONE
from auface_jax.evaluation.scores import REAL, REFERENCE, SYSTEM
from auface_jax.facs import AU_NUMBERS
from auface_jax.runs.markdown import table

_FEW_PEOPLE = 5  # people shown at either end of the ranking; report.json has all of them
# Beginnings of the names of columns, in the order of the main table.
_ORDER = ("FID", "KID", "IS", "LPIPS", "AAAD (", "AAAD-chance", "AU-F1", "conflicts")


def markdown(
    report: Mapping[str, Any],
    *,
    beside: Sequence[Mapping[str, Any]] = (),
    plots: Sequence[str] = (),
) -> str:
    """Formats a report.

    Args:
      report: contents of report.json.
      beside: earlier reports that stand in the same tables.
      plots: names of picture files beside report.md.
    """
    p, scorer = report["population"], report["scorer"]
    reader = report["text_reader"]
    parts = [
        f"# {report['system']['name']}",
        f"{p['records']:,} records of {p['people']} people with {p['au_combinations']} AU "
        f"combinations: {p['split']} of `{p['data']}` (fingerprint "
        f"{p['data_fingerprint'][:12]}), {p['size']} px. Scored by "
        f"`{scorer['name']}` ({scorer['kind']}, weights "
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


def _main_table(report: Mapping[str, Any], beside: Sequence[Mapping[str, Any]]) -> str:
    """Formats the rows of system, earlier systems and floors.

    The paper's columns come first, in its order, then this project's own.
    """
    first, *below = report["table"]
    rows = [first, *(other["table"][0] for other in beside), *below]
    names = dict.fromkeys(key for row in rows for key in row if key not in ("answer", "N"))
    rank = {name: next(i for i, o in enumerate(_ORDER) if name.startswith(o)) for name in names}
    columns = sorted(names, key=rank.__getitem__)
    text = table(
        ["", "N", *columns],
        [[row["answer"], f"{row['N']:,}", *(_shown(row.get(c)) for c in columns)] for row in rows],
    )
    p = report["population"]
    remarks = []
    if any(name.startswith(("FID", "KID")) for name in columns):
        remarks.append(f"FID and KID are against {p['distances']}.")
    if report["aaad"]:
        remarks.append(
            f"C_min and C_max are of {p['calibration']['records']:,} real pictures of the seen "
            "test set."
        )
    if report["units"]:
        remarks.append("AU-F1 is the macro F1 of the units; conflicts: see below.")
    return "\n\n".join([text, " ".join(remarks)]) if remarks else text


def _aaad_section(report: Mapping[str, Any], side: str) -> str:
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
    return f"{head}\n\n{table(header, rows)}"


def _unit_table(report: Mapping[str, Any]) -> str:
    answers = report["units"]["answers"]
    shares = report["aaad"].get("labels", {}).get("answers", {}).get(SYSTEM, {})
    header = ["", "precision", "recall", "F1"]
    header += [f"F1, {name}" for name in (REAL, REFERENCE) if name in answers]
    header += ["share of C̄"] if shares else []
    rows = []
    for index, number in enumerate(AU_NUMBERS):
        unit, own = f"AU{number}", answers[SYSTEM]
        row = [unit, *(_shown(own[name][unit]) for name in ("precision", "recall", "f1"))]
        row += [_shown(answers[name]["f1"][unit]) for name in (REAL, REFERENCE) if name in answers]
        row += [_shown(shares["contributions"][index])] if shares else []
        rows.append(row)
    macro = ["macro", "", "", _shown(answers[SYSTEM]["macro_f1"])]
    macro += [_shown(answers[name]["macro_f1"]) for name in (REAL, REFERENCE) if name in answers]
    macro += [_shown(shares["mean_cosine"])] if shares else []
    return table(header, [*rows, macro])


def _conflict_table(report: Mapping[str, Any], beside: Sequence[Mapping[str, Any]]) -> str:
    """Formats a table in the form of the paper's user study: a column a set, a row a system."""
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
        f"as active.\n\n{table(header, rows)}"
    )


def _group_tables(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = []
    header = ["people", "pictures", "AU-F1", "AU-F1, real", "AAAD", "AAAD-chance"]
    for kind in (SKIN_TONE, AGE, PERSON):
        of_kind = [group for group in groups if group["kind"] == kind]
        if not of_kind:
            continue
        remark = ""
        if kind == PERSON and len(of_kind) > 2 * _FEW_PEOPLE:
            scored = sorted(
                (g for g in of_kind if g["macro_f1"] is not None), key=lambda g: g["macro_f1"]
            )
            remark = (
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
        parts.append(remark + table([kind, *header], rows))
    return parts


def _identity_text(report: Mapping[str, Any]) -> str:
    found = {name: value for name, value in report["identity"].items() if name != "features"}
    header = [f"mean cosine ({report['identity']['features']})", *found]
    return table(header, [["to the reference face", *map(_shown, found.values())]])


def _shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
