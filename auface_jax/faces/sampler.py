"""Random people, expressions and scenes, and the frames of one person's recording.

Three sources of chance are apart: the identity, the expression and the recording each have a
generator of their own, so that nothing about a scene or a person reveals the labels.

Units are drawn as a Gaussian copula: a correlated normal vector, cut at the level that gives each
unit its rate. Rates and co-occurrence follow what is reported for spontaneous expressions in BP4D
(6, 7, 10, 12 and 14 go together; 1 with 2; 15 with 17; 17, 23 and 24).
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float32, Float64, Int8, Num, UInt8
from scipy.special import ndtri

from auface_jax.faces.mesh.beard import BEARDS
from auface_jax.faces.mesh.builtin import face_model
from auface_jax.faces.mesh.face_model import PULLS, FaceModel
from auface_jax.faces.mesh.glasses import GLASSES
from auface_jax.faces.muscles import check_intensities
from auface_jax.faces.person import Colour, Person, Scene
from auface_jax.faces.render.film import UNCOMPRESSED
from auface_jax.faces.render.render import render
from auface_jax.facs import AU_NUMBERS

AU_RATES = {
    1: 0.21, 2: 0.17, 4: 0.20, 6: 0.46, 7: 0.55, 10: 0.59, 12: 0.56, 14: 0.47, 15: 0.17, 17: 0.34,
    23: 0.17, 24: 0.15,
}  # fmt: skip
_TOGETHER = {
    (1, 2): 0.75, (1, 4): 0.25, (2, 4): 0.05, (4, 7): 0.30, (6, 7): 0.50, (6, 10): 0.60,
    (6, 12): 0.70, (6, 14): 0.30, (7, 10): 0.45, (7, 12): 0.40, (7, 14): 0.25, (10, 12): 0.60,
    (10, 14): 0.35, (12, 14): 0.35, (15, 17): 0.50, (17, 23): 0.35, (17, 24): 0.45, (23, 24): 0.30,
    (14, 17): 0.15, (15, 24): 0.15, (15, 23): 0.15, (14, 23): 0.15, (14, 24): 0.10,
    (12, 15): -0.10, (12, 24): -0.20, (4, 12): -0.15, (10, 24): -0.10, (6, 15): -0.05,
}  # fmt: skip
# Share of samples without any unit, which are drawn again; rates are corrected for it.
_NONE_ACTIVE = 0.056
PRESENT = 0.3  # least intensity of a present unit; intensities in (0, 0.3) are never sampled
NEUTRAL_FRAMES = 2

# Linear RGB of skin from Fitzpatrick type I to VI, between which people are interpolated.
_SKIN_TONES = np.array(
    [
        [0.78, 0.54, 0.44],
        [0.70, 0.45, 0.33],
        [0.60, 0.36, 0.23],
        [0.45, 0.25, 0.145],
        [0.29, 0.145, 0.08],
        [0.165, 0.082, 0.048],
    ]
)
_HAIR = np.array([[0.015, 0.012, 0.011], [0.05, 0.026, 0.015], [0.13, 0.062, 0.028],
                  [0.26, 0.095, 0.035], [0.46, 0.29, 0.13], [0.45, 0.43, 0.41]])  # fmt: skip
_IRIS = np.array([[0.07, 0.032, 0.014], [0.16, 0.085, 0.035], [0.16, 0.19, 0.07],
                  [0.13, 0.24, 0.36], [0.20, 0.24, 0.26]])  # fmt: skip
_METALS = np.array([[0.42, 0.43, 0.45], [0.48, 0.34, 0.14], [0.08, 0.08, 0.09],
                    [0.42, 0.24, 0.18]])  # fmt: skip
_ACETATES = np.array([[0.012, 0.012, 0.014], [0.10, 0.045, 0.02], [0.02, 0.03, 0.08],
                      [0.13, 0.015, 0.02]])  # fmt: skip
_GLASSES_SHARE = 0.25  # of people
# Shares of recordings, and the largest blur: 0.8 pixels of a picture of 128.
_BLURRED, _COMPRESSED, _BLUR = 1 / 3, 1 / 3, 0.8 / 128
# Habits in which faces at rest differ: pulls that contract on one side of a habit, and the other.
_HABITS = (
    (("brow_inner_up", "brow_outer_up"), ("brow_down",)),
    (("brow_together",), ()),
    (("corner_up", "corner_wide"), ("corner_down",)),
    (("lips_press",), ("lip_up",)),
    (("lid_tight",), ()),
    (("chin_up",), ()),
)
_TONE = 0.12  # largest contraction of each; an intensity of 0.3 contracts a muscle by 0.43


@dataclasses.dataclass(frozen=True, eq=False)
class RenderedFrame:
    """One drawn picture with its exact labels.

    Attributes:
        image: the picture, RGB.
        landmarks: pixels (x, y) of the landmarks.
        labels: 1 where the intensity is at least 0.3.
        intensities: intensity of each unit, 0 to 1.
        frame: number within the person.
    """

    image: UInt8[np.ndarray, "S S 3"]
    landmarks: Float32[np.ndarray, "M 2"]
    labels: Int8[np.ndarray, "A"]
    intensities: Float32[np.ndarray, "A"]
    frame: int


def _tuple(colour: Float64[np.ndarray, "3"]) -> Colour:
    """A colour as plain numbers, within the range of light."""
    return tuple(float(c) for c in np.clip(colour, 0.0, 1.5))


def sample_person(rng: np.random.Generator, model: FaceModel | None = None) -> Person:
    """Samples an identity of a face model; None is the built-in one."""
    model = model or face_model()
    shape = np.clip(0.85 * rng.standard_normal(len(model.identity)), -1.8, 1.8)
    type_ = rng.uniform(0.0, 5.0)  # even over the six skin types
    low = int(type_)
    tone = _SKIN_TONES[low] + (type_ - low) * (_SKIN_TONES[min(low + 1, 5)] - _SKIN_TONES[low])
    skin = tone * rng.uniform(0.92, 1.08) * (1 + 0.05 * rng.standard_normal(3) * [0.4, 0.6, 1.2])
    redness = rng.uniform(0.0, 1.0)
    lips = skin * np.array([0.92, 0.52, 0.55]) + redness * np.array([0.10, 0.0, 0.02])
    lips = lips * rng.uniform(0.75, 1.0)
    # The darker the skin the darker, mostly, hair and eyes; grey comes with age.
    pale = np.exp(-1.1 * type_)
    dark_hair = np.array([0.35, 0.30, 0.15, 0.0, 0.0, 0.0])
    fair_hair = np.array([0.05, 0.15, 0.25, 0.20, 0.35, 0.0])
    age = rng.uniform(0.0, 1.0)
    chances = dark_hair * (1 - pale) + fair_hair * pale
    chances[5] = 0.5 * max(age - 0.6, 0.0)
    hair = _HAIR[rng.choice(6, p=chances / chances.sum())] * rng.uniform(0.75, 1.25)
    eyes = np.array([0.65, 0.25, 0.04, 0.04, 0.02]) * (1 - pale) + pale * np.array(
        [0.10, 0.20, 0.20, 0.35, 0.15]
    )
    iris = _IRIS[rng.choice(5, p=eyes / eyes.sum())] * rng.uniform(0.8, 1.25)
    brow = 0.55 * hair * min(1.0, 0.20 / hair.max()) + 0.45 * 0.06 * skin
    bearded = rng.uniform() < 0.25
    return Person(
        shape=shape.astype(np.float32),
        skin=_tuple(skin),
        lips=_tuple(lips),
        hair_colour=_tuple(hair),
        brow_colour=_tuple(brow),
        iris=_tuple(iris),
        cloth=_tuple(rng.uniform(0.03, 0.55) * (1 + 0.5 * rng.uniform(-1, 1, 3))),
        hair_style=int(rng.integers(len(model.hair_names))),
        brow_thickness=float(rng.uniform(0.7, 1.5)),
        brow_density=float(rng.uniform(0.7, 1.0)),
        brow_arch=float(rng.uniform(-1.0, 1.0)),
        blush=float(rng.uniform(0.1, 0.9)),
        freckles=float(rng.uniform(0.3, 1.0)) if rng.uniform() < 0.3 * pale + 0.05 else 0.0,
        stubble=float(rng.uniform(0.3, 1.0)) if bearded else 0.0,
        wrinkle_depth=float(0.75 + 0.5 * age + rng.uniform(-0.1, 0.1)),
        age_lines=float(0.20 * max(age - 0.35, 0.0)),
        shine=float(rng.uniform(0.0, 1.0)),
        asymmetry=float(np.clip(0.05 * rng.standard_normal(), -0.12, 0.12)),
        paint_seed=int(rng.integers(2**31)),
        tone=_sample_tone(rng),
        **_sample_beard(rng, bearded),
        **_sample_glasses(rng),
    )


def _sample_tone(rng: np.random.Generator) -> Float32[np.ndarray, " P"]:
    """Contraction of each pull in a face at rest, which differs from person to person."""
    tone = np.zeros(len(PULLS), np.float32)
    for up, down in _HABITS:
        held = np.clip(_TONE / 2 * rng.standard_normal(), -_TONE, _TONE)
        for pull in up if held > 0 else down:
            tone[PULLS.index(pull)] += abs(held)
    return tone


def _sample_beard(rng: np.random.Generator, bearded: bool) -> dict[str, str | float]:
    """Fields of a beard, which some of those who do not shave let grow."""
    kind = rng.choice(BEARDS, p=[0.35, 0.15, 0.15, 0.35])
    length = 0.15 + 0.55 * rng.beta(1.3, 2.0)
    return {"beard": str(kind) if bearded else "none", "beard_length": float(length)}


def _sample_glasses(rng: np.random.Generator) -> dict[str, str | float | Colour]:
    """Fields of glasses: slim rims of metal, or thicker ones of acetate."""
    worn = rng.uniform() < _GLASSES_SHARE
    kind = str(rng.choice(GLASSES[1:]))
    metal = rng.uniform() < 0.5
    rim = rng.uniform(0.05, 0.08) if metal else rng.uniform(0.10, 0.17)
    frame = (_METALS if metal else _ACETATES)[rng.integers(4)] * rng.uniform(0.8, 1.2)
    return {"glasses": kind if worn else "none", "rim": float(rim), "frame": _tuple(frame)}


@functools.cache
def _copula() -> tuple[Float64[np.ndarray, "A A"], Float64[np.ndarray, "A"]]:
    """A factor of the correlations, and the level above which each unit is present."""
    correlation = np.eye(len(AU_NUMBERS))
    for (a, b), value in _TOGETHER.items():
        i, j = AU_NUMBERS.index(a), AU_NUMBERS.index(b)
        correlation[i, j] = correlation[j, i] = value
    values, vectors = np.linalg.eigh(correlation)
    factor = vectors * np.sqrt(np.clip(values, 1e-3, None))
    factor = factor / np.linalg.norm(factor, axis=1, keepdims=True)
    rates = np.array([AU_RATES[n] for n in AU_NUMBERS]) * (1.0 - _NONE_ACTIVE)
    return factor, ndtri(1.0 - rates)


def sample_intensities(rng: np.random.Generator) -> Float32[np.ndarray, "A"]:
    """Samples an expression with at least one unit.

    Returns:
        Intensities: 0 for an absent unit, 0.4 to 1 (mostly strong) for a present one.
    """
    factor, cut = _copula()
    while True:
        present = factor @ rng.standard_normal(len(AU_NUMBERS)) > cut
        strength = 0.4 + 0.6 * rng.beta(2.0, 1.2, len(AU_NUMBERS))
        if present.any():
            return np.where(present, strength, 0.0).astype(np.float32)


def sequence(intensities: Num[np.ndarray, "A"], num_frames: int) -> Float32[np.ndarray, "N A"]:
    """Intensities of an expression that comes, stays and goes.

    The first and the last frame are at rest; between them are a quick onset, the apex and a slower
    offset. Absent units stay absent; the others also pass through intensities under `PRESENT`.

    Args:
        intensities: intensities at the apex.
        num_frames: number of frames N, at least 5.

    Raises:
        ValueError: there are fewer than 5 frames, or an intensity is out of range.
    """
    if num_frames < 5:
        raise ValueError(f"num_frames is {num_frames}; a sequence has at least 5")
    time = np.linspace(0.0, 1.0, num_frames)
    level = np.interp(time, [0.0, 0.3, 0.6, 1.0], [0.0, 1.0, 1.0, 0.0])
    smooth = 0.5 - 0.5 * np.cos(np.pi * level)
    return (smooth[:, None] * check_intensities(intensities)).astype(np.float32)


def sample_scene(rng: np.random.Generator) -> Scene:
    """Samples the recording of a person: pose, light, background and camera."""
    hue = rng.uniform(0.06, 0.55) * (1 + 0.30 * rng.uniform(-1, 1, 3))
    second = hue * rng.uniform(0.55, 1.0) * (1 + 0.06 * rng.uniform(-1, 1, 3))
    warmth = rng.uniform(-1.0, 1.0)
    return Scene(
        yaw=float(np.clip(6.0 * rng.standard_normal(), -12, 12)),
        pitch=float(np.clip(3.0 * rng.standard_normal(), -8, 8)),
        roll=float(np.clip(2.0 * rng.standard_normal(), -5, 5)),
        key=(float(rng.uniform(-0.9, 0.9)), float(rng.uniform(0.3, 0.9)), 1.0),
        key_strength=float(rng.uniform(0.78, 1.05)),
        key_colour=(1.0 + 0.04 * warmth, 0.97, 0.93 - 0.06 * warmth),
        fill=float(rng.uniform(0.12, 0.35)),
        ambient=float(rng.uniform(0.30, 0.45)),
        background=(_tuple(hue), _tuple(second)),
        background_angle=float(rng.uniform(0.0, 360.0)),
        exposure=float(rng.uniform(0.9, 1.1)),
        gaze=(float(np.clip(4 * rng.standard_normal(), -9, 9)), float(3 * rng.uniform(-1, 1))),
        shift=(float(0.008 * rng.standard_normal()), float(0.007 * rng.standard_normal())),
        zoom=float(rng.uniform(0.985, 1.015)),
        **_sample_camera(rng),
    )


def _sample_camera(rng: np.random.Generator) -> dict[str, float | int]:
    """Fields of focus and compression: most cameras are sharp, and most pictures uncompressed."""
    blurred, blur = rng.uniform() < _BLURRED, rng.uniform(0.0, _BLUR)
    compressed, quality = rng.uniform() < _COMPRESSED, rng.integers(50, 96)
    return {
        "blur": float(blur) if blurred else 0.0,
        "jpeg_quality": int(quality) if compressed else UNCOMPRESSED,
    }


def sample_moment(recording: Scene, rng: np.random.Generator) -> Scene:
    """Samples a moment of a recording: the same room, light and camera, another turn of the head.

    A person is recorded in one place, as people are in BP4D, so a reference face shows a model the
    background and the light of the picture to generate. Together with the turn of the recording, a
    head is turned by at most 20 degrees to a side and 12 up or down.

    Args:
        recording: a scene from `sample_scene`.
        rng: the generator of the moment.
    """
    yaw, pitch, roll = np.clip(rng.standard_normal(3), -2, 2) * (4.0, 2.0, 1.2)
    return dataclasses.replace(
        recording,
        yaw=float(recording.yaw + yaw),
        pitch=float(recording.pitch + pitch),
        roll=float(recording.roll + roll),
        exposure=float(recording.exposure * rng.uniform(0.97, 1.03)),
        gaze=(float(np.clip(4 * rng.standard_normal(), -9, 9)), float(3 * rng.uniform(-1, 1))),
        shift=(float(0.008 * rng.standard_normal()), float(0.007 * rng.standard_normal())),
        zoom=float(rng.uniform(0.985, 1.015)),
    )


def person_frames(
    index: int, num_frames: int, size: int, seed: int, model: FaceModel | None = None
) -> list[RenderedFrame]:
    """Draws the frames of one person of a set.

    Args:
        index: number of the person, from 0.
        num_frames: number of frames; frames 0 and 1 are neutral, the others have at least one
            active unit.
        size: pixels a side.
        seed: seed of the whole set. A frame depends on (seed, index, its number) and nothing else.
        model: the face model; None is the built-in one.

    Raises:
        ValueError: the index or the seed is negative, there is no frame, or the size is illegal.
    """
    given = {"index": (index, 0), "seed": (seed, 0), "num_frames": (num_frames, 1)}
    for name, (value, least) in given.items():
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
    model = model or face_model()
    person = sample_person(np.random.default_rng([seed, index, 0]), model)
    recording = sample_scene(np.random.default_rng([seed, index, 3]))
    frames = []
    for frame in range(num_frames):
        scene = sample_moment(recording, np.random.default_rng([seed, index, 1, frame]))
        if frame < NEUTRAL_FRAMES:
            intensities = np.zeros(len(AU_NUMBERS), np.float32)
        else:
            intensities = sample_intensities(np.random.default_rng([seed, index, 2, frame]))
        image, landmarks = render(model, person, intensities, scene, size)
        labels = (intensities >= PRESENT).astype(np.int8)
        frames.append(RenderedFrame(image, landmarks, labels, intensities, frame))
    return frames
