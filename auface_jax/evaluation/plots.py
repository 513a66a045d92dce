"""Plots of an evaluation's figures: bars, curves, matrices and sheets of faces."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Int8, UInt8
from matplotlib.figure import Figure
from PIL import Image

from auface_jax.evaluation.population import Population
from auface_jax.evaluation.results import Results
from auface_jax.evaluation.scores import REAL, REFERENCE, SYSTEM, Alignment, UnitReport
from auface_jax.facs import AU_NUMBERS
from auface_jax.images import files, sheets
from auface_jax.images.comparison import unit_caption

_COLOURS = {SYSTEM: "tab:blue", REAL: "tab:green", REFERENCE: "0.6"}
_SHEET_ROWS = 10


def write_plots(
    results: Results,
    out: Path,
    made: UInt8[np.ndarray, "M S S 3"],
    read: Int8[np.ndarray, "M A"],
) -> list[Path]:
    """Writes plots of all figures that the results hold.

    Args:
      results: all figures.
      out: folder to write to.
      made: the system's pictures.
      read: units read from them.

    Returns:
      The files, in the order in which a report shows them.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths, name = [], results.name

    def save(figure: Figure, file: str) -> None:
        figure.savefig(out / file)
        paths.append(out / file)

    if results.units is not None:
        save(unit_bars(results.units, name), "units.png")
        save(reliability_curve(results.units, name), "reliability.png")
        save(confusion_matrices(results.units), "confusion.png")
    for side, alignment in results.alignments.items():
        save(cosine_histogram(alignment, name, side), f"cosines-{side.replace(' ', '-')}.png")
    if "labels" in results.alignments:
        cosines = results.alignments["labels"].agreements[SYSTEM].cosines
        order = np.argsort(cosines)
        order = order[np.isfinite(cosines[order])]
        for file, indices in (
            ("best", order[::-1][:_SHEET_ROWS]),
            ("worst", order[:_SHEET_ROWS]),
        ):
            page = sample_sheet(results.population, made, read, cosines, indices)
            files.save_png(page, out / f"{file}.png", synthetic="true", system=name)
            paths.append(out / f"{file}.png")
    return paths


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _title(answer: str, name: str) -> str:
    return name if answer == SYSTEM else answer


def unit_bars(units: UnitReport, name: str) -> Figure:
    """Plots F1 of each unit for the system, for real pictures and for unchanged references."""
    figure = _figure(9, 3.6)
    axes = figure.subplots()
    answers = [answer for answer in _COLOURS if answer in units.scores]
    width = 0.8 / len(answers)
    positions = np.arange(len(AU_NUMBERS))
    for number, answer in enumerate(answers):
        scores = units.scores[answer]
        label = f"{_title(answer, name)}, macro {scores.macro_f1:.2f}"
        offset = (number - (len(answers) - 1) / 2) * width
        axes.bar(positions + offset, np.nan_to_num(scores.f1), width, label=label,
                 color=_COLOURS[answer])  # fmt: skip
    axes.set_xticks(positions, [f"AU{n}" for n in AU_NUMBERS])
    axes.set_ylim(0, 1)
    axes.set_ylabel("F1")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(answers), frameon=False, fontsize=9)
    return figure


def reliability_curve(units: UnitReport, name: str) -> Figure:
    """Plots the evaluator's probabilities against the share of labels that have the unit."""
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
    """Plots the share in which each unit is read where another is asked for, and its excess."""
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
    """Plots cosines of system, real pictures and shuffled texts, with C_min, C̄ and C_max."""
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
    indices: Int[np.ndarray, " R"],
) -> Image.Image:
    """Makes a sheet of reference, real picture and generated picture of some records.

    Args:
      population: records that are evaluated.
      made: the system's pictures.
      read: units read from them.
      cosines: cosine of each picture and its label vector.
      indices: indices of the records to show.
    """
    captions = [
        f"cosine {cosines[index]:.2f}\nasked for {_unit_names(population.asked[index])}\n"
        f"read {_unit_names(read[index])}"
        for index in indices
    ]
    columns, titles = [population.reference[indices], made[indices]], ["reference", "generated"]
    if population.image is not None:
        columns.insert(1, population.image[indices])
        titles.insert(1, "real")
    return sheets.sheet(columns, titles, captions, scale=max(1, 128 // population.size))


def _unit_names(labels: Int8[np.ndarray, " A"]) -> str:
    """Returns the names of active units, with a line break after each four."""
    return unit_caption(labels).replace("\n", "\n    ")
