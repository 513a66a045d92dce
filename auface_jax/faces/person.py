"""What is drawn: a person (fixed) and a scene (changes from frame to frame)."""

from __future__ import annotations

import dataclasses

import numpy as np

Colour = tuple[float, float, float]  # linear RGB, about 0 to 1


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """An identity: nothing here changes between the frames of one person.

    Attributes:
        shape: float32 [I], coefficients of the model's identity modes.
        skin, lips, hair_colour, brow_colour, iris, cloth: linear RGB.
        hair_style: index into the model's `hair_names`.
        brow_thickness: 0.5 to 1.6; brow_density: 0 to 1; brow_arch: -1 flat to 1 arched.
        blush: 0 to 1, redness of cheeks and nose; freckles, stubble: 0 to 1, 0 is none.
        wrinkle_depth: 0.5 to 1.5, how deep folds become; age_lines: 0 to 0.4, folds at rest.
        shine: 0 to 1, oiliness of the skin.
        asymmetry: -0.3 to 0.3, habitual lead of the left half of the face.
        paint_seed: seed of the person's fine skin pattern.
        tone: float32 [P], 0 to 0.12, habitual contraction of each pull in the resting face; the
            muscles of a present unit contract by 0.43 or more.
        beard: one of `beard.BEARDS`; beard_length: centimetres at the chin.
        glasses: one of `glasses.GLASSES`; rim: radius of the rims in centimetres.
        frame: linear RGB of the glasses.
    """

    shape: np.ndarray
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
    tone: np.ndarray
    beard: str
    beard_length: float
    glasses: str
    rim: float
    frame: Colour


@dataclasses.dataclass(frozen=True)
class Scene:
    """Camera, light and background of one frame: independent of what the face does.

    Attributes:
        yaw, pitch, roll: degrees; + turns to the subject's left, up, and to their left shoulder.
            Alignment takes a roll out of the picture; the light does not turn with the head.
        key: direction to the main light (x, y, z; made unit), key_strength and key_colour.
        fill: strength of the light from the other side; ambient: of the light from all around.
        background: two linear RGB colours, and the direction of the gradient in degrees.
        exposure: factor on all light.
        gaze: degrees (to the subject's left, up) relative to the head.
        shift: share of the picture by which the face is off the place where alignment puts it
            (right, down); zoom: factor on its size there. An alignment is never exact.
        blur: standard deviation of what the lens spreads, as a share of the picture's side.
        jpeg_quality: of the photograph that the picture was cut from, 1 to 95; 100 is none.
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
