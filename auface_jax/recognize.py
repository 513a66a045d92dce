"""Reads the twelve action units from faces in pictures, animations and videos, or from texts.

    python -m auface_jax.recognize IMAGES... --out table.csv [--overlay FOLDER] [--run RUN]
    python -m auface_jax.recognize --texts FILE --out table.csv [--run RUN]

IMAGES are files and folders of faces, framed like those that the recogniser was trained on. The
table has one row for each frame: path, frame and the probability of each unit.

FILE has one text a line; - is standard input. The table has one row for each text: the line's
number, the probability of each unit, the units that the text states with their degrees, and the
text. The package contains a recogniser of texts; one of pictures must be trained first.
"""

import argparse
import csv
import pathlib
import sys

from auface_jax.facs import AU_NUMBERS
from auface_jax.images import frames
from auface_jax.images.files import save_png
from auface_jax.recognition.finished_runs import DEFAULT_RUNS, find_run
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.recognition.pictures import overlay, recognize
from auface_jax.recognition.text_table import read_texts, write_text_table


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.recognize",
        description="Reads the twelve action units from faces in pictures and videos, or from "
        "texts.",
    )
    parser.add_argument("images", nargs="*", help="pictures, animations, videos, or their folders")
    parser.add_argument(
        "--texts", metavar="FILE", help="read texts instead, one a line of FILE; - is stdin"
    )
    parser.add_argument("--out", required=True, help="the table to write, a CSV file")
    parser.add_argument("--overlay", metavar="FOLDER", help="annotated pictures, one a frame")
    parser.add_argument(
        "--run",
        default="",
        help="a finished run of au_image or a folder of converted ME-GraphAU weights "
        f"(default: the first of {', '.join(DEFAULT_RUNS)}); with --texts a finished "
        "run of au_text (default: the embedded text recogniser)",
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="read every N-th frame of animations and videos",
    )
    options = parser.parse_args(arguments)
    if bool(options.images) == bool(options.texts):
        parser.error("give either IMAGES or --texts FILE")
    if options.texts and (options.overlay or options.every != 1):
        parser.error("--overlay and --every are for pictures, not for --texts")
    if options.every < 1:
        parser.error(f"--every {options.every}: at least 1")
    out = pathlib.Path(options.out)
    try:
        if options.texts:
            sentences = read_texts(options.texts)
            write_text_table(options.run or "embedded", sentences, out)
            return
        files = frames.find_files(options.images)
        recognizer = load_recognizer(find_run(options.run))
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open("w", newline="", encoding="utf-8")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    faults, rows = [], 0
    stems = dict(zip(files, frames.unique_stems(files), strict=True))
    with file:
        table = csv.writer(file)
        table.writerow(["path", "frame", *(f"AU{number}" for number in AU_NUMBERS)])
        for frame, found in recognize(recognizer, files, every=options.every, faults=faults):
            table.writerow([frame.path, frame.number, *(f"{value:.4f}" for value in found)])
            rows += 1
            if options.overlay:
                name = stems[frame.path] + ("" if frame.still else f"_{frame.number:05d}")
                save_png(
                    overlay(frame, found),
                    pathlib.Path(options.overlay) / f"{name}.png",
                    source=frame.path,
                    recognizer=recognizer.name,
                )
    print(f"{out}: {rows} faces of {len(files) - len(faults)} files, read by {recognizer.name}")
    if faults:
        sys.exit(f"{len(faults)} of {len(files)} files cannot be read:\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
