"""Scores of recognisers on pictures whose units are known.

    python -m auface_jax.evaluation.recognizers RUN … --data DATASET [--split test]

prints a Markdown table with F1 of each unit: a column for each recogniser, and one for the constant
answer "present". A recogniser is scored on the test people of the data set that it was trained on;
`--split all` is for data that no recogniser was trained on.
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
from auface_jax.runs import markdown

ALL = "all"
_BATCH = 1_024  # pictures in memory


def read_split(
    recognizers: Sequence[Recognizer], directory: str, split: str
) -> tuple[list[Float[np.ndarray, "M A"]], Int8[np.ndarray, "M A"]]:
    """Reads a split's pictures with each recogniser.

    Args:
      recognizers: the recognisers.
      directory: folder of a built data set.
      split: name of the split, or "all" for train, val and test together.

    Returns:
      The probabilities that each recogniser reads, and the labels.

    Raises:
      DatasetError: the folder holds no data set, or no such split.
      RecordError: a record is damaged.
    """
    info = read_info(directory)
    names = split_names(directory, None if split == ALL else split)
    found, labels = [[] for _ in recognizers], []
    for name in names:
        records = ShardReader(directory, name)
        for start in range(0, len(records), _BATCH):
            some = [records[i] for i in range(start, min(start + _BATCH, len(records)))]
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
    """Formats F1 of each unit as a Markdown table.

    Args:
      names: name of each recogniser.
      found: probabilities that each recogniser read.
      labels: labels of the pictures; -1 where a unit is not coded.

    Returns:
      The table; a cell is empty where a unit never occurs or is not coded.
    """
    columns = {
        name: f1_scores((probabilities >= THRESHOLD).astype(np.int8), labels)
        for name, probabilities in zip(names, found, strict=True)
    }
    columns["always present"] = f1_scores(np.ones_like(labels), labels)
    means = [np.nanmean(s) if np.isfinite(s).any() else math.nan for s in columns.values()]
    rows = [
        (f"AU{number}", [scores[unit] for scores in columns.values()])
        for unit, number in enumerate(AU_NUMBERS)
    ]
    return markdown.table(
        [f"F1, {len(labels)} pictures", *columns],
        [
            [name, *("" if math.isnan(score) else f"{score:.3f}" for score in scores)]
            for name, scores in [*rows, ("macro", means)]
        ],
    )


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
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
