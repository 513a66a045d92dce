"""Reading of CSV files."""

import csv
import pathlib


def read_csv(path: pathlib.Path) -> list[dict[str, str]]:
    """Reads the rows of a CSV file as dictionaries from column names to values."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
