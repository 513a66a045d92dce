"""CSV files that commands write."""

import csv
import pathlib


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV, each by the names of its columns."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
