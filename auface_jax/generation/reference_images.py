"""Reference images: files of the user, or people of the run's data set."""

import pathlib

import numpy as np
from jaxtyping import UInt8

from auface_jax.data.loading import pipeline
from auface_jax.data.shards import build_options, built_unaligned
from auface_jax.data.sources.alignment import AlignmentError, align
from auface_jax.data.sources.detector import NoDetectorError
from auface_jax.generation.generator import Generator
from auface_jax.images.files import central_square, read_rgb
from auface_jax.runs.console import say


def find_reference(
    generator: Generator, reference: str, *, aligned: bool = False
) -> tuple[UInt8[np.ndarray, "S S 3"], str]:
    """Finds a reference image.

    Args:
      generator: a finished run.
      reference: an image file, whose face is detected and framed as the training faces are; a
        person of the run's data set; or "" for its first test person.
      aligned: whether the file is framed already, so that its central square is taken.

    Returns:
      The image, and its name for captions.

    Raises:
      ValueError: the file is not a readable image, or does not show exactly one face.
      FileNotFoundError: `reference` is neither a file nor a person; the message lists the people.
    """
    data_dir, size = pathlib.Path(generator.config.data.dir), generator.vqgan.image_size
    if reference and pathlib.Path(reference).is_file():
        return frame_photograph(reference, data_dir, size, aligned), pathlib.Path(reference).name
    if not (data_dir / "dataset.json").exists():
        raise FileNotFoundError(
            f"--reference {reference or '(none)'!r} is not an image file, and the run's data set "
            f"{data_dir} does not exist, so no person can be looked up; give an image file"
        )
    people = pipeline.reference_subjects(data_dir)
    person = reference or pipeline.reference_subjects(data_dir, "test")[0]
    if person not in people:
        raise FileNotFoundError(
            f"--reference {reference!r} is neither an image file nor one of the {len(people)} "
            f"people of {data_dir} ({min(people)} … {max(people)})"
        )
    return pipeline.load_reference(data_dir, person), person


def frame_photograph(
    path: str,
    data_dir: pathlib.Path,
    size: int,
    aligned: bool,
    *,
    option: str = "--reference-aligned",
) -> UInt8[np.ndarray, "S S 3"]:
    """Frames a user's photograph as the data set was framed.

    Args:
      path: an image file.
      data_dir: folder of the data set.
      size: image size S.
      aligned: whether the photograph is framed already, so that its central square is taken.
      option: flag that sets `aligned`, for error messages.

    Raises:
      ValueError: the file is not a readable image, or does not show exactly one face.
    """
    image = read_rgb(path)
    if aligned:
        return central_square(image, size)
    if built_unaligned(data_dir):
        say(
            f"{data_dir} was built from pictures as they were cropped, so the middle of {path} is "
            "taken: crop it as they are"
        )
        return central_square(image, size)
    try:
        margin = build_options(data_dir).get("margin", 0.0)
        return align(image, size=size, margin=margin)[0]
    except (AlignmentError, NoDetectorError) as error:
        raise ValueError(
            f"{path}: {error}; or crop it square as the training faces are and say {option}"
        ) from error
