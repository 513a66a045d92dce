"""Pictures of an evaluation's figures: bars, curves, matrices, and faces to look at."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int8, UInt8
from matplotlib.figure import Figure

from auface_jax.evaluation.population import Population
from auface_jax.evaluation.results import Findings
from auface_jax.evaluation.scores import REAL, REFERENCE, SYSTEM, Alignment, UnitReport
from auface_jax.facs import AU_NUMBERS
from auface_jax.images import files, sheets
from auface_jax.images.comparison import unit_caption

_COLOURS = {SYSTEM: "tab:blue", REAL: "tab:green", REFERENCE: "0.6"}
_ROWS = 10  # of a sheet


def write_plots(
    findings: Findings,
    out: Path,
    made: UInt8[np.ndarray, "M S S 3"],
    read: Int8[np.ndarray, "M A"],
) -> list[Path]:
    """Writes what can be shown of the findings into `out`; returns the files, in reading order.

    Args:
      made: the system's pictures.
      read: units read from them.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths, name = [], findings.name

    def save(figure: Figure, file: str) -> None:
        figure.savefig(out / file)
        paths.append(out / file)

    if findings.units is not None:
        save(unit_bars(findings.units, name), "units.png")
        save(reliability_curve(findings.units, name), "reliability.png")
        save(confusion_matrices(findings.units), "confusion.png")
    for side, alignment in findings.alignments.items():
        save(cosine_histogram(alignment, name, side), f"cosines-{side.replace(' ', '-')}.png")
    if "labels" in findings.alignments:
        cosines = findings.alignments["labels"].agreements[SYSTEM].cosines
        order = np.argsort(cosines)
        order = order[np.isfinite(cosines[order])]
        for file, rows in (("best", order[::-1][:_ROWS]), ("worst", order[:_ROWS])):
            page = sample_sheet(findings.population, made, read, cosines, rows)
            files.save_png(page, out / f"{file}.png", synthetic="true", system=name)
            paths.append(out / f"{file}.png")
    return paths


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _title(answer: str, name: str) -> str:
    return name if answer == SYSTEM else answer


def unit_bars(units: UnitReport, name: str) -> Figure:
    """F1 of each unit: of the system, of real pictures, of the reference unchanged."""
    figure = _figure(9, 3.6)
    axes = figure.subplots()
    answers = [answer for answer in _COLOURS if answer in units.scores]
    width = 0.8 / len(answers)
    places = np.arange(len(AU_NUMBERS))
    for number, answer in enumerate(answers):
        scores = units.scores[answer]
        label = f"{_title(answer, name)}, macro {scores.macro_f1:.2f}"
        offset = (number - (len(answers) - 1) / 2) * width
        axes.bar(places + offset, np.nan_to_num(scores.f1), width, label=label,
                 color=_COLOURS[answer])  # fmt: skip
    axes.set_xticks(places, [f"AU{n}" for n in AU_NUMBERS])
    axes.set_ylim(0, 1)
    axes.set_ylabel("F1")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(answers), frameon=False, fontsize=9)
    return figure


def reliability_curve(units: UnitReport, name: str) -> Figure:
    """Probabilities that the scorer gave against how often the unit was asked for or is there."""
    figure = _figure(4.8, 5.6)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color="0.5", linestyle=":", label="reliable")
    for answer in (SYSTEM, REAL):
        if answer in units.reliability:
            mean, share, count = units.reliability[answer].T
            colour, label = _COLOURS[answer], _title(answer, name)
            axes.plot(mean, share, marker="o", markersize=4, color=colour, label=label)
            edges = np.linspace(0, 1, len(count) + 1)
            below.stairs(count / count.sum(), edges, color=colour)
    axes.set_ylabel("share of these units that the label has")
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="upper left", fontsize=9)
    below.set_xlabel("probability that the scorer reads")
    below.set_ylabel("share of all")
    below.set_ylim(0, None)
    for panel in (axes, below):
        panel.grid(alpha=0.3)
    return figure


