"""Puts a face where every face is: an image and its landmarks -> a square crop on one template.

The centres of the eyes and the base of the nose are brought to fixed places of the crop by a
similarity (turn, scale, shift), so that a model learns what a face does and not where it is. No
action unit moves these points by more than a little: a crop neither tells an expression nor
cancels it, and a raised brow or a dropped chin moves within the picture.

Training pictures and a user's photograph go through the same function.
"""

import numpy as np
from jaxtyping import Float, Float64, UInt8
from PIL import Image

from auface_jax.data.detector import AlignmentError, find_eyes
from auface_jax.data.images import central_square

# Where the anchors lie in a crop of side 1: x to the right, y down; eye at the left of the
# picture, eye at its right, base of the nose. Found on 480 built-in frames of 40 people, all poses
# and expressions: framed so, a chin is at 0.93 and a brow at 0.13 on average, the most raised brow
# at 0.02, and 98 % of the chins lie above the lower edge.
TEMPLATE = np.array([(0.315, 0.275), (0.685, 0.275), (0.5, 0.555)])
TEMPLATE.setflags(write=False)

# Points of each landmark set: outer and inner corner of the eye at the left of the picture, inner
# and outer corner of the other, base of the nose (its middle). 68 is the usual numbering; 66
# lacks the inner corners of the mouth, 51 the jaw, 49 both.
_ANCHORS = {
    68: (36, 39, 42, 45, 33),
    66: (36, 39, 42, 45, 33),
    51: (19, 22, 25, 28, 16),
    49: (19, 22, 25, 28, 16),
}
POINTS = tuple(_ANCHORS)  # how many landmarks a face may have
_LEAST_EYE_DISTANCE = 4.0  # pixels; below it a corner that is off by one turns the face by 14°
# How the crop of a picture is found: by landmarks, else a detector; or it is the picture's middle.
ALIGNMENTS = ("landmarks", "detector", "off")
_MOST_OUTSIDE = 0.4  # share of a crop that may lie outside its image


def anchor_points(landmarks: Float[np.ndarray, "M 2"]) -> Float64[np.ndarray, "3 2"]:
    """The points that `TEMPLATE` places, in the units of `landmarks`.

    An eye's centre is the middle between its corners, which, unlike the lids, no unit moves much.

    Raises:
      AlignmentError: Another number of points than 68, 66, 51 or 49, or a value that is no number.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.ndim != 2 or landmarks.shape[1] != 2 or len(landmarks) not in _ANCHORS:
        raise AlignmentError(
            "landmarks of an unknown set",
            f"an array {landmarks.shape}, expected [M, 2] with "
            f"{', '.join(map(str, POINTS))} points",
        )
    points = landmarks[list(_ANCHORS[len(landmarks)])]
    if not np.isfinite(points).all():
        raise AlignmentError("landmarks without a place", "an eye or the nose is no number")
    return np.stack([points[0:2].mean(0), points[2:4].mean(0), points[4]])


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


def similarity(
    points: Float64[np.ndarray, "3 2"], target: Float64[np.ndarray, "3 2"]
) -> tuple[complex, complex]:
    """Least squares `scale * points + shift = target`, points as complex numbers x + iy.

    Raises:
      AlignmentError: The points are no face seen from the front.
    """
    points, target = points @ (1, 1j), target @ (1, 1j)
    eyes = points[1] - points[0]
    if abs(eyes) < _LEAST_EYE_DISTANCE:
        raise AlignmentError(
            "eyes too close together",
            f"{abs(eyes):.1f} pixels apart, expected {_LEAST_EYE_DISTANCE:g} or more: the face is "
            "too small, or the landmarks are no face",
        )
    # In units of the eyes' distance, the nose lies about 0.76 below the line between them.
    nose = ((points[2] - points[:2].mean()) / eyes) if len(points) == 3 else 0.76j
    drop, aside = nose.imag, nose.real
    if not 0.3 < drop < 1.6 or abs(aside) > 0.6:
        raise AlignmentError(
            "landmarks of no face seen from the front",
            f"the base of the nose lies {drop:.2f} eye distances below the eyes and {aside:.2f} "
            "aside, expected 0.3 to 1.6 and at most 0.6: turned away, mirrored, or in another "
            "order",
        )
    centred = points - points.mean()
    scale = (centred.conj() * (target - target.mean())).sum() / (np.abs(centred) ** 2).sum()
    return scale, target.mean() - scale * points.mean()


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
