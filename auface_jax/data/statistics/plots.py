"""The plots of a data card."""

from pathlib import Path

import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker

from auface_jax import facs
from auface_jax.data.statistics.kinds import ANTAGONISTIC, KIND_OF, KINDS, SINGLE, SYNERGISTIC

_COLOURS = {SINGLE: "#9aa5b8", SYNERGISTIC: "#3b8ea5", ANTAGONISTIC: "#d1603d"}
_PALE = {SINGLE: "#cfd4de", SYNERGISTIC: "#a3cbd6", ANTAGONISTIC: "#eab5a2"}
_INK = "#2b2f38"
_GREY = "#6b7280"
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c4c9d2",
    "axes.labelcolor": _GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8ec",
    "text.color": _INK,
    "xtick.color": _GREY,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def write_plots(counted: dict, folder: Path) -> None:
    """Writes `kinds.png`, `constructs.png`, `units.png` and `texts.png`.

    Args:
      counted: result of `counts.statistics`.
      folder: an existing folder.
    """
    with matplotlib.rc_context(_STYLE):
        for name, plot in (
            ("kinds.png", _plot_kinds),
            ("constructs.png", _plot_constructs),
            ("units.png", _plot_units),
            ("texts.png", _plot_texts),
        ):
            plot(counted).savefig(folder / name, dpi=150)


def _plot_kinds(counted: dict) -> matplotlib.figure.Figure:
    """Entries and occurrences of each kind, and shares by entry, as in the paper's Figure 2."""
    figure = matplotlib.figure.Figure(figsize=(8, 4.1), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    bars, shares = figure.subplots(2, 1, height_ratios=(3.2, 1))
    kinds = counted["kinds"]
    for position, kind in enumerate(KINDS):
        for offset, what, colours in ((-0.19, "entries", _COLOURS), (0.19, "occurrences", _PALE)):
            y, value = position + offset, kinds[kind][what]
            bars.barh(y, value, 0.34, color=colours[kind])
            bars.text(value, y, f"  {value:,} {what}", va="center", fontsize=9)
    bars.set_yticks(range(len(KINDS)), KINDS)
    bars.invert_yaxis()
    bars.grid(axis="y", visible=False)
    bars.margins(x=0.22)
    bars.set_xlim(left=0)
    bars.set_title("Entries that have a construct of each kind, and its occurrences")
    _thousands(bars)

    left, active = 0.0, max(1, counted["active_entries"])
    for kind in KINDS:
        share = 100 * kinds[kind]["leading"] / active
        shares.barh(0, share, 0.6, left=left, color=_COLOURS[kind], edgecolor="white")
        if share >= 4:
            text = f"{kind}\n{share:.1f} %" if share >= 12 else f"{share:.0f} %"
            shares.text(left + share / 2, 0, text, ha="center", va="center", color="white")
        left += share
    shares.set_title("Entries with an active unit, by the most opposed construct in them")
    shares.set_xlim(0, 100)
    shares.set_axis_off()
    return figure


def _plot_constructs(counted: dict) -> matplotlib.figure.Figure:
    """Entries with each construct, in descending order."""
    names = sorted(facs.CONSTRUCT_NAMES, key=counted["constructs"].get, reverse=True)
    figure = matplotlib.figure.Figure(figsize=(8, 8.6), layout="constrained")
    axes = figure.subplots()
    for kind in KINDS:
        positions = [n for n, name in enumerate(names) if KIND_OF[name] == kind]
        values = [counted["constructs"][names[n]] for n in positions]
        axes.barh(positions, values, 0.72, color=_COLOURS[kind], label=kind)
        for position, value in zip(positions, values, strict=True):
            axes.text(value, position, f"  {value:,}", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), [name.replace("AU", "") for name in names], fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.set_title("Entries whose text has each construct (numbers of its action units)")
    axes.legend(frameon=False, loc="lower right")
    _thousands(axes)
    return figure


def _plot_units(counted: dict) -> matplotlib.figure.Figure:
    """Share of the entries with each action unit."""
    figure = matplotlib.figure.Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    for position, unit in enumerate(counted["units"].values()):
        if unit["rate"] is None:
            axes.text(position, 1, "not\ncoded", ha="center", va="bottom", fontsize=9, color=_GREY)
            continue
        rate = 100 * unit["rate"]
        axes.bar(position, rate, 0.68, color=_COLOURS[SYNERGISTIC])
        axes.text(position, rate, f"{rate:.0f}", ha="center", va="bottom", fontsize=9)
    axes.set_xticks(range(len(counted["units"])), counted["units"])
    axes.tick_params(axis="x", labelcolor=_INK)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)
    axes.set_title("Entries with each action unit, per cent of those where it is coded")
    return figure


def _plot_texts(counted: dict) -> matplotlib.figure.Figure:
    """Histograms of the lengths of the texts in words and in tokens."""
    figure = matplotlib.figure.Figure(figsize=(8, 3.2), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("words", "tokens"), strict=True):
        lengths = counted[f"text_{what}"]
        edges, counts = lengths["histogram"]["edges"], lengths["histogram"]["counts"]
        axes.bar(
            edges[:-1],
            counts,
            [b - a for a, b in zip(edges, edges[1:], strict=False)],
            align="edge",
            color=_COLOURS[SYNERGISTIC],
            edgecolor="white",
            linewidth=0.4,
        )
        axes.axvline(lengths["median"], color=_COLOURS[ANTAGONISTIC], linewidth=1.5)
        axes.grid(axis="x", visible=False)
        axes.set_title(f"Length of the texts in {what}")
        axes.set_xlabel(
            f"{lengths['min']:.0f} to {lengths['max']:.0f}, median {lengths['median']:.0f} (line)"
        )
        axes.set_ylabel("entries")
        axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
        axes.tick_params(axis="y", labelcolor=_GREY)
    return figure


def _thousands(axes: matplotlib.axes.Axes) -> None:
    """Formats the x axis of counts: few ticks, at whole numbers with thousands separators."""
    axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
