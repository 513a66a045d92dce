"""Crops a face so that its eyes and nose lie at the same points in every image.

A similarity (rotation, scale, shift) moves the centres of the eyes and the base of the nose to the
points of a template, so that a model learns the expression of a face and not its position. Action
units hardly move these points: the crop neither reveals an expression nor cancels it, and a raised
brow or a dropped chin moves within the image.

Training pictures and a user's photograph are cropped by the same function.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from auface_jax.data.sources.detector import find_eyes
from auface_jax.faces.template import TEMPLATE, AlignmentError, anchor_points, similarity
from auface_jax.images.files import central_square

# Ways to crop a face: by landmarks, by a detector of eyes, or the central square of the picture.
ALIGNMENTS = ("landmarks", "detector", "off")
_MOST_OUTSIDE = 0.4  # largest share of a crop that may lie outside its image


def align(
    image: UInt8[np.ndarray, "H W 3"],
    landmarks: Float[np.ndarray, "M 2"] | None = None,
    *,
    size: int,
    margin: float = 0.0,
) -> tuple[UInt8[np.ndarray, "S S 3"], Float[np.ndarray, "M 2"] | None]:
    """Crops a face onto `TEMPLATE`.

    The same input gives the same bytes. Details finer than the crop's pixels are averaged
    (Lanczos, antialiased); pixels outside the image repeat its edge.

    Args:
      image: the picture.
      landmarks: x and y in pixels of `image`, whose upper left corner is (0, 0). None finds the
        eyes by `detector.find_eyes` and assumes the usual position of the nose.
      size: side S of the crop, in pixels.
      margin: room around the template on each side, as a share of the template.

    Returns:
      The crop, and the landmarks in pixels of the crop, or None without landmarks.

    Raises:
      AlignmentError: see `anchor_points` and `detector.find_eyes`; or the points are no face (eyes
        at the same point, the nose not below them), or too little of the crop lies within the
        image.
      ValueError: `margin` is out of range.
    """
    if not margin > -0.25:
        raise ValueError(f"margin is {margin}, expected more than -0.25 (0 is the template)")
    if landmarks is None:
        scale, shift = similarity(find_eyes(image), TEMPLATE[:2])
    else:
        scale, shift = similarity(anchor_points(landmarks), TEMPLATE)
    # Points are complex numbers: template = scale * image + shift, and then wider by the margin.
    widen = size / (1 + 2 * margin)
    scale, shift = scale * widen, (shift + margin * (1 + 1j)) * widen
    crop = _resample(image, 1 / scale, -shift / scale, size)
    if landmarks is None:
        return crop, None
    points = np.asarray(landmarks, np.float64) @ (1, 1j) * scale + shift
    return crop, np.stack([points.real, points.imag], 1).astype(np.float32)


def frame(
    image: UInt8[np.ndarray, "H W 3"],
    landmarks: Float[np.ndarray, "M 2"] | None,
    *,
    size: int,
    how: str,
    margin: float = 0.0,
) -> tuple[UInt8[np.ndarray, "S S 3"], Float[np.ndarray, "M 2"] | None]:
    """Crops a face in one of the ways of `ALIGNMENTS`.

    Args:
      image: the picture.
      landmarks: x and y in pixels of `image`, used only where `how` is "landmarks".
      size: side S of the crop, in pixels.
      how: a name of `ALIGNMENTS`.
      margin: as in `align`.

    Returns:
      The crop, and the landmarks in pixels of the crop, or None.

    Raises:
      AlignmentError: see `align`; or `how` is "landmarks" and there are none.
    """
    if how == "off":
        return central_square(image, size), None
    if how == "detector":
        return align(image, size=size, margin=margin)
    if landmarks is None:
        raise AlignmentError("no landmarks")
    return align(image, landmarks, size=size, margin=margin)


def _resample(
    image: UInt8[np.ndarray, "H W 3"], scale: complex, shift: complex, size: int
) -> UInt8[np.ndarray, "S S 3"]:
    """Resamples the square whose point p lies at `scale * p + shift` of the image."""
    height, width = image.shape[:2]
    corners = np.array([0, size, size * 1j, size * (1 + 1j)]) * scale + shift
    left, right = int(np.floor(corners.real.min())), int(np.ceil(corners.real.max()))
    top, bottom = int(np.floor(corners.imag.min())), int(np.ceil(corners.imag.max()))
    grid = (np.arange(16) + 0.5) * size / 16
    points = (grid[None] + 1j * grid[:, None]) * scale + shift
    within = (points.real >= 0) & (points.real < width) & (points.imag >= 0)
    outside = 1 - (within & (points.imag < height)).mean()
    if outside > _MOST_OUTSIDE:
        raise AlignmentError(
            "face cut off by the picture's edge",
            f"{100 * outside:.0f} % of the crop lie outside the image of {width} x {height} "
            f"pixels, expected at most {100 * _MOST_OUTSIDE:.0f} %",
        )
    # Only the needed part is transformed, with two pixels around it for the filter.
    columns = np.clip(np.arange(left - 2, right + 2), 0, width - 1)
    rows = np.clip(np.arange(top - 2, bottom + 2), 0, height - 1)
    part = Image.fromarray(np.ascontiguousarray(image[rows[:, None], columns[None]]))
    shift = shift - complex(left - 2, top - 2)
    # The part is rotated at the image's own resolution or finer, so that no pixel is skipped, and
    # then reduced.
    finer = max(1, int(np.ceil(abs(scale) - 1e-6)))
    scale = scale / finer
    part = part.transform(
        (size * finer, size * finer),
        Image.Transform.AFFINE,
        (scale.real, -scale.imag, shift.real, scale.imag, scale.real, shift.imag),
        Image.Resampling.BICUBIC,
    )
    return np.array(part.resize((size, size), Image.Resampling.LANCZOS))
