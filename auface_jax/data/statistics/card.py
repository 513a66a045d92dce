"""A data set's counts as a page to read: `card.md` and its plots, from `statistics`."""

from pathlib import Path

import matplotlib.figure
import matplotlib.ticker

from auface_jax import facs
from auface_jax.runs.markdown import table

# Of a construct; ordered, an entry being called after the last of those in it.
SINGLE, SYNERGISTIC, ANTAGONISTIC = KINDS = ("single", "synergistic", "antagonistic")
KIND_OF = {unit.code: SINGLE for unit in facs.ACTION_UNITS} | {
    interaction.name: interaction.kind for interaction in facs.INTERACTIONS
}
# What the paper counts in BP4D-AUText; its "conflicting combinations" are all 26.
PAPER = {"entries": 302_169, "share": 0.814, "occurrences_per_entry": 1.35}

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


def write_card(counted: dict, folder: Path) -> None:
    """Writes `card.md` and four plots into `folder`.

    Args:
      counted: What `statistics.statistics` gives.
      folder: Exists.
    """
    with matplotlib.rc_context(_STYLE):
        for name, plot in (
            ("kinds.png", _plot_kinds),
            ("constructs.png", _plot_constructs),
            ("units.png", _plot_units),
            ("texts.png", _plot_texts),
        ):
            plot(counted).savefig(folder / name, dpi=150)
    (folder / "card.md").write_text(markdown(counted))


def markdown(counted: dict) -> str:
    """The text of the card."""
    combinations, people = counted["combinations"], counted["people"]
    words, tokens = counted["text_words"], counted["text_tokens"]
    labels = (
        "rendered: true by construction" if counted["exact"] else "coded by the source's annotators"
    )
    uncoded = uncoded_units(counted)
    lines = [
        f"# Data card: {counted['source']}, {counted['size']} px",
        "",
        f"Counted from the records; fingerprint `{counted['fingerprint'][:16]}`. References, one a "
        "person, are no entries.",
        "",
        *_table(
            ("", "this set", "BP4D-AUText (paper)"),
            (
                ("images", f"{counted['entries']:,}", f"{PAPER['entries']:,}"),
                ("with an active unit", f"{counted['active_entries']:,}", f"{PAPER['entries']:,}"),
                ("neutral", f"{counted['neutral_entries']:,}", "0"),
                ("people", f"{people['number']:,}", "181"),
                ("different label rows", f"{counted['label_rows']:,}", ""),
                ("texts (different ones)", f"{counted['texts']:,}", ""),
                ("words a text", _spread(words), "50-600"),
                ("tokens a text", _spread(tokens), ""),
                ("labels", labels, "coded by FACS coders"),
                ("text", "from the labels by rule (FACS)", "from the labels by rule (FACS)"),
                ("text speaks of", ", ".join(_regions(counted)), _PAPER_REGIONS),
                ("entries with a combination", _share(combinations["share"]), "81.4 %"),
                (
                    "combinations an entry",
                    _number(combinations["occurrences_per_entry"]),
                    f"{PAPER['occurrences_per_entry']}",
                ),
            ),
        ),
        "",
        "Shares are of the entries with an active unit, as all of the paper's have one. A "
        "combination is one of the 26 that are described as one.",
        "",
        "## Kinds of constructs",
        "",
        "![Entries and occurrences by kind](kinds.png)",
        "",
        *_table(
            ("kind", "entries that have one", "occurrences", "entries called after it"),
            [
                (kind, f"{k['entries']:,}", f"{k['occurrences']:,}", f"{k['leading']:,}")
                for kind, k in counted["kinds"].items()
            ],
        ),
        "",
        "*Antagonistic* combinations hold two muscles that pull against each other, *synergistic* "
        "ones a joint effect without opposed pulls. An entry is called antagonistic if it has such "
        "a combination, else synergistic, else single.",
        "",
        "![Entries with each construct](constructs.png)",
        "",
        "## Units",
        "",
        "![Share of the entries with each unit](units.png)",
        "",
        *_table(
            ("unit", "present", "absent", "not coded", "rate"),
            [
                (
                    code,
                    f"{u['present']:,}",
                    f"{u['absent']:,}",
                    f"{u['uncoded']:,}",
                    _share(u["rate"]),
                )
                for code, u in counted["units"].items()
            ],
        ),
        "",
        (
            f"Not coded by the source: {', '.join(uncoded)}. Texts describe them as absent; rates, "
            "losses and figures leave them out."
            if uncoded
            else "Every unit is coded in every entry."
        ),
        "",
        "## Texts",
        "",
        "![Lengths of the texts](texts.png)",
        "",
        f"Tokens are those of {_tokenizer_name(counted)}. Each entry has one text; training may "
        "word it anew each time (`data.redescribe`).",
        "",
        "## People and splits",
        "",
        *_table(
            ("split", "people", "entries"),
            [
                (name, f"{split['people']:,}", f"{split['entries']:,}")
                for name, split in counted["splits"].items()
            ],
        ),
        "",
        f"Entries a person: {_spread(people['entries'])}.",
        "",
        "## Left out",
        "",
        *(
            _table(("reason", "images"), list(counted["left_out"].items()))
            if counted["left_out"]
            else ["No image of the source."]
        ),
    ]
    return "\n".join(lines) + "\n"


