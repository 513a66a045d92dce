"""A face as arrays: what any face model must give the muscles, the sampler and the renderer.

Whatever made the mesh (our procedural head, a morphable model of scans), the rest of the package
sees only these arrays, so that another face is one more file that fills a `FaceModel`.

Space: x to the subject's left (the viewer's right), y up, z to the viewer, about centimetres.
"""

from __future__ import annotations

import dataclasses

import numpy as np

# What a triangle is made of; the renderer shades each in its own way.
SKIN, MOUTH, TEETH, EYE, HAIR, CLOTH, LASH, FRAME, BRISTLE, GUM = range(10)
MATERIALS = (
    "skin", "mouth", "teeth", "eye", "hair", "cloth",
    "lash",  # the rim of a lid
    "frame",  # of glasses
    "bristle",  # a hair of the lashes
    "gum",
)  # fmt: skip

# The contractions that move a face. A unit drives one or several of them; see `muscles.py`.
PULLS = (
    "brow_inner_up",  # frontalis, medial part
    "brow_outer_up",  # frontalis, lateral part
    "brow_down",  # depressor supercilii, procerus
    "brow_together",  # corrugator supercilii
    "cheek_up",  # orbicularis oculi, orbital part
    "lid_tight",  # orbicularis oculi, palpebral part
    "lip_up",  # levator labii superioris
    "corner_up",  # zygomaticus major, its lift
    "corner_wide",  # zygomaticus major, its outward pull
    "corner_tuck",  # buccinator
    "corner_down",  # depressor anguli oris
    "chin_up",  # mentalis
    "lips_roll",  # orbicularis oris, the margin turned in
    "lips_press",  # orbicularis oris, the lips against each other
    "mouth_narrow",  # orbicularis oris, the width of the ring
)


@dataclasses.dataclass(frozen=True, eq=False)
class FaceModel:
    """Arrays of one face model. V vertices, F triangles, I identity modes, P pulls, M landmarks.

    Attributes:
        name: short name of the model.
        vertices: float32 [V, 3], the neutral mean face.
        triangles: int32 [F, 3], counter-clockwise seen from outside.
        materials: uint8 [F], an index into `MATERIALS` for each triangle.
        uv: float32 [V, 2], where a vertex of skin lies on the unrolled neutral face, in
            centimetres: what textures are painted in. Hair: (angle, height); others: unused.
        identity: float32 [I, V, 3], displacement of the neutral face for a coefficient of 1.
        identity_names: I names, for reading.
        pulls: float32 [P, V, 3], displacement at full contraction of each of `PULLS`.
        left: float32 [V], share of the left-hand (+x) muscle in moving the vertex; right is 1 - it.
        hair: float32 [H, V, 3], displacement that grows each hair style from the bare scalp.
        hair_names: H names; the first is bald and all zeros.
        eyeballs: two int32 arrays, the vertices of the left (+x) and right eyeball.
        lids: two int32 arrays, the vertices that must stay outside of the left and right eyeball.
        crease: float32 [V, 2], unit direction (in uv) across the wrinkles that can form here.
        landmarks: int32 [M], vertex of each of the 68 points of the usual mark-up.
        regions: dict of name -> int32 vertices; on those of lash_line lashes stand.
        light_reach: float32 [V], share of the light from all around that reaches a vertex at
            rest.
        lips_apart: float32 [V, 3], displacement that parts the lips by a centimetre, by which lips
            that meet push each other away; None where no pull brings them across each other.
        least_opening: share of the resting opening of the eyes that tightened lids leave.
        sculpted: whether nostrils, the hollows beside them and a neck are in the mesh, so that
            none of their shade need be painted, and hair that hangs is not painted on a neck.
        fold_rounds: how often the compression of skin is averaged with that of its neighbours,
            more for a fine mesh of uneven triangles.
    """

    name: str
    vertices: np.ndarray
    triangles: np.ndarray
    materials: np.ndarray
    uv: np.ndarray
    identity: np.ndarray
    identity_names: tuple[str, ...]
    pulls: np.ndarray
    left: np.ndarray
    hair: np.ndarray
    hair_names: tuple[str, ...]
    eyeballs: tuple[np.ndarray, np.ndarray]
    lids: tuple[np.ndarray, np.ndarray]
    crease: np.ndarray
    landmarks: np.ndarray
    regions: dict[str, np.ndarray]
    light_reach: np.ndarray
    lips_apart: np.ndarray | None = None
    least_opening: float = 0.0
    sculpted: bool = False
    fold_rounds: int = 0

    def __post_init__(self):
        count = len(self.vertices)
        expected = {
            "vertices": (count, 3),
            "uv": (count, 2),
            "identity": (len(self.identity_names), count, 3),
            "pulls": (len(PULLS), count, 3),
            "left": (count,),
            "hair": (len(self.hair_names), count, 3),
            "crease": (count, 2),
            "light_reach": (count,),
        }
        for field, shape in expected.items():
            got = getattr(self, field).shape
            if got != shape:
                raise ValueError(f"FaceModel.{field} has shape {got}, it must be {shape}")
        if self.triangles.max() >= count:
            raise ValueError(
                f"FaceModel.triangles names vertex {self.triangles.max()} of only {count}"
            )

    def neutral(self, coefficients: np.ndarray, hair_style: int = 0) -> np.ndarray:
        """The resting face of one person.

        Args:
            coefficients: float [I], one per identity mode, about N(0, 1).
            hair_style: index into `hair_names`.

        Returns:
            float32 [V, 3].

        Raises:
            ValueError: on a wrong number of coefficients or an unknown hair style.
        """
        coefficients = np.asarray(coefficients, np.float32)
        if coefficients.shape != (len(self.identity),):
            raise ValueError(
                f"{coefficients.shape} identity coefficients given; this model takes "
                f"({len(self.identity)},): {', '.join(self.identity_names)}"
            )
        if not 0 <= hair_style < len(self.hair):
            raise ValueError(
                f"hair style {hair_style} is not in 0..{len(self.hair) - 1} "
                f"({', '.join(self.hair_names)})"
            )
        # Summed in a fixed order, so that the result never depends on a threaded BLAS.
        face = self.vertices + self.hair[hair_style]
        for coefficient, mode in zip(coefficients, self.identity, strict=True):
            face = face + coefficient * mode
        return face
