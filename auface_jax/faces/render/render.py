"""A person, the intensities of their units and a scene -> a picture.

The order of the work: the resting face (once a person), the muscles, the folds that follow from
how the skin was compressed, pose and camera, z-buffer, light, film. Pictures are drawn at two or
three times their size and averaged down.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from auface_jax.faces.mesh.beard import thickness
from auface_jax.faces.mesh.face_model import BRISTLE, FRAME, SKIN, FaceModel
from auface_jax.faces.mesh.glasses import Glasses, fitted
from auface_jax.faces.mesh.lashes import lashes
from auface_jax.faces.muscles import displaced, eyeball_sphere, rest_lids
from auface_jax.faces.person import Person, Scene
from auface_jax.faces.render import lenses, raster, shading, skin
from auface_jax.faces.render.film import photograph
from auface_jax.faces.render.occlusion import lit_from
from auface_jax.faces.template import TEMPLATE, anchor_points, similarity

CAMERA_DISTANCE = 62.0  # centimetres from the middle of the head
_FULL_FOLD = 0.30  # share by which skin is shortened where a wrinkle has its full depth
_DARKEST = 0.7  # share of the main light that a shadow keeps away
_HIDES_FOLDS = 0.1  # centimetres of a beard under which no wrinkle is seen
_PENUMBRA_ROUNDS = 2  # how often a shadow is averaged over neighbouring vertices
_FULL_DETAIL = 512  # pixels drawn a side at which pores have their full depth
_VERGENCE = 3.0  # degrees by which each eye turns in to look at the camera
MIN_SIZE, MAX_SIZE = 16, 1024


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """What the frames of one person have in common."""

    neutral: np.ndarray  # [V, 3]
    texture: np.ndarray  # [T, T, 3]
    relief: np.ndarray  # [T, T, 3]
    centre: np.ndarray  # [3], between the eyes and the mouth
    skin_triangles: np.ndarray  # [F', 3]
    beard: np.ndarray  # [V], centimetres
    glasses: Glasses | None
    # The V vertices of the face, then the corners of lashes, then those of a frame: W in all.
    triangles: np.ndarray  # [F'', 3]
    materials: np.ndarray  # [F'']
    uv: np.ndarray  # [W, 2]
    light_reach: np.ndarray  # [W]


def resting_face(model: FaceModel, person: Person) -> np.ndarray:
    """The person's vertices at rest, float32 [V, 3]."""
    face = model.neutral(person.shape, person.hair_style)
    for strength, field in zip(person.tone, model.pulls, strict=True):
        if strength:
            face = face + strength * field
    return rest_lids(model, face)


