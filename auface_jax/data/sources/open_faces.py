"""The `builtin` and `ict` sources: people and expressions drawn by `auface_jax.faces`.

Nobody is in these pictures and the labels are what the renderer was told, so anybody may have
them and every label is exact.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from auface_jax.data.build.unseen import units_of
from auface_jax.data.sources.base import NOVEL_TASK, Index, Loaded, Sample, SourceError
from auface_jax.faces import sampler
from auface_jax.faces.mesh.face_model import FaceModel
from auface_jax.faces.mesh.ict_files import FacekitError, read_facekit
from auface_jax.faces.person import Person, Scene
from auface_jax.faces.registry import load_model
from auface_jax.faces.render.render import render
from auface_jax.faces.template import TEMPLATE
from auface_jax.facs import AU_NUMBERS, labels_from_units


@dataclasses.dataclass(frozen=True)
class OpenFaces:
    """`people` persons with `frames` images each, `size` pixels square.

    A person depends on the seed and on the person's number alone, not on how many there are: a
    larger set begins with the smaller one. `name` is that of the face model; `facekit` is the
    clone of the ICT-FaceKit repository that the model `ict` is read from.
    """

    people: int
    frames: int
    size: int
    seed: int = 0
    name: str = "builtin"
    facekit: str | None = None

    exact = True
    found = ()

    def __post_init__(self):
        # Frames 0 and 1 are neutral: one becomes the reference, the other a neutral target.
        for field, least in (("people", 3), ("frames", 3), ("size", 16), ("seed", 0)):
            value = getattr(self, field)
            if not isinstance(value, int) or value < least:
                raise SourceError(
                    f"{self.name} faces: {field} is {value!r}, expected {least} or more"
                )
        if self.name == "ict":
            # Read now: a wrong path is told at once, and workers find the arrays in the cache.
            try:
                read_facekit(self.facekit)
            except FacekitError as error:
                raise SourceError(str(error)) from error

    @property
    def options(self) -> dict:
        options = {
            "people": self.people,
            "frames": self.frames,
            "drawing": _drawing_code(self.name),
        }
        if self.name == "ict":  # what the path holds, wherever it is
            options["facekit"] = read_facekit(self.facekit).fingerprint()
        return options

    @property
    def left_out(self) -> dict[str, int]:
        return {}

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(f"P{index:05d}" for index in range(self.people))

    def index(self, subject: str) -> Index:
        intensities = [self._intensities(subject, number) for number in range(self.frames)]
        return Index(
            names=tuple(("render", number) for number in range(self.frames)),
            labels=(np.stack(intensities) >= sampler.PRESENT).astype(np.int8),
        )

    def load(self, subject: str, numbers: Sequence[int]) -> Loaded:
        """The pictures of `sampler.person_frames`, of which it draws the asked ones alone."""
        samples = []
        for number in numbers:
            moment = self._rng(subject, 1, number)
            intensities = self._intensities(subject, number)
            samples.append(self._sample(subject, "render", number, intensities, moment))
        return Loaded(samples=samples)

    def draw(self, subject: str, codes: Sequence[int]) -> list[Sample]:
        samples = []
        for code in codes:
            rng = self._rng(subject, 4, code)
            strength = 0.4 + 0.6 * rng.beta(2.0, 1.2, len(AU_NUMBERS))  # as the sampler's
            present = labels_from_units(units_of(code)) == 1
            intensities = np.where(present, strength, 0.0).astype(np.float32)
            samples.append(self._sample(subject, NOVEL_TASK, code, intensities, rng))
        return samples

    def _sample(
        self,
        subject: str,
        task: str,
        frame: int,
        intensities: Float32[np.ndarray, "A"],
        moment: np.random.Generator,
    ) -> Sample:
        model, person, recording = _recorded(self, subject)
        scene = sampler.sample_moment(recording, moment)
        image, landmarks = render(model, person, intensities, scene, self.size)
        return Sample(
            image=image,
            subject=subject,
            task=task,
            frame=frame,
            labels=(intensities >= sampler.PRESENT).astype(np.int8),
            intensities=intensities,
            landmarks=landmarks,
        )

    def _intensities(self, subject: str, number: int) -> Float32[np.ndarray, "A"]:
        if number < sampler.NEUTRAL_FRAMES:
            return np.zeros(len(AU_NUMBERS), np.float32)
        return sampler.sample_intensities(self._rng(subject, 2, number))

    def _rng(self, subject: str, *what: int) -> np.random.Generator:
        """The sampler's own streams are 0 (person), 1 (moment), 2 (expression), 3 (recording)."""
        return np.random.default_rng([self.seed, int(subject[1:]), *what])


@functools.lru_cache(maxsize=4)
def _recorded(source: OpenFaces, subject: str) -> tuple[FaceModel, Person, Scene]:
    """A person in a place. Kept for a while: the renderer paints a skin once for each `Person`."""
    model = load_model(source.name, source.facekit)
    person = sampler.sample_person(source._rng(subject, 0), model)
    return model, person, sampler.sample_scene(source._rng(subject, 3))


# Files beside the renderer that look at faces and draw none of a data set.
_LOOKING = {"__init__.py", "registry.py", "sheet.py", "human_reading_study.py"}


def _drawing_code(model: str) -> str:
    """A digest of the code that draws, so that a set drawn before it changed is told apart."""
    digest = hashlib.sha256(TEMPLATE.tobytes())
    for path in sorted((Path(__file__).parents[2] / "faces").rglob("*.py")):
        if path.name in _LOOKING or (model == "builtin" and path.name.startswith("ict_")):
            continue
        digest.update(path.name.encode() + b":" + path.read_bytes())
    return digest.hexdigest()[:16]
