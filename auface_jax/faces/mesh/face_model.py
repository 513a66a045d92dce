"""A face as arrays, which the muscles, the sampler and the renderer share.

The rest of the package sees only these arrays, whether a procedural head or a morphable model of
scans made them, so that another face is one more file that fills a `FaceModel`.

Space: x to the subject's left (the viewer's right), y up, z to the viewer, about centimetres.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

# Materials of triangles; the renderer shades each in its own way.
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
    """Arrays of one face model.

    Attributes:
        name: short name of the model.
        vertices: the neutral mean face.
        triangles: corners of each triangle, counter-clockwise seen from outside.
        materials: index into `MATERIALS` of each triangle.
        uv: places of the vertices of skin on the unrolled neutral face, in centimetres; textures
            are painted in this plane. Hair has (angle, height); other vertices do not use it.
        identity: displacement of the neutral face for a coefficient of 1 of each identity mode.
        identity_names: names of the identity modes, for messages.
        pulls: displacement at full contraction of each of `PULLS`.
        left: share of the left-hand (+x) muscle in moving the vertex; the right one has the rest.
        hair: displacement that grows each hair style from the bare scalp.
        hair_names: names of the hair styles; the first is bald and all zeros.
        eyeballs: vertices of the left (+x) and of the right eyeball.
        lids: vertices that must stay outside of the left and of the right eyeball.
        crease: unit direction, in uv, across the wrinkles that can form at each vertex.
        landmarks: vertices of the 68 points of the usual mark-up.
        regions: vertices of each named region; lashes stand on those of "lash_line".
        light_reach: share of the light from all around that reaches each vertex at rest.
        lips_apart: displacement that parts the lips by a centimetre, by which lips that meet push
            each other away; None where no pull brings them across each other.
        least_opening: share of the resting opening of the eyes that tightened lids leave.
        sculpted: whether nostrils, the hollows beside them and a neck are in the mesh, so that
            none of their shade need be painted, and hair that hangs is not painted on a neck.
        fold_rounds: number of times that the compression of skin is averaged with that of its
            neighbours; a fine mesh of uneven triangles needs more.
    """

    name: str
    vertices: Float32[np.ndarray, "V 3"]
    triangles: Int32[np.ndarray, "F 3"]
    materials: UInt8[np.ndarray, " F"]
    uv: Float32[np.ndarray, "V 2"]
    identity: Float32[np.ndarray, "I V 3"]
    identity_names: tuple[str, ...]
    pulls: Float32[np.ndarray, "P V 3"]
    left: Float32[np.ndarray, " V"]
    hair: Float32[np.ndarray, "H V 3"]
    hair_names: tuple[str, ...]
    eyeballs: tuple[Int32[np.ndarray, " L"], Int32[np.ndarray, " R"]]
    lids: tuple[Int32[np.ndarray, " L"], Int32[np.ndarray, " R"]]
    crease: Float32[np.ndarray, "V 2"]
    landmarks: Int32[np.ndarray, " M"]
    regions: dict[str, Int32[np.ndarray, " N"]]
    light_reach: Float32[np.ndarray, " V"]
    lips_apart: Float32[np.ndarray, "V 3"] | None = None
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
                raise ValueError(f"FaceModel.{field} has shape {got}; it must be {shape}")
        if self.triangles.max() >= count:
            raise ValueError(
                f"FaceModel.triangles names vertex {self.triangles.max()} of only {count}"
            )

    def neutral(
        self, coefficients: Float[np.ndarray, " I"], hair_style: int = 0
    ) -> Float32[np.ndarray, "V 3"]:
        """The resting face of one person.

        Args:
            coefficients: one for each identity mode, about N(0, 1).
            hair_style: index into `hair_names`.

        Raises:
            ValueError: the number of coefficients is wrong, or the hair style is unknown.
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
