"""Reconstructs pictures from Stage I's tokens and measures what is lost.

    python -m auface_jax.reconstruct IMAGES... --run RUN --out DIR

IMAGES are files and folders. DIR gets `table.csv` with one row a picture, `sheet.png` with the
first pictures by quantizer level, and every reconstruction as a PNG.
"""

import argparse
import pathlib
import sys

from auface_jax.evaluation.reconstruction import (
    BATCH_SIZE,
    agreement,
    load_stage1,
    measure,
    read_faces,
    write_results,
)
from auface_jax.generation.stage1 import level_previews
from auface_jax.images import frames
from auface_jax.metrics.lpips import paired_distances
from auface_jax.parallel.map_batches import map_batches
from auface_jax.pretrained.lpips import load_lpips
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.recognition.roles import loss_recognizers


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    run, out, faults = pathlib.Path(options.run), pathlib.Path(options.out), []
    try:
        files = frames.find_files(options.images)
        vqgan, weights, data_dir = load_stage1(run)
        lpips = load_lpips(*options.lpips) if options.lpips else None
        evaluator = None
        if options.recognizer:
            forbidden = loss_recognizers(run)
            evaluator = load_recognizer(options.recognizer, role="score", forbidden=forbidden)
        read, images = read_faces(
            files, data_dir, vqgan.image_size, aligned=options.aligned, faults=faults
        )
        if read:
            out.mkdir(parents=True, exist_ok=True)  # an error shows before the long work
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if read:
        levels = map_batches(
            lambda fixed, batch: level_previews(vqgan, fixed, batch),
            weights,
            images,
            batch_size=BATCH_SIZE,
        )
        figures = measure(images, levels)
        if lpips:
            name = f"lpips_{lpips[0].backbone}"
            figures[name] = paired_distances(*lpips, [(levels[:, -1], images)])
        if evaluator:
            figures["au_agreement"] = agreement(evaluator, images, levels[:, -1])
        write_results(out, read, images, levels, figures, run)
        means = ", ".join(f"{name} {value.mean():.3f}" for name, value in figures.items())
        print(f"{out}: {len(read)} pictures at {vqgan.bits_per_image:.0f} bits; means: {means}")
    if faults:
        sys.exit(f"{len(faults)} of {len(files)} files cannot be used:\n" + "\n".join(faults))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.reconstruct",
        description="Passes pictures through the codes of Stage I and measures what is lost.",
    )
    parser.add_argument("images", nargs="+", help="pictures, or their folders")
    parser.add_argument(
        "--run", required=True, help="a finished Stage I run, runs/stage1-quickstart"
    )
    parser.add_argument("--out", required=True, help="the folder to write")
    parser.add_argument(
        "--aligned",
        action="store_true",
        help="the pictures are framed as the training faces are: take their middle as it is",
    )
    parser.add_argument(
        "--lpips",
        nargs=2,
        metavar=("BACKBONE", "HEADS"),
        help="converted folders of LPIPS' two parts, for its distance of each picture",
    )
    parser.add_argument(
        "--recognizer",
        metavar="RUN",
        help="a finished run of au_image for scores, for the agreement of the action units",
    )
    return parser


if __name__ == "__main__":
    main()
