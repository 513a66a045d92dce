"""Named regions of the ICT face: lids, lips, eyeballs, the line on which lashes stand."""

import numpy as np
from jaxtyping import Int32

from auface_jax.faces.mesh.face_model import LASH, SKIN
from auface_jax.faces.mesh.ict_scan import Scan

_LID_RINGS = 2  # from a socket to the edge of its lids, on which the landmarks lie


def lids(scan: Scan) -> tuple[Int32[np.ndarray, " L"], Int32[np.ndarray, " R"]]:
    """Vertices of the skin around the left and around the right eye."""
    left, right = (_lid(scan, scan.landmarks[first : first + 6]) for first in (42, 36))
    return left, right


def _lid(scan: Scan, corners: Int32[np.ndarray, "6"]) -> Int32[np.ndarray, " L"]:
    """Vertices of the skin around one eye, given its six landmarks."""
    off = scan.resting - scan.resting[corners].mean(0)
    width = np.ptp(scan.resting[corners, 0])
    near = (np.abs(off[:, 0]) < 0.62 * width) & (np.abs(off[:, 1]) < 0.45 * width)
    near &= np.abs(off[:, 2]) < 1.5
    return np.flatnonzero(scan.is_part["face"] & near).astype(np.int32)


def regions(scan: Scan) -> dict[str, Int32[np.ndarray, " N"]]:
    """Vertices of each named region, see `FaceModel.regions`."""
    at = {
        "right_corner": [48], "left_corner": [54],
        "upper_lip_edge": [61, 62, 63], "lower_lip_edge": [67, 66, 65],
        "right_upper_lid": [37, 38], "right_lower_lid": [41, 40],
        "left_upper_lid": [43, 44], "left_lower_lid": [47, 46],
    }  # fmt: skip
    found = {name: scan.landmarks[points] for name, points in at.items()}
    for name, inside in scan.is_part.items():
        found[name] = np.flatnonzero(inside).astype(np.int32)
    found["lash_line"] = _lash_line(scan)
    return found


def _lash_line(scan: Scan) -> Int32[np.ndarray, " N"]:
    """Vertices on the edges of the upper lids, a few rings out from the seam of a socket.

    Lashes of the lower lids are finer than a pixel of the usual sizes: they would be loose dots.
    """
    skin = scan.triangles[scan.materials == SKIN]
    ring = inside = np.intersect1d(skin, scan.triangles[scan.materials == LASH])
    for _ in range(_LID_RINGS):
        ring = np.setdiff1d(skin[np.isin(skin, inside).any(1)], inside)
        inside = np.union1d(inside, ring)
    upper = np.zeros(len(ring), bool)
    for first, end in ((36, 39), (42, 45)):  # the corners of an eye, from left to right
        a, b = scan.resting[scan.landmarks[[first, end]]]
        here = (scan.resting[ring, 0] > a[0]) & (scan.resting[ring, 0] < b[0])
        share = (scan.resting[ring, 0] - a[0]) / (b[0] - a[0])
        upper |= here & (scan.resting[ring, 1] > a[1] + share * (b[1] - a[1]))
    return ring[upper].astype(np.int32)