def uncoded_units(counted: dict) -> list[str]:
    """The units that the source codes in no entry."""
    return [code for code, unit in counted["units"].items() if unit["rate"] is None]


_PAPER_REGIONS = (
    "inner brow, outer brow, glabella, infraorbital triangle, lower lid, upper lip, nasolabial "
    "furrow, lip corners, chin"
)


def _regions(counted: dict) -> list[str]:
    """Every region that a unit present in the set moves."""
    present = [u for u in facs.ACTION_UNITS if counted["units"][u.code]["present"]]
    return list(dict.fromkeys(region for unit in present for region in unit.regions))


def _table(head: tuple[str, ...], rows) -> list[str]:
    return table(head, rows).splitlines()


def _spread(summary: dict) -> str:
    if summary["min"] == summary["max"]:
        return f"{summary['min']:,} each"
    return (
        f"{summary['min']:,}-{summary['max']:,}, mean {summary['mean']:.1f}, "
        f"90 % in {summary['p5']:.0f}-{summary['p95']:.0f}"
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _number(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


def _tokenizer_name(counted: dict) -> str:
    return f"`{counted['tokenizer']}`" if counted["tokenizer"] else "the tokenizer shipped"


def _plot_kinds(counted: dict) -> matplotlib.figure.Figure:
    """The paper's Figure 2: entries and occurrences of each kind, and shares by entry."""
    figure = matplotlib.figure.Figure(figsize=(8, 4.1), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    bars, shares = figure.subplots(2, 1, height_ratios=(3.2, 1))
    kinds = counted["kinds"]
    for place, kind in enumerate(KINDS):
        for offset, what, colours in ((-0.19, "entries", _COLOURS), (0.19, "occurrences", _PALE)):
            y, value = place + offset, kinds[kind][what]
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
    names = sorted(facs.CONSTRUCT_NAMES, key=counted["constructs"].get, reverse=True)
    figure = matplotlib.figure.Figure(figsize=(8, 8.6), layout="constrained")
    axes = figure.subplots()
    for kind in KINDS:
        places = [place for place, name in enumerate(names) if KIND_OF[name] == kind]
        values = [counted["constructs"][names[place]] for place in places]
        axes.barh(places, values, 0.72, color=_COLOURS[kind], label=kind)
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f"  {value:,}", va="center", fontsize=8)
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
    figure = matplotlib.figure.Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    for place, unit in enumerate(counted["units"].values()):
        if unit["rate"] is None:
            axes.text(place, 1, "not\ncoded", ha="center", va="bottom", fontsize=9, color=_GREY)
            continue
        rate = 100 * unit["rate"]
        axes.bar(place, rate, 0.68, color=_COLOURS[SYNERGISTIC])
        axes.text(place, rate, f"{rate:.0f}", ha="center", va="bottom", fontsize=9)
    axes.set_xticks(range(len(counted["units"])), counted["units"])
    axes.tick_params(axis="x", labelcolor=_INK)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)
    axes.set_title("Entries with each action unit, per cent of those where it is coded")
    return figure


def _plot_texts(counted: dict) -> matplotlib.figure.Figure:
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


def _thousands(axes) -> None:
    axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
