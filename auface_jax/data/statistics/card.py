"""Formats the counts of a data set as a page to read, `card.md`."""

from pathlib import Path

from auface_jax import facs
from auface_jax.data.statistics.plots import write_plots
from auface_jax.runs.markdown import table

# Counts of BP4D-AUText in the paper; its "conflicting combinations" are all 26.
PAPER = {"entries": 302_169, "share": 0.814, "occurrences_per_entry": 1.35}
_PAPER_REGIONS = (
    "inner brow, outer brow, glabella, infraorbital triangle, lower lid, upper lip, nasolabial "
    "furrow, lip corners, chin"
)


def write_card(counted: dict, folder: Path) -> None:
    """Writes `card.md` and its four plots.

    Args:
      counted: result of `counts.statistics`.
      folder: an existing folder.
    """
    write_plots(counted, folder)
    (folder / "card.md").write_text(markdown(counted))


def markdown(counted: dict) -> str:
    """Formats the text of the card.

    Args:
      counted: result of `counts.statistics`.
    """
    sections = (_overview, _kinds, _units, _texts, _people_and_splits, _left_out)
    return "\n\n".join(paragraph for section in sections for paragraph in section(counted)) + "\n"


def uncoded_units(counted: dict) -> list[str]:
    """Lists the units that the source codes in no entry."""
    return [code for code, unit in counted["units"].items() if unit["rate"] is None]


def _overview(counted: dict) -> list[str]:
    """Title and comparison with the paper's data set."""
    combinations = counted["combinations"]
    labels = (
        "rendered: true by construction" if counted["exact"] else "coded by the source's annotators"
    )
    by_rule = "from the labels by rule (FACS)"
    rows = [
        ("images", f"{counted['entries']:,}", f"{PAPER['entries']:,}"),
        ("with an active unit", f"{counted['active_entries']:,}", f"{PAPER['entries']:,}"),
        ("neutral", f"{counted['neutral_entries']:,}", "0"),
        ("people", f"{counted['people']['number']:,}", "181"),
        ("different label vectors", f"{counted['label_rows']:,}", ""),
        ("different texts", f"{counted['texts']:,}", ""),
        ("words in a text", _spread(counted["text_words"]), "50-600"),
        ("tokens in a text", _spread(counted["text_tokens"]), ""),
        ("labels", labels, "coded by FACS coders"),
        ("text", by_rule, by_rule),
        ("facial regions in the texts", ", ".join(_regions(counted)), _PAPER_REGIONS),
        ("entries with a combination", _share(combinations["share"]), _share(PAPER["share"])),
        (
            "combinations in an entry",
            _number(combinations["occurrences_per_entry"]),
            _number(PAPER["occurrences_per_entry"]),
        ),
    ]
    return [
        f"# Data card: {counted['source']}, {counted['size']} px",
        f"Counted from the records; fingerprint `{counted['fingerprint'][:16]}`. The references, "
        "one for each person, are no entries.",
        table(("", "this set", "BP4D-AUText (paper)"), rows),
        "Shares are of the entries with an active unit, as all of the paper's entries have one. A "
        "combination is one of the 26 sets of units that are described together.",
    ]


def _kinds(counted: dict) -> list[str]:
    rows = [
        (kind, f"{count['entries']:,}", f"{count['occurrences']:,}", f"{count['leading']:,}")
        for kind, count in counted["kinds"].items()
    ]
    header = ("kind", "entries that have one", "occurrences", "entries named after it")
    return [
        "## Kinds of constructs",
        "![Entries and occurrences by kind](kinds.png)",
        table(header, rows),
        "*Antagonistic* combinations have two muscles that pull against each other, *synergistic* "
        "ones a joint effect without opposed pulls. An entry is called antagonistic if it has such "
        "a combination, else synergistic, else single.",
        "![Entries with each construct](constructs.png)",
    ]


def _units(counted: dict) -> list[str]:
    rows = [
        (
            code,
            f"{unit['present']:,}",
            f"{unit['absent']:,}",
            f"{unit['uncoded']:,}",
            _share(unit["rate"]),
        )
        for code, unit in counted["units"].items()
    ]
    uncoded = uncoded_units(counted)
    return [
        "## Units",
        "![Share of the entries with each unit](units.png)",
        table(("unit", "present", "absent", "not coded", "rate"), rows),
        f"Not coded by the source: {', '.join(uncoded)}. Texts describe them as absent; rates, "
        "losses and figures leave them out."
        if uncoded
        else "Every unit is coded in every entry.",
    ]


def _texts(counted: dict) -> list[str]:
    tokenizer = f"`{counted['tokenizer']}`" if counted["tokenizer"] else "the project's tokenizer"
    return [
        "## Texts",
        "![Lengths of the texts](texts.png)",
        f"Tokens are those of {tokenizer}. Each entry has one text; training may describe it in "
        "new words each time (`data.redescribe`).",
    ]


def _people_and_splits(counted: dict) -> list[str]:
    rows = [
        (name, f"{split['people']:,}", f"{split['entries']:,}")
        for name, split in counted["splits"].items()
    ]
    return [
        "## People and splits",
        table(("split", "people", "entries"), rows),
        f"Entries of a person: {_spread(counted['people']['entries'])}.",
    ]


def _left_out(counted: dict) -> list[str]:
    rows = list(counted["left_out"].items())
    return [
        "## Left out",
        table(("reason", "images"), rows) if rows else "No image of the source.",
    ]


def _regions(counted: dict) -> list[str]:
    """All facial regions that are moved by a unit that is present in the set."""
    present = [unit for unit in facs.ACTION_UNITS if counted["units"][unit.code]["present"]]
    return list(dict.fromkeys(region for unit in present for region in unit.regions))


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
