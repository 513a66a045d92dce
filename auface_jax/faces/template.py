"""The aligned face: where the eyes and the nose lie in the square crop that every model sees."""

import numpy as np
from jaxtyping import Float, Float64

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


class AlignmentError(ValueError):
    """A picture whose face cannot be put on the template.

    Attributes:
      reason: What is wrong, in words that are the same for every such picture.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


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
