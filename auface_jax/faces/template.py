"""The aligned face: places of its eyes and nose, and of its regions, in the square crop.

Every model sees faces in this crop. Coordinates are shares of its side: x to the right, y down.
"""

import numpy as np
from jaxtyping import Float, Float64

# Anchors: the eye at the left of the picture, the eye at its right, the base of the nose. The
# values were chosen on 480 built-in frames of 40 people, all poses and expressions: framed so, a
# chin is at 0.93 and a brow at 0.13 on average, the most raised brow at 0.02, and 98 % of the chins
# lie above the lower edge.
TEMPLATE = np.array([(0.315, 0.275), (0.685, 0.275), (0.5, 0.555)])
TEMPLATE.setflags(write=False)

Box = tuple[float, float, float, float]  # left, upper, right and lower edge
# There are two tables of regions, since they serve opposite ends. A region that is generated again
# must hold every place that its muscles move, so EDIT_REGIONS are wide and overlap. An error must
# count in one region alone, so ERROR_REGIONS are narrow and apart. Both are for a crop without
# margin: eyes at 0.275, tip of the nose at 0.45, its base at 0.555, mouth at 0.69, chin at 0.93.
EDIT_REGIONS: dict[str, tuple[Box, ...]] = {
    "brows": ((0.05, 0.0, 0.95, 0.22),),
    "eyes": ((0.08, 0.16, 0.92, 0.38),),
    "nose": ((0.32, 0.3, 0.68, 0.62),),
    "cheeks": ((0.0, 0.36, 0.36, 0.7), (0.64, 0.36, 1.0, 0.7)),
    "mouth": ((0.2, 0.56, 0.8, 0.86),),
    "chin": ((0.2, 0.78, 0.8, 1.0),),
    "upper": ((0.0, 0.0, 1.0, 0.45),),
    "lower": ((0.0, 0.45, 1.0, 1.0),),
}
ERROR_REGIONS: dict[str, Box] = {
    "brows": (0.12, 0.04, 0.88, 0.20),
    "eyes": (0.12, 0.20, 0.88, 0.36),
    "nose": (0.36, 0.36, 0.64, 0.60),
    "mouth": (0.24, 0.60, 0.76, 0.82),
    "chin": (0.24, 0.82, 0.76, 1.00),
}

# Indices of the anchor points in each landmark set: outer and inner corner of the eye at the left
# of the picture, inner and outer corner of the other eye, middle of the base of the nose. 68 is the
# usual numbering; 66 lacks the inner corners of the mouth, 51 the jaw, 49 both.
_ANCHORS = {
    68: (36, 39, 42, 45, 33),
    66: (36, 39, 42, 45, 33),
    51: (19, 22, 25, 28, 16),
    49: (19, 22, 25, 28, 16),
}
POINTS = tuple(_ANCHORS)  # numbers of landmarks that a face may have
_LEAST_EYE_DISTANCE = 4.0  # pixels; below it an error of one pixel in a corner turns a face by 14°


class AlignmentError(ValueError):
    """A face cannot be put on the template.

    Attributes:
      reason: the fault, in words that are the same for every such picture.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


def anchor_points(landmarks: Float[np.ndarray, "M 2"]) -> Float64[np.ndarray, "3 2"]:
    """The centres of the eyes and the base of the nose, in the order of `TEMPLATE`.

    An eye's centre is the middle between its corners, which, unlike the lids, no unit moves much.

    Args:
      landmarks: pixels (x, y) of the 68, 66, 51 or 49 points of a face.

    Raises:
      AlignmentError: the number of points is another, or a value is not finite.
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
    """Least-squares solution of `scale * points + shift = target`, with points as x + iy.

    Args:
      points: anchor points of a face, in pixels.
      target: the places to which they go.

    Returns:
      The scale, whose angle is the rotation, and the shift.

    Raises:
      AlignmentError: the points are not those of a face seen from the front.
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
