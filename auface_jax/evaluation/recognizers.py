"""How well do recognisers read pictures whose units are known?

    python -m auface_jax.evaluation.recognizers RUN … --data DATASET [--split test]

A Markdown table of F1 by unit, a column a recogniser, beside that of answering "present" always.
A recogniser that was trained on a data set is judged by its test people: `--split all` is for data
that none of them has seen.
"""

import argparse
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int8

from auface_jax.data.record import decode_image
from auface_jax.data.shards import ShardReader, read_info, split_names
from auface_jax.facs import AU_NUMBERS
from auface_jax.metrics.units import f1_scores
from auface_jax.recognition.image_recognizer import THRESHOLD, Recognizer, load_recognizer

ALL = "all"
_AT_A_TIME = 1_024  # pictures in memory


def read_split(
    recognizers: Sequence[Recognizer], directory: str, split: str
) -> tuple[list[Float[np.ndarray, "M A"]], Int8[np.ndarray, "M A"]]:
    """The probabilities that each recogniser reads from a split's pictures, and the labels.

    Args:
      directory: a folder made by `data.build`.
      split: its name, or "all" for train, val and test.

    Raises:
      DatasetError: no data set there, or no such split.
      RecordError: a damaged record.
    """
    info = read_info(directory)
    names = split_names(directory, None if split == ALL else split)
    found, labels = [[] for _ in recognizers], []
    for name in names:
        records = ShardReader(directory, name)
        for start in range(0, len(records), _AT_A_TIME):
            some = [records[i] for i in range(start, min(start + _AT_A_TIME, len(records)))]
            images = np.stack([decode_image(record, info["size"]) for record in some])
            labels += [record.labels for record in some]
            for recognizer, probabilities in zip(recognizers, found, strict=True):
                probabilities.append(recognizer(images))
    return [np.concatenate(of_one) for of_one in found], np.stack(labels)


def table(
    names: Sequence[str],
    found: Sequence[Float[np.ndarray, "M A"]],
    labels: Int8[np.ndarray, "M A"],
) -> str:
    """F1 of each unit in Markdown; empty where a unit never occurs, or is not coded."""
    columns = {
        name: f1_scores((probabilities >= THRESHOLD).astype(np.int8), labels)
        for name, probabilities in zip(names, found, strict=True)
    }
    columns["always present"] = f1_scores(np.ones_like(labels), labels)
    lines = [
        f"| F1, {len(labels)} pictures | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for unit, number in enumerate(AU_NUMBERS):
        lines.append(_row(f"AU{number}", [scores[unit] for scores in columns.values()]))
    means = [np.nanmean(s) if np.isfinite(s).any() else math.nan for s in columns.values()]
    return "\n".join([*lines, _row("macro", means)])


def _row(name, scores):
    return f"| {name} | " + " | ".join("" if math.isnan(s) else f"{s:.3f}" for s in scores) + " |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.evaluation.recognizers",
        description="F1 of recognisers on pictures whose action units are known, side by side.",
    )
    parser.add_argument(
        "runs", nargs="+", help="finished runs of au_image, or folders of converted weights"
    )
    parser.add_argument("--data", required=True, help="a data set: a folder made by data.build")
    parser.add_argument("--split", default="test", help="its split (default test), or all")
    options = parser.parse_args(arguments)
    try:
        recognizers = [load_recognizer(run) for run in options.runs]
        found, labels = read_split(recognizers, options.data, options.split)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(table([recognizer.name for recognizer in recognizers], found, labels))


if __name__ == "__main__":
    main()
