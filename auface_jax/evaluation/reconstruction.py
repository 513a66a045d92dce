"""Reconstructions of pictures from Stage I's tokens, with figures and a sheet."""

import csv
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from auface_jax.data.shards import built_unaligned
from auface_jax.data.sources import detector
from auface_jax.generation.reference_images import frame_photograph
from auface_jax.generation.stage1 import load_vqgan
from auface_jax.images import frames, pixels, sheets
from auface_jax.images.files import save_png
from auface_jax.metrics.ssim import ssim
from auface_jax.models.vqgan import VQGAN
from auface_jax.recognition.image_recognizer import Recognizer
from auface_jax.runs import checkpoints
from auface_jax.runs.console import say

PyTree = Any

BATCH_SIZE = 16
SHEET_ROWS = 12
ERROR_SCALE = 4  # factor that makes error maps visible


def read_faces(
    files: Sequence[pathlib.Path],
    data_dir: pathlib.Path,
    size: int,
    *,
    aligned: bool,
    faults: list[str],
) -> tuple[list[pathlib.Path], UInt8[np.ndarray, "M S S 3"]]:
    """Reads faces from files, framed like those of a data set.

    Args:
      files: picture files.
      data_dir: folder of the data set.
      size: pixels a side of the faces.
      aligned: whether the pictures are framed like the data set already, so that their middle is
        taken.
      faults: list that gets a line for every file that cannot be read or shows no face.

    Returns:
      The files that could be read, and their faces.

    Raises:
      ValueError: faces must be detected, and the detector is not installed.
    """
    if not aligned and built_unaligned(data_dir):
        say(f"{data_dir} was built from pictures as they were cropped: the middle of each is taken")
        aligned = True
    if not aligned:
        try:
            detector.version()
        except detector.NoDetectorError as error:  # reported once, not for each picture
            raise ValueError(
                f"{error}; or crop the pictures square as the training faces are and say --aligned"
            ) from error
    read, faces = [], []
    for path in files:
        try:
            faces.append(frame_photograph(str(path), data_dir, size, aligned, option="--aligned"))
        except ValueError as error:
            faults.append(str(error))
        else:
            read.append(path)
    return read, np.stack(faces) if faces else np.empty((0, size, size, 3), np.uint8)


def measure(
    images: UInt8[np.ndarray, "M S S 3"], levels: UInt8[np.ndarray, "M Q S S 3"]
) -> dict[str, Float[np.ndarray, " M"]]:
    """Measures reconstructions of pictures.

    Args:
      images: the pictures.
      levels: their reconstructions from the first level, the first two, and so on to all.

    Returns:
      "psnr" in dB and "ssim" of the whole reconstructions, and the PSNR of each coarser one.
    """
    real = pixels.to_float(images)
    by_level = [
        np.asarray(pixels.psnr(real, pixels.to_float(level))) for level in levels.swapaxes(0, 1)
    ]
    coarser = {f"psnr_{q}_levels": value for q, value in enumerate(by_level[:-1], start=1)}
    return {"psnr": by_level[-1], "ssim": ssim(images, levels[:, -1]), **coarser}


def agreement(
    recognizer: Recognizer,
    images: UInt8[np.ndarray, "M S S 3"],
    made: UInt8[np.ndarray, "M S S 3"],
) -> Float[np.ndarray, " M"]:
    """Returns the cosine of the units read from each picture and from its reconstruction."""
    one, other = recognizer(images), recognizer(made)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / np.maximum(norms, 1e-12)


def reconstruction_sheet(
    images: UInt8[np.ndarray, "R S S 3"], levels: UInt8[np.ndarray, "R Q S S 3"]
) -> Image.Image:
    """Makes a sheet with a row a picture: real, each reconstruction, and the error of the last."""
    error = ERROR_SCALE * np.abs(images.astype(np.int32) - levels[:, -1])
    columns = [images, *levels.swapaxes(0, 1), np.minimum(error, 255).astype(np.uint8)]
    names = [f"{q} level{'s' if q > 1 else ''}" for q in range(1, levels.shape[1] + 1)]
    quality = pixels.psnr(pixels.to_float(images), pixels.to_float(levels[:, -1]))
    return sheets.sheet(
        columns,
        ["real", *names, f"error x {ERROR_SCALE}"],
        [f"{value:.1f} dB" for value in quality],
        scale=max(1, 128 // images.shape[1]),
    )


def load_stage1(run: pathlib.Path) -> tuple[VQGAN, PyTree, pathlib.Path]:
    """Loads a finished Stage I run.

    Returns:
      Its module, its weights and the folder of its data set.

    Raises:
      checkpoints.CheckpointError: the run is not finished, or is of another task.
    """
    config = checkpoints.load_config(run, task="vqgan")
    return *load_vqgan(run), pathlib.Path(config.data.dir)


def write_results(
    out: pathlib.Path,
    files: Sequence[pathlib.Path],
    images: UInt8[np.ndarray, "M S S 3"],
    levels: UInt8[np.ndarray, "M Q S S 3"],
    figures: dict[str, Float[np.ndarray, " M"]],
    run: pathlib.Path,
) -> None:
    """Writes `table.csv`, `sheet.png`, and a PNG of each reconstruction in `pictures/`.

    Args:
      out: folder to write to.
      files: file of each picture.
      images: the pictures.
      levels: their reconstructions from the first level, the first two, and so on to all.
      figures: name -> figure of each picture.
      run: folder of the Stage I run.
    """
    about = {"synthetic": "true", "run": run, "software": "auface_jax"}
    for path, stem, made in zip(files, frames.unique_stems(files), levels[:, -1], strict=True):
        picture = Image.fromarray(made)
        save_png(picture, out / "pictures" / f"{stem}.png", source=path, **about)
    page = reconstruction_sheet(images[:SHEET_ROWS], levels[:SHEET_ROWS])
    save_png(page, out / "sheet.png", **about)
    with (out / "table.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", *figures])
        for row, path in enumerate(files):
            table.writerow([path, *(f"{value[row]:.4f}" for value in figures.values())])
