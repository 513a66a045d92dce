"""Counts what a data set holds: `python -m auface_jax.data.statistics DATA`."""

import argparse
import json
import sys
from pathlib import Path

from auface_jax import facs
from auface_jax.data.statistics.card import write_card
from auface_jax.data.statistics.counts import statistics
from auface_jax.data.tokenizer import EMBEDDED


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; `arguments` replaces `sys.argv[1:]`."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.statistics",
        description="Counts a data set; writes statistics.json, card.md and plots.",
    )
    parser.add_argument("data", metavar="DIR", help="a folder made by auface_jax.data.build")
    parser.add_argument("--out", metavar="FOLDER", help="where to write; default DIR/statistics")
    parser.add_argument(
        "--tokenizer",
        default=EMBEDDED,
        help='a Hugging Face name or folder, or "" for the project\'s own; default: the embedded '
        "text encoder's",
    )
    parser.add_argument(
        "--dictionary", metavar="FILE", help="texts to measure; default: the project's"
    )
    options = parser.parse_args(arguments)
    out = Path(options.out or Path(options.data) / "statistics")
    try:
        counted = statistics(
            options.data,
            tokenizer=options.tokenizer,
            dictionary=facs.load_dictionary(options.dictionary),
        )
        out.mkdir(parents=True, exist_ok=True)
        (out / "statistics.json").write_text(json.dumps(counted, indent=1) + "\n")
        write_card(counted, out)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    combinations = counted["combinations"]
    print(f"{counted['entries']} entries, {counted['active_entries']} with an active unit")
    if counted["active_entries"]:
        print(
            f"with a combination: {combinations['share']:.1%} of these, "
            f"{combinations['occurrences_per_entry']:.2f} occurrences per entry "
            "(BP4D-AUText: 81.4 %, 1.35)"
        )
    print(f"wrote {out}/card.md, statistics.json and the plots")


if __name__ == "__main__":
    main()