def confusion_matrices(units: UnitReport) -> Figure:
    """Left what is read where a unit is asked for, right by how much that is too often."""
    figure = _figure(11, 5)
    panels = figure.subplots(1, 2)
    read, excess = 100 * units.confusion, 100 * (units.confusion - units.asked)
    reach = max(10.0, float(np.abs(excess).max()))
    names = [f"AU{n}" for n in AU_NUMBERS]
    for panel, values, title, colours, low in (
        (panels[0], read, "share of the pictures in which it is read, per cent", "Blues", 0.0),
        (panels[1], excess, "… less the share in which it is asked for", "RdBu_r", -reach),
    ):
        high = 100.0 if low == 0.0 else reach
        shown = panel.imshow(values, cmap=colours, vmin=low, vmax=high)
        panel.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        panel.set_yticks(range(len(names)), names, fontsize=8)
        panel.set_xlabel("unit read")
        panel.set_ylabel("of the pictures asked for")
        panel.set_title(title, fontsize=10)
        figure.colorbar(shown, ax=panel, shrink=0.8)
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            dark = value > 60 if low == 0.0 else abs(value) > 0.6 * reach
            panel.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=6,
                       color="white" if dark else "black")  # fmt: skip
    return figure


def cosine_histogram(alignment: Alignment, name: str, side: str) -> Figure:
    """Cosines of the system, of real pictures and of shuffled texts, with C_min, C̄ and C_max."""
    figure = _figure(7, 3.8)
    axes = figure.subplots()
    bins = np.linspace(0, 1, 41)
    shown = {"real pictures, texts shuffled": (alignment.shuffled, "tab:orange")}
    for answer in (REAL, SYSTEM):
        if answer in alignment.agreements:
            cosines = alignment.agreements[answer].cosines
            shown[_title(answer, name)] = (cosines, _COLOURS[answer])
    for label, (cosines, colour) in shown.items():
        kept = cosines[np.isfinite(cosines)]
        weights = np.full(len(kept), 1 / len(kept))
        axes.hist(kept, bins, weights=weights, histtype="stepfilled", alpha=0.3, color=colour)
        axes.hist(kept, bins, weights=weights, histtype="step", color=colour, label=label)
    calibration, own = alignment.calibration, alignment.agreements[SYSTEM]
    for value, text, style, side_of_line in (
        (calibration.c_min, "C_min", "--", "left"),
        (own.mean_cosine, "C̄", "-", "right"),
        (calibration.c_max, "C_max", "--", "left"),
    ):
        axes.axvline(value, color="black", linestyle=style, linewidth=1)
        axes.annotate(
            f"{text} {value:.2f}",
            (value, 1.0),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha=side_of_line,  # C̄ may lie close to C_max, and C_min to the axis
            fontsize=8,
        )
    axes.set_xlim(0, 1.02)
    axes.set_xlabel(f"cosine of what is read from a picture and its text ({side})")
    axes.set_ylabel("share of the pairs")
    axes.legend(loc="upper left", fontsize=8)
    return figure


def sample_sheet(
    population: Population,
    made: UInt8[np.ndarray, "M S S 3"],
    read: Int8[np.ndarray, "M A"],
    cosines: Float[np.ndarray, " M"],
    rows: np.ndarray,
):
    """reference | real | generated, with what was asked for, what was read, and the cosine."""
    captions = [
        f"cosine {cosines[row]:.2f}\nasked for {_words(population.asked[row])}\n"
        f"read {_words(read[row])}"
        for row in rows
    ]
    columns, titles = [population.reference[rows], made[rows]], ["reference", "generated"]
    if population.image is not None:
        columns.insert(1, population.image[rows])
        titles.insert(1, "real")
    return sheets.sheet(columns, titles, captions, scale=max(1, 128 // population.size))


def _words(labels: Int8[np.ndarray, " A"]) -> str:
    """The units of a label row, a new line after each four."""
    return unit_caption(labels).replace("\n", "\n    ")
