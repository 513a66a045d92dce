"""Lashes: slim triangles that stand on the edges of the lids and move with them."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int32

from auface_jax.faces.mesh.face_model import FaceModel

_UPPER, _LOWER = 19, 11  # tufts of a lid
_LENGTH = {"upper": 0.62, "lower": 0.22}  # centimetres
_WIDTH = {"upper": 0.10, "lower": 0.05}  # centimetres at the root of a tuft


@dataclasses.dataclass(frozen=True, eq=False)
class Lashes:
    """Hairs whose roots lie between two vertices of the face each. L hairs.

    Attributes:
        roots: the two vertices of each hair.
        share: share of the second of the two vertices in the root.
        half: displacement from the middle of the root to its side.
        reach: displacement from the root to the tip.
        triangles: corners of each hair among the points of `grown`, both ways round.
    """

    roots: Int32[np.ndarray, "L 2"]
    share: Float32[np.ndarray, "L 1"]
    half: Float32[np.ndarray, "L 3"]
    reach: Float32[np.ndarray, "L 3"]
    triangles: Int32[np.ndarray, "2*L 3"]

    def grown(self, vertices: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "3*L 3"]:
        """Corners of all hairs on a moved face."""
        first, second = vertices[self.roots[:, 0]], vertices[self.roots[:, 1]]
        root = first + self.share * (second - first)
        return np.concatenate([root - self.half, root + self.half, root + self.reach])


@functools.lru_cache(maxsize=4)
def lashes(model: FaceModel) -> Lashes:
    """The lashes of a face model."""
    roots, share, half, reach = [], [], [], []
    for sign, corners in ((1, (45, 42)), (-1, (36, 39))):  # outer and inner corner of an eye
        for lid, edge in _edges(model, *model.landmarks[list(corners)]):
            place = np.linspace(0.04, 0.90, _UPPER if lid == "upper" else _LOWER)  # outer to inner
            along = np.abs(model.vertices[edge, 0])
            along = (along - along[0]) / (along[-1] - along[0])
            second = np.clip(np.searchsorted(along, place), 1, len(edge) - 1)
            span = along[second] - along[second - 1]
            roots.append(np.stack([edge[second - 1], edge[second]], 1))
            share.append((place - along[second - 1]) / span)
            half.append(np.tile([0.5 * _WIDTH[lid], 0.0, 0.0], (len(place), 1)))
            fan = 0.75 - 1.0 * place  # outwards at the outer corner, a little inwards at the nose
            size = _LENGTH[lid] * (1.05 - 0.45 * place) * (1.0 + 0.12 * np.cos(37.0 * place))
            up = 0.62 if lid == "upper" else -0.55
            way = np.stack([sign * fan, np.full_like(fan, up), np.full_like(fan, 0.7)], 1)
            reach.append(size[:, None] * way / np.linalg.norm(way, axis=1, keepdims=True))
    roots = np.concatenate(roots).astype(np.int32)
    one = np.arange(len(roots)) + len(roots) * np.arange(3)[:, None]  # corners of each hair
    return Lashes(
        roots=roots,
        share=np.concatenate(share)[:, None].astype(np.float32),
        half=np.concatenate(half).astype(np.float32),
        reach=np.concatenate(reach).astype(np.float32),
        triangles=np.concatenate([one.T, one[::-1].T]).astype(np.int32),
    )


def _edges(
    model: FaceModel, outer: int, inner: int
) -> Iterator[tuple[str, Int32[np.ndarray, " N"]]]:
    """Yields "upper" and "lower", each with the vertices of that lid's edge of one eye.

    A lid whose edge is not in the model's lash line has no lashes and is left out.

    Args:
        model: the face model.
        outer: vertex of the outer corner of the eye, at which the edges begin.
        inner: vertex of the inner corner, at which they end.
    """
    edge = model.regions["lash_line"]
    at, first, last = model.vertices[edge], model.vertices[outer], model.vertices[inner]
    share = (at[:, 0] - first[0]) / (last[0] - first[0])
    over = at[:, 1] - (first[1] + share * (last[1] - first[1]))
    here = (share > 0.0) & (share < 1.0)
    for lid, side in (("upper", here & (over > 0)), ("lower", here & (over < 0))):
        if not side.any():
            continue
        order = np.argsort(share[side])
        yield lid, np.concatenate([[outer], edge[side][order], [inner]])
