"""A person, which is fixed, and a scene, which changes from frame to frame."""

import dataclasses

import numpy as np
from jaxtyping import Float32

Colour = tuple[float, float, float]  # linear RGB, about 0 to 1


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """An identity: nothing here changes between the frames of one person.

    Attributes:
        shape: coefficients of the model's identity modes.
        skin: colour of the skin, linear RGB as all colours.
        lips: colour of the lips.
        hair_colour: colour of the hair.
        brow_colour: colour of the brows.
        iris: colour of the eyes.
        cloth: colour of the shirt.
        hair_style: index into the model's `hair_names`.
        brow_thickness: thickness of the brows, 0.5 to 1.6.
        brow_density: density of their hair, 0 to 1.
        brow_arch: arch of the brows, -1 flat to 1 arched.
        blush: redness of cheeks and nose, 0 to 1.
        freckles: strength of freckles, 0 none to 1.
        stubble: strength of stubble, 0 none to 1.
        wrinkle_depth: depth that folds reach, 0.5 to 1.5.
        age_lines: depth of folds at rest, 0 to 0.4.
        shine: oiliness of the skin, 0 to 1.
        asymmetry: habitual lead of the left half of the face, -0.3 to 0.3.
        paint_seed: seed of the person's fine skin pattern.
        tone: habitual contraction of each pull in the resting face, 0 to 0.12; the muscles of a
            present unit contract by 0.43 or more.
        beard: one of `beard.BEARDS`.
        beard_length: centimetres at the chin.
        glasses: one of `glasses.GLASSES`.
        rim: radius of the rims of glasses in centimetres.
        frame: colour of the glasses.
    """

    shape: Float32[np.ndarray, " I"]
    skin: Colour
    lips: Colour
    hair_colour: Colour
    brow_colour: Colour
    iris: Colour
    cloth: Colour
    hair_style: int
    brow_thickness: float
    brow_density: float
    brow_arch: float
    blush: float
    freckles: float
    stubble: float
    wrinkle_depth: float
    age_lines: float
    shine: float
    asymmetry: float
    paint_seed: int
    tone: Float32[np.ndarray, " P"]
    beard: str
    beard_length: float
    glasses: str
    rim: float
    frame: Colour


@dataclasses.dataclass(frozen=True)
class Scene:
    """Pose, light, background and camera of one frame, independent of the expression.

    Attributes:
        yaw: turn of the head in degrees, + to the subject's left.
        pitch: nod of the head in degrees, + up.
        roll: tilt of the head in degrees, + to the subject's left shoulder. Alignment takes it
            out of the picture; the light does not turn with the head.
        key: direction to the main light (x, y, z), of any length.
        key_strength: strength of the main light.
        key_colour: linear RGB of the main light.
        fill: strength of the light from the other side.
        ambient: strength of the light from all around.
        background: the two linear RGB colours of a gradient.
        background_angle: direction of the gradient in degrees.
        exposure: factor on all light.
        gaze: degrees to the subject's left and up, relative to the head.
        shift: share of the picture, to the right and down, by which the face is off its aligned
            place, since an alignment is never exact.
        zoom: factor on the aligned size of the face.
        blur: standard deviation of the lens' blur, as a share of the picture's side.
        jpeg_quality: quality of the photograph from which the picture was cut, 1 to 95; 100 is no
            compression.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    key: tuple[float, float, float] = (-0.5, 0.6, 1.0)
    key_strength: float = 1.0
    key_colour: Colour = (1.0, 0.97, 0.92)
    fill: float = 0.25
    ambient: float = 0.38
    background: tuple[Colour, Colour] = ((0.30, 0.33, 0.38), (0.16, 0.18, 0.22))
    background_angle: float = 90.0
    exposure: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    blur: float = 0.0
    jpeg_quality: int = 100
