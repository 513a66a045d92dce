"""A person, the intensities of their units and a scene -> a picture.

In this order: the resting face (once a person), the muscles, the folds that follow from the
compression of the skin, pose and camera, z-buffer, light, film. Pictures are drawn at two or
three times their size and averaged down.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float32, Float64, Int32, Num, UInt8

from auface_jax.faces.mesh.beard import thickness
from auface_jax.faces.mesh.face_model import BRISTLE, FRAME, SKIN, FaceModel
from auface_jax.faces.mesh.glasses import Glasses, fitted
from auface_jax.faces.mesh.lashes import lashes
from auface_jax.faces.muscles import displaced, eyeball_sphere, rest_lids
from auface_jax.faces.person import Person, Scene
from auface_jax.faces.render import lenses, raster, shading, skin
from auface_jax.faces.render.camera import framed, projected, rotation, turned
from auface_jax.faces.render.film import photograph
from auface_jax.faces.render.occlusion import lit_from

_FULL_FOLD = 0.30  # share by which skin is shortened where a wrinkle has its full depth
_DARKEST = 0.7  # share of the main light that a shadow keeps away
_HIDES_FOLDS = 0.1  # centimetres of a beard under which no wrinkle is seen
_PENUMBRA_ROUNDS = 2  # number of times that a shadow is averaged over neighbouring vertices
_FULL_DETAIL = 512  # pixels drawn a side at which pores have their full depth
_VERGENCE = 3.0  # degrees by which each eye turns in to look at the camera
MIN_SIZE, MAX_SIZE = 16, 1024


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """Parts that all frames of one person share.

    The W vertices that are drawn are the V of the face, then the corners of lashes, then those of
    the frame of glasses.

    Attributes:
        neutral: vertices of the resting face.
        texture: colours of the skin.
        relief: slopes and gloss of pores and hairs.
        centre: the point around which the head turns, between the eyes and the mouth.
        skin_triangles: triangles of skin.
        beard: thickness of the beard in centimetres.
        glasses: the glasses, if any.
        triangles: all triangles that are drawn.
        materials: index into `MATERIALS` of each of them.
        uv: places of the vertices, see `FaceModel.uv`.
        light_reach: share of the light from all around at each vertex.
    """

    neutral: Float32[np.ndarray, "V 3"]
    texture: Float32[np.ndarray, "T T 3"]
    relief: Float32[np.ndarray, "T T 3"]
    centre: Float64[np.ndarray, "3"]
    skin_triangles: Int32[np.ndarray, "K 3"]
    beard: Float32[np.ndarray, " V"]
    glasses: Glasses | None
    triangles: Int32[np.ndarray, "F 3"]
    materials: UInt8[np.ndarray, " F"]
    uv: Float32[np.ndarray, "W 2"]
    light_reach: Float32[np.ndarray, " W"]


def resting_face(model: FaceModel, person: Person) -> Float32[np.ndarray, "V 3"]:
    """Vertices of the person at rest."""
    face = model.neutral(person.shape, person.hair_style)
    for strength, field in zip(person.tone, model.pulls, strict=True):
        if strength:
            face = face + strength * field
    return rest_lids(model, face)


@functools.lru_cache(maxsize=8)
def _prepare(model: FaceModel, person: Person) -> _Prepared:
    """Makes the parts that all frames of a person share."""
    neutral = resting_face(model, person)
    marks = neutral[model.landmarks]
    hairs = lashes(model)
    worn = fitted(model, person, neutral)
    parts = [(model.triangles, model.materials, len(neutral))]
    parts.append((hairs.triangles, BRISTLE, 3 * len(hairs.roots)))
    if worn:
        parts.append((worn.frame_triangles, FRAME, len(worn.frame)))
    starts = np.cumsum([0, *(count for _, _, count in parts)])
    extra = starts[-1] - len(neutral)
    skin_triangles = model.triangles[model.materials == SKIN]
    is_skin = np.zeros(len(neutral), bool)
    is_skin[skin_triangles] = True
    return _Prepared(
        neutral=neutral,
        texture=skin.paint(person, model.hair_names[person.hair_style], model.sculpted),
        relief=skin.fine_relief(person),
        centre=0.5 * (marks[36:48].mean(0) + marks[48:60].mean(0)) * [0, 1, 0] + [0, 0.55, 5.0],
        skin_triangles=skin_triangles,
        beard=(thickness(person.beard, person.beard_length, model.uv) * is_skin).astype(np.float32),
        glasses=worn,
        triangles=np.concatenate(
            [t + s for (t, _, _), s in zip(parts, starts, strict=False)], dtype=np.int32
        ),
        materials=np.concatenate(
            [np.broadcast_to(m, len(t)) for t, m, _ in parts], dtype=np.uint8, casting="unsafe"
        ),
        uv=np.concatenate([model.uv, np.zeros((extra, 2))], dtype=np.float32),
        light_reach=np.concatenate([model.light_reach, np.ones(extra)], dtype=np.float32),
    )


def _lid_top(model: FaceModel, vertices: Float32[np.ndarray, "W 3"]) -> np.float32:
    """Height of the upper lids over the middle of the eyeballs, in radii of the ball."""
    heights = []
    for name, part in zip(("left", "right"), model.eyeballs, strict=True):
        centre, radius = eyeball_sphere(vertices[part])
        edge = model.regions[f"{name}_upper_lid"]
        heights.append((vertices[edge, 1].max() - centre[1]) / radius)
    return np.float32(np.mean(heights))


def _lights(scene: Scene) -> Float32[np.ndarray, "3 6"]:
    """Unit directions and colours of the main light, the fill and the light on the rim."""
    key = np.asarray(scene.key, float)
    key = key / np.linalg.norm(key)
    colour = np.asarray(scene.key_colour) * scene.key_strength
    fill = np.array([-np.sign(key[0] or 1.0) * 0.8, 0.15, 0.6])
    rim = np.array([-np.sign(key[0] or 1.0) * 0.9, 0.5, -0.35])
    rows = [
        (key, colour),
        (fill, scene.fill * np.array([0.92, 0.97, 1.05])),
        (rim, 0.35 * scene.fill * np.ones(3)),
    ]
    return np.array([[*(d / np.linalg.norm(d)), *strength] for d, strength in rows], np.float32)


def _shadow(
    light: Float32[np.ndarray, "3"],
    vertices: Float32[np.ndarray, "V 3"],
    normals: Float64[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "F 3"],
    scene: Scene,
) -> Float32[np.ndarray, " V"]:
    """Share of the main light that gets past the nose, the brows and the hair.

    Args:
        light: unit direction to the light.
        vertices: the face, not turned.
        normals: unit normals of the turned face.
        triangles: surfaces that cast the shadow.
        scene: the scene, whose pose turns the face.
    """
    cosine = normals[:, 0] * light[0] + normals[:, 1] * light[1] + normals[:, 2] * light[2]
    back = rotation(scene.yaw, scene.pitch, scene.roll).T  # the lamp stands still, the head turns
    direction = [light[0] * a + light[1] * b + light[2] * c for a, b, c in back]
    lit = lit_from(direction, vertices, triangles, np.clip(cosine, 0.0, 1.0))
    # Where light only grazes, skin is dark by itself and a depth map is too coarse to tell.
    dark = np.clip((cosine - 0.1) / 0.35, 0.0, 1.0) * (1.0 - lit)
    for _ in range(_PENUMBRA_ROUNDS):
        dark = raster.averaged(dark.astype(np.float32), triangles)
    return 1.0 - np.float32(_DARKEST) * dark


def _folds(
    model: FaceModel, person: Person, ready: _Prepared, vertices: Float32[np.ndarray, "V 3"]
) -> Float32[np.ndarray, " V"]:
    """Weight of the wrinkles at each vertex of the moved face: those of age and of compression."""
    shorter = raster.compression(
        ready.neutral, vertices, ready.skin_triangles, model.uv, model.crease
    )
    for _ in range(model.fold_rounds):
        shorter = raster.averaged(shorter, ready.skin_triangles)
    fold = person.age_lines + person.wrinkle_depth * np.clip(shorter / _FULL_FOLD, 0.0, 1.0)
    return fold * model.crease.any(1) * (1.0 - np.clip(ready.beard / _HIDES_FOLDS, 0.0, 1.0))


def _looking(
    model: FaceModel,
    uv: Float32[np.ndarray, "W 2"],
    vertices: Float32[np.ndarray, "W 3"],
    gaze: tuple[float, float],
) -> Float32[np.ndarray, "W 2"]:
    """Turns the eyes: on an eyeball, uv is the place in radii from the middle of the iris."""
    uv = uv.copy()
    for part, inwards in zip(model.eyeballs, (-_VERGENCE, _VERGENCE), strict=True):
        turn = rotation(gaze[0] + inwards, gaze[1], 0.0)
        centre, radius = eyeball_sphere(vertices[part])
        uv[part] = turned((vertices[part] - centre) / radius, turn.T)[:, :2]
    return uv


def _background(scene: Scene, size: int) -> Float32[np.ndarray, "D D 3"]:
    """The gradient of two colours behind the head."""
    angle = np.radians(scene.background_angle)
    steps = (np.arange(size) + 0.5) / size - 0.5
    t = np.clip(0.5 + steps[None, :] * np.cos(angle) + steps[:, None] * np.sin(angle), 0.0, 1.0)[
        ..., None
    ]
    first, second = (np.asarray(c, np.float32) for c in scene.background)
    return np.ascontiguousarray(first * (1 - t) + second * t, np.float32)


def _dressed(
    model: FaceModel, ready: _Prepared, vertices: Float32[np.ndarray, "V 3"]
) -> Float32[np.ndarray, "W 3"]:
    """The moved face with its beard, lashes and frame of glasses."""
    if ready.beard.any():
        away = raster.vertex_normals(vertices, ready.skin_triangles)
        vertices = vertices + ready.beard[:, None] * away
    parts = [vertices, lashes(model).grown(vertices)]
    if ready.glasses:
        parts.append(ready.glasses.frame)
    return np.concatenate(parts)


def _glaze(
    ready: _Prepared,
    scene: Scene,
    anchors: Float64[np.ndarray, "M 3"],
    shown: Int32[np.ndarray, "D D"],
    weight: Float32[np.ndarray, "D D 2"],
    screen: Float32[np.ndarray, "W 3"],
    lights: Float32[np.ndarray, "3 6"],
    picture: Float32[np.ndarray, "D D 3"],
) -> None:
    """Lays the lenses of the person's glasses over the picture, in place.

    Args:
        ready: parts of the person.
        scene: the scene.
        anchors: projected landmarks of the face at rest, see `camera.framed`.
        shown: triangle that each pixel shows, from `raster.rasterise`.
        weight: weights of its second and third corner.
        screen: pixel x, pixel y and depth of the vertices.
        lights: directions and colours of the lights.
        picture: linear RGB.
    """
    worn, size = ready.glasses, len(picture)
    lens = framed(projected(worn.lens, ready.centre, scene), anchors, scene, size)
    lens_shown, lens_weight = raster.rasterise(lens, worn.lens_triangles, size)
    normals = turned(worn.lens_normals, rotation(scene.yaw, scene.pitch, scene.roll))
    lenses.glaze(
        shown, weight, screen, ready.triangles, lens_shown, lens_weight, lens,
        worn.lens_triangles, normals.astype(np.float32), lights, np.float32(scene.ambient), picture,
    )  # fmt: skip


def render(
    model: FaceModel, person: Person, intensities: Num[np.ndarray, "A"], scene: Scene, size: int
) -> tuple[UInt8[np.ndarray, "S S 3"], Float32[np.ndarray, "M 2"]]:
    """Draws one frame.

    Args:
        model: the face model.
        person: the person.
        intensities: intensity of each unit, 0 to 1.
        scene: pose, light, background and camera.
        size: pixels a side, 16 to 1024.

    Returns:
        The image, RGB, and the landmarks in pixels, x to the right and y down.

    Raises:
        ValueError: the size or an intensity is out of range.
    """
    if not isinstance(size, int | np.integer) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}; it must be a whole number {MIN_SIZE} to {MAX_SIZE}")
    ready = _prepare(model, person)
    vertices = displaced(model, ready.neutral, intensities, person.asymmetry)
    fold = _folds(model, person, ready, vertices)

    samples = 3 if size < 100 else 2
    drawn = size * samples
    marks = vertices[model.landmarks]  # on the skin, under a beard
    vertices = _dressed(model, ready, vertices)
    fold = np.concatenate([fold, np.zeros(len(vertices) - len(fold))])
    anchors = projected(ready.neutral[model.landmarks], ready.centre, scene)
    screen, marks = (
        framed(projected(points, ready.centre, scene), anchors, scene, drawn)
        for points in (vertices, marks)
    )
    normals = turned(
        raster.vertex_normals(vertices, ready.triangles),
        rotation(scene.yaw, scene.pitch, scene.roll),
    )
    lights = _lights(scene)
    head = len(model.vertices)
    key_reach = np.ones(len(vertices), np.float32)
    key_reach[:head] = _shadow(
        lights[0, :3], vertices[:head], normals[:head], model.triangles, scene
    )
    uv = _looking(model, ready.uv, vertices, scene.gaze)

    shown, weight = raster.rasterise(screen, ready.triangles, drawn)
    picture = _background(scene, drawn)
    colours = np.array(
        [person.hair_colour, person.cloth, person.iris, person.lips, person.frame], np.float32
    )
    shading.shade(
        shown, weight, ready.triangles, ready.materials, normals.astype(np.float32), uv,
        fold.astype(np.float32), ready.light_reach, key_reach, ready.texture, skin.wrinkle_map(),
        ready.relief, np.float32(min(drawn / _FULL_DETAIL, 1.0)), colours, lights,
        np.float32(scene.ambient), np.float32(person.shine), np.float32(person.paint_seed % 7),
        _lid_top(model, vertices), picture,
    )  # fmt: skip
    if ready.glasses:
        _glaze(ready, scene, anchors, shown, weight, screen, lights, picture)
    return photograph(picture, scene, size), marks[:, :2] / samples
