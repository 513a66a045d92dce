"""Puts a face where every face is: an image and its landmarks -> a square crop on one template.

The centres of the eyes and the base of the nose are brought to fixed places of the crop by a
similarity (turn, scale, shift), so that a model learns what a face does and not where it is. No
action unit moves these points by more than a little: a crop neither tells an expression nor
cancels it, and a raised brow or a dropped chin moves within the picture.

Training pictures and a user's photograph go through the same function.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from auface_jax.data.sources.detector import find_eyes
from auface_jax.faces.template import TEMPLATE, AlignmentError, anchor_points, similarity
from auface_jax.images.files import central_square

# How the crop of a picture is found: by landmarks, else a detector; or it is the picture's middle.
ALIGNMENTS = ("landmarks", "detector", "off")
_MOST_OUTSIDE = 0.4  # share of a crop that may lie outside its image


def align(
    image: UInt8[np.ndarray, "H W 3"],
    landmarks: Float[np.ndarray, "M 2"] | None = None,
    *,
    size: int,
    margin: float = 0.0,
) -> tuple[UInt8[np.ndarray, "S S 3"], Float[np.ndarray, "M 2"] | None]:
    """The crop of a face on `TEMPLATE`, and the landmarks in pixels of the crop.

    The same input gives the same bytes. Details finer than the crop's pixels are averaged
    (Lanczos, antialiased); what lies outside the image repeats its edge.

    Args:
      landmarks: x and y in pixels of `image`, whose upper left corner is (0, 0). None: eyes are
        looked for by `detector.find_eyes`, and the nose is taken to be where it usually is.
      size: Side of the crop, in pixels.
      margin: How much wider than the template the crop is on each side, as a share of it.

    Raises:
      AlignmentError: See `anchor_points` and `detector.find_eyes`; or the points are no face (eyes
        in one place, the nose not below them), or too little of the crop lies within the image.
      ValueError: `margin` is out of range.
    """
    if not margin > -0.25:
        raise ValueError(f"margin is {margin}, expected more than -0.25 (0 is the template)")
    if landmarks is None:
        scale, shift = similarity(find_eyes(image), TEMPLATE[:2])
    else:
        scale, shift = similarity(anchor_points(landmarks), TEMPLATE)
    # Complex numbers are points: template = scale * image + shift, and wider by the margin.
    widen = size / (1 + 2 * margin)
    scale, shift = scale * widen, (shift + margin * (1 + 1j)) * widen
    crop = _resample(image, 1 / scale, -shift / scale, size)
    if landmarks is None:
        return crop, None
    places = np.asarray(landmarks, np.float64) @ (1, 1j) * scale + shift
    return crop, np.stack([places.real, places.imag], 1).astype(np.float32)


def frame(
    image: UInt8[np.ndarray, "H W 3"],
    landmarks: Float[np.ndarray, "M 2"] | None,
    *,
    size: int,
    how: str,
    margin: float = 0.0,
) -> tuple[UInt8[np.ndarray, "S S 3"], Float[np.ndarray, "M 2"] | None]:
    """`align` as a data set has settled it for all of its pictures: `how` is one of `ALIGNMENTS`.

    Raises:
      AlignmentError: See `align`; or landmarks are asked for and there are none.
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
    """The square whose pixel place p is the image's `scale * p + shift`."""
    height, width = image.shape[:2]
    corners = np.array([0, size, size * 1j, size * (1 + 1j)]) * scale + shift
    left, right = int(np.floor(corners.real.min())), int(np.ceil(corners.real.max()))
    top, bottom = int(np.floor(corners.imag.min())), int(np.ceil(corners.imag.max()))
    grid = (np.arange(16) + 0.5) * size / 16
    places = (grid[None] + 1j * grid[:, None]) * scale + shift
    within = (places.real >= 0) & (places.real < width) & (places.imag >= 0)
    outside = 1 - (within & (places.imag < height)).mean()
    if outside > _MOST_OUTSIDE:
        raise AlignmentError(
            "face cut off by the picture's edge",
            f"{100 * outside:.0f} % of the crop lie outside the image of {width} x {height} "
            f"pixels, expected at most {100 * _MOST_OUTSIDE:.0f} %",
        )
    # Just the part that is needed, and two pixels around it for the filter.
    columns = np.clip(np.arange(left - 2, right + 2), 0, width - 1)
    rows = np.clip(np.arange(top - 2, bottom + 2), 0, height - 1)
    part = Image.fromarray(np.ascontiguousarray(image[rows[:, None], columns[None]]))
    shift = shift - complex(left - 2, top - 2)
    # Turned at the image's own resolution or finer, so that nothing is skipped, then reduced.
    finer = max(1, int(np.ceil(abs(scale) - 1e-6)))
    scale = scale / finer
    part = part.transform(
        (size * finer, size * finer),
        Image.Transform.AFFINE,
        (scale.real, -scale.imag, shift.real, scale.imag, scale.real, shift.imag),
        Image.Resampling.BICUBIC,
    )
    return np.array(part.resize((size, size), Image.Resampling.LANCZOS))
