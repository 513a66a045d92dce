"""Finds the one face of a picture, and its eyes, by the cascades that come with OpenCV.

OpenCV is the optional extra `detector`; its models are in its package, so nothing is downloaded.
It finds upright faces seen from the front. Landmarks are far more exact.
"""

import functools
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from auface_jax.faces.template import AlignmentError

_FACE = "haarcascade_frontalface_alt2.xml"
_EYES = ("haarcascade_eye.xml", "haarcascade_eye_tree_eyeglasses.xml")
_LONG_SIDE = 640  # pixels to which a picture is reduced before faces are detected
_FACE_SIDE = 240  # pixels to which a face is resized before eyes are detected


class NoDetectorError(ValueError):
    """The optional extra `detector` is not installed."""


def version() -> str:
    """Name and version of the detector, such as "opencv 4.14.0".

    Raises:
      NoDetectorError: OpenCV is not installed, or lacks the models.
    """
    for name in (_FACE, *_EYES):
        _cascade(name)
    return f"opencv {_opencv().__version__}"


def find_eyes(image: UInt8[np.ndarray, "H W 3"]) -> Float64[np.ndarray, "2 2"]:
    """Finds the centres of the two eyes.

    The same picture gives the same numbers. Errors of 2 % of the distance of the eyes are usual.

    Returns:
      x and y in pixels, the eye at the left of the picture first.

    Raises:
      AlignmentError: the picture has no face or more than one, or an eye is not found.
      NoDetectorError: OpenCV is not installed.
    """
    cv2 = _opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    shrink = min(1.0, _LONG_SIDE / max(grey.shape))
    small = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    # A cascade needs some room around a face, which a close crop does not have.
    room = min(small.shape) // 4
    small = cv2.copyMakeBorder(small, *[room] * 4, cv2.BORDER_REPLICATE)
    least = max(24, min(small.shape) // 8)
    boxes = _cascade(_FACE).detectMultiScale(small, 1.1, 4, minSize=(least, least))
    boxes = [(np.array([x, y, w]) - (room, room, 0)) / shrink for x, y, w, _ in boxes]
    # Much smaller detections beside a face are usually false.
    boxes = [box for box in boxes if box[2] >= 0.5 * max(other[2] for other in boxes)]
    if not boxes:
        raise AlignmentError("no face found", "one seen from the front and upright is expected")
    if len(boxes) > 1:
        raise AlignmentError("several faces found", f"{len(boxes)}: cut the picture to one")
    left, top, side = boxes[0]
    eyes = [_find_eye(grey, left + at * side, top, side) for at in (0.08, 0.50)]
    return np.stack(eyes)


def _find_eye(grey: UInt8[np.ndarray, "H W"], left: float, top: float, side: float) -> np.ndarray:
    """Finds the centre of the eye in one half of a face.

    Args:
      grey: the picture.
      left: left edge of the half, in pixels.
      top: top edge of the face, in pixels.
      side: side of the face's box, in pixels.
    """
    cv2 = _opencv()
    y, x = int(max(0, top + 0.18 * side)), int(max(0, left))
    part = grey[y : int(top + 0.58 * side), x : int(left + 0.42 * side)]
    if min(part.shape) < 8:
        raise AlignmentError("face cut off by the picture's edge")
    enlarge = _FACE_SIDE / side
    part = cv2.resize(part, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_AREA)
    least = round(0.15 * _FACE_SIDE)
    for name in _EYES:
        boxes, votes = _cascade(name).detectMultiScale2(part, 1.1, 2, minSize=(least, least))
        if len(boxes):
            left, top, width, height = boxes[np.argmax(votes)]
            return np.array([left + width / 2, top + height / 2]) / enlarge + (x, y)
    raise AlignmentError("eyes not found", "there is a face; closed, hidden, or no face after all")


@functools.cache
def _opencv():
    try:
        import cv2
    except ImportError as error:
        raise NoDetectorError(
            "looking for a face needs OpenCV: "
            ".venv/bin/python -m pip install -c constraints.txt -e '.[detector]'"
        ) from error
    cv2.setNumThreads(1)  # A build already runs one process on each core.
    return cv2


@functools.cache
def _cascade(name: str):
    cv2 = _opencv()
    path = Path(cv2.data.haarcascades) / name
    if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
        raise NoDetectorError(
            f"this OpenCV ({cv2.__version__}) has no {name}: "
            ".venv/bin/python -m pip install -c constraints.txt -e '.[detector]'"
        )
    return cv2.CascadeClassifier(str(path))
