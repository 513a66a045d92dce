"""A table of the units that the texts of a file state."""

import csv
import pathlib
import sys

import numpy as np

from auface_jax.facs import AU_NUMBERS, DEGREES
from auface_jax.recognition.text_reader import load_text_reader


def read_texts(file: str) -> dict[int, str]:
    """Reads one text a line and leaves out empty lines.

    Args:
      file: a UTF-8 file; "-" is standard input.

    Returns:
      Line number, from 1 -> text.

    Raises:
      OSError: the file does not exist or cannot be read.
      ValueError: the file is not UTF-8, or has no text.
    """
    content = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 ({error}); save it as UTF-8 text") from error
    found = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not found:
        raise ValueError(f"{file}: no text in it; write one a line")
    return found


def write_text_table(run: str, sentences: dict[int, str], out: pathlib.Path) -> None:
    """Reads texts with the text recogniser of a run and writes a CSV of their units.

    Args:
      run: folder of a finished run of au_text, or "embedded".
      sentences: line number -> text.
      out: file to write.

    Raises:
      checkpoints.CheckpointError: the run is not finished or is of another task.
    """
    reader = load_text_reader(pathlib.Path(run))
    probabilities, degrees = reader.read(list(sentences.values()))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["line", *(f"AU{number}" for number in AU_NUMBERS), "units", "text"])
        letters = ("", *DEGREES)
        for (number, text), found, said in zip(
            sentences.items(), probabilities, degrees, strict=True
        ):
            stated = np.flatnonzero(found >= reader.thresholds)
            units = "+".join(f"{AU_NUMBERS[unit]}{letters[said[unit]]}" for unit in stated)
            table.writerow([number, *(f"{value:.4f}" for value in found), units, text])
    print(f"{out}: {len(sentences)} texts, read by {run}")
    if cut := reader.tokenizer.truncated:
        longest = max(reader.buckets)
        print(f"{cut} of them are longer than the {longest} tokens that it reads, and were cut")