@functools.lru_cache(maxsize=8)
def _prepare(model: FaceModel, person: Person) -> _Prepared:
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


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation matrix [3, 3] of a head: degrees, in the sense of `Scene`."""
    a, b, c = np.radians([yaw, -pitch, -roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tilt @ nod @ turn


def _turn(points, matrix):
    """points [V, 3] rotated, without BLAS: its threads may round differently."""
    return np.stack(
        [points[:, 0] * a + points[:, 1] * b + points[:, 2] * c for a, b, c in matrix], 1
    )


def _project(points, centre, scene):
    """[V, 3]: x to the right and y down, before framing, and the distance from the camera."""
    turned = _turn(points - centre, rotation(scene.yaw, scene.pitch, scene.roll))
    depth = CAMERA_DISTANCE - turned[:, 2]
    return np.stack([turned[:, 0] / depth, -turned[:, 1] / depth, depth], -1)


def _framed(projected, anchors, scene, size):
    """Pixels [V, 3]: x, y, depth; the face on the template on which photographs are aligned.

    `anchors` are the projected landmarks of the face at rest: what it does moves no camera.
    """
    scale, shift = similarity(anchor_points(size * anchors[:, :2]), size * TEMPLATE)
    places = size * (projected[:, 0] + 1j * projected[:, 1]) * scale + shift
    middle = 0.5 * size * (1 + 1j)
    places = middle + (places - middle) * scene.zoom + size * complex(*scene.shift)
    return np.stack([places.real, places.imag, projected[:, 2]], -1).astype(np.float32)


def _lid_top(model, vertices):
    """How high the upper lids stand over the middle of the eyeballs, in radii of the ball."""
    heights = []
    for name, part in zip(("left", "right"), model.eyeballs, strict=True):
        centre, radius = eyeball_sphere(vertices[part])
        edge = model.regions[f"{name}_upper_lid"]
        heights.append((vertices[edge, 1].max() - centre[1]) / radius)
    return np.float32(np.mean(heights))


def _lights(scene):
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


def _shadow(light, vertices, normals, triangles, scene):
    """Share [V] of the main light that gets past the nose, the brows and the hair."""
    cosine = normals[:, 0] * light[0] + normals[:, 1] * light[1] + normals[:, 2] * light[2]
    back = rotation(scene.yaw, scene.pitch, scene.roll).T  # the lamp stands still, the head turns
    direction = [light[0] * a + light[1] * b + light[2] * c for a, b, c in back]
    lit = lit_from(direction, vertices, triangles, np.clip(cosine, 0.0, 1.0))
    # Where light only grazes, skin is dark by itself and a depth map is too coarse to tell.
    dark = np.clip((cosine - 0.1) / 0.35, 0.0, 1.0) * (1.0 - lit)
    for _ in range(_PENUMBRA_ROUNDS):
        dark = raster.averaged(dark.astype(np.float32), triangles)
    return 1.0 - np.float32(_DARKEST) * dark


def _background(scene, size):
    angle = np.radians(scene.background_angle)
    steps = (np.arange(size) + 0.5) / size - 0.5
    t = np.clip(0.5 + steps[None, :] * np.cos(angle) + steps[:, None] * np.sin(angle), 0.0, 1.0)[
        ..., None
    ]
    first, second = (np.asarray(c, np.float32) for c in scene.background)
    return np.ascontiguousarray(first * (1 - t) + second * t, np.float32)


def _dressed(model, ready, vertices):
    """The moved face [V, 3] with its beard, lashes and frame of glasses: [W, 3]."""
    if ready.beard.any():
        away = raster.vertex_normals(vertices, ready.skin_triangles)
        vertices = vertices + ready.beard[:, None] * away
    parts = [vertices, lashes(model).grown(vertices)]
    if ready.glasses:
        parts.append(ready.glasses.frame)
    return np.concatenate(parts)


def _glaze(ready, scene, anchors, shown, weight, screen, lights, picture):
    """Lays the lenses of the person's glasses over the picture."""
    worn, size = ready.glasses, len(picture)
    lens = _framed(_project(worn.lens, ready.centre, scene), anchors, scene, size)
    lens_shown, lens_weight = raster.rasterise(lens, worn.lens_triangles, size)
    normals = _turn(worn.lens_normals, rotation(scene.yaw, scene.pitch, scene.roll))
    lenses.glaze(
        shown, weight, screen, ready.triangles, lens_shown, lens_weight, lens,
        worn.lens_triangles, normals.astype(np.float32), lights, np.float32(scene.ambient), picture,
    )  # fmt: skip


def render(
    model: FaceModel, person: Person, intensities, scene: Scene, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one frame.

    Args:
        model: the face model.
        person: who.
        intensities: float [12] in [0, 1].
        scene: pose, light, background, camera.
        size: pixels a side, from 16 to 1024.

    Returns:
        (image uint8 [size, size, 3] RGB, landmarks float32 [M, 2] in pixels, x right and y down).

    Raises:
        ValueError: for a bad size or bad intensities.
    """
    if not isinstance(size, int | np.integer) or not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}; it must be a whole number {MIN_SIZE} to {MAX_SIZE}")
    ready = _prepare(model, person)
    vertices = displaced(model, ready.neutral, intensities, person.asymmetry)
    shorter = raster.compression(
        ready.neutral, vertices, ready.skin_triangles, model.uv, model.crease
    )
    for _ in range(model.fold_rounds):
        shorter = raster.averaged(shorter, ready.skin_triangles)
    fold = person.age_lines + person.wrinkle_depth * np.clip(shorter / _FULL_FOLD, 0.0, 1.0)
    fold = fold * model.crease.any(1) * (1.0 - np.clip(ready.beard / _HIDES_FOLDS, 0.0, 1.0))

    samples = 3 if size < 100 else 2
    drawn = size * samples
    marks = vertices[model.landmarks]  # on the skin, under a beard
    vertices = _dressed(model, ready, vertices)
    fold = np.concatenate([fold, np.zeros(len(vertices) - len(fold))])
    anchors = _project(ready.neutral[model.landmarks], ready.centre, scene)
    screen, marks = (
        _framed(_project(points, ready.centre, scene), anchors, scene, drawn)
        for points in (vertices, marks)
    )
    normals = _turn(
        raster.vertex_normals(vertices, ready.triangles),
        rotation(scene.yaw, scene.pitch, scene.roll),
    )
    lights = _lights(scene)
    head = len(model.vertices)
    key_reach = np.ones(len(vertices), np.float32)
    key_reach[:head] = _shadow(
        lights[0, :3], vertices[:head], normals[:head], model.triangles, scene
    )
    uv = ready.uv.copy()
    for part, inwards in zip(model.eyeballs, (-_VERGENCE, _VERGENCE), strict=True):
        gaze = rotation(scene.gaze[0] + inwards, scene.gaze[1], 0.0)
        centre, radius = eyeball_sphere(vertices[part])
        uv[part] = _turn((vertices[part] - centre) / radius, gaze.T)[:, :2]

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
