"""The ICT-FaceKit face as a `FaceModel`: scanned people, sculpted expressions, our skin and hair.

Source: ICT-FaceKit Light, github.com/ICT-VGL/ICT-FaceKit (MIT licence), which the user clones.
Shape and motion come from there (`ict_files`, `ict_scan`, `ict_regions`). Colours, brows, wrinkles
and hair are those of the built-in face (`ict_surface`), so lips are red where lips are.
"""

import functools
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from auface_jax.faces.mesh import hair_shape
from auface_jax.faces.mesh import head_shape as shape
from auface_jax.faces.mesh.face_model import HAIR, SKIN, FaceModel
from auface_jax.faces.mesh.ict_files import read_facekit
from auface_jax.faces.mesh.ict_regions import lids, regions
from auface_jax.faces.mesh.ict_scan import Scan, resting_scan
from auface_jax.faces.mesh.ict_surface import creases, fitted_hair, near_skin, unrolled
from auface_jax.faces.render.occlusion import light_at_rest


@functools.lru_cache(maxsize=2)
def face_model(path: str | Path, cache: str | Path | None = None) -> FaceModel:
    """The ICT face (about 30,000 vertices), made once a process.

    Args:
        path: the clone of the kit, see `ict_files.read_facekit`.
        cache: folder for the arrays of a clone, see `ict_files.read_facekit`.

    Raises:
        FacekitError: the files cannot be read, or the kit lacks an expression.
    """
    scan = resting_scan(read_facekit(path, cache))
    bare = len(scan.resting)
    hair, hair_triangles, hair_uv, styles = fitted_hair(scan.resting, scan.skin)
    near, share = near_skin(scan.resting, scan.skin, hair)
    scalp = sum(scan.identity[:, near[:, k]] * share[:, k, None] for k in range(near.shape[1]))
    points = np.concatenate([scan.resting, hair]).astype(np.float32)
    uv = np.concatenate([unrolled(scan.resting, scan.skin, scan.landmarks), hair_uv])
    crease, reach = np.zeros((len(points), 2)), np.ones(len(points), np.float32)
    crease[:bare] = creases(scan, uv[:bare])
    reach[:bare] = _light_reach(scan)

    def padded(fields: Float32[np.ndarray, "N V 3"]) -> Float32[np.ndarray, "N W 3"]:
        """Adds the hair, which no field moves."""
        still = np.zeros((len(fields), len(hair), 3))
        return np.concatenate([fields, still], 1, dtype=np.float32)

    return FaceModel(
        name="ict",
        vertices=points,
        triangles=np.concatenate([scan.triangles, hair_triangles + bare]).astype(np.int32),
        materials=np.concatenate([scan.materials, np.full(len(hair_triangles), HAIR, np.uint8)]),
        uv=uv.astype(np.float32),
        identity=np.concatenate([scan.identity, scalp], 1).astype(np.float32),
        identity_names=tuple(f"scan_{k:03d}" for k in range(len(scan.identity))),
        pulls=padded(scan.pulls),
        left=shape.ramp(points[:, 0], -0.9, 0.9).astype(np.float32),
        hair=np.concatenate([np.zeros((len(styles), bare, 3)), styles], 1, dtype=np.float32),
        hair_names=hair_shape.STYLES,
        eyeballs=scan.eyeballs,
        lids=lids(scan),
        crease=crease.astype(np.float32),
        landmarks=scan.landmarks,
        regions=regions(scan),
        light_reach=reach,
        lips_apart=padded(scan.lips_apart[None])[0],
        least_opening=0.42,
        sculpted=True,
        fold_rounds=6,
    )


def _light_reach(scan: Scan) -> Float32[np.ndarray, " V"]:
    """Share of the light from all around: computed for the skin, fixed inside the mouth."""
    skin_triangles = scan.triangles[scan.materials == SKIN]
    reach = light_at_rest(scan.resting, skin_triangles, np.flatnonzero(scan.skin))
    reach[scan.is_part["teeth"] | scan.is_part["gums"]] = 0.75
    reach[scan.is_part["mouth_socket"]] = 0.35
    return reach
