"""The `builtin` and `ict` sources: people and expressions drawn by `auface_jax.faces`.

The images show nobody, so anybody may have them, and their labels are the input of the renderer, so
every label is exact.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from auface_jax.data.build.unseen import units_of_code
from auface_jax.data.sources.base import NOVEL_TASK, ImageIndex, LoadedImages, Sample, SourceError
from auface_jax.data.sources.options import DrawnOptions
from auface_jax.faces import sampler
from auface_jax.faces.mesh.face_model import FaceModel
from auface_jax.faces.mesh.ict_files import FacekitError, read_facekit
from auface_jax.faces.person import Person, Scene
from auface_jax.faces.registry import load_model
from auface_jax.faces.render.render import render
from auface_jax.faces.template import TEMPLATE
from auface_jax.facs import AU_NUMBERS, labels_from_units


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenFaces(DrawnOptions):
    """A source of drawn people.

    A person depends on the seed and on the person's number alone, not on the number of people: a
    larger set begins with the people of a smaller one.

    Attributes:
      size: side of the images, in pixels.
      seed: seed of the people and of their images.
      name: name of the face model.
      facekit: folder of the ICT-FaceKit repository, which the model `ict` is read from.
    """

    size: int
    seed: int = 0
    name: str = "builtin"
    facekit: str | None = None

    exact = True
    summary_lines = ()

    def __post_init__(self):
        super().__post_init__()
        if self.name == "ict":
            # The kit is read here so that a wrong path is reported before any work.
            try:
                read_facekit(self.facekit)
            except FacekitError as error:
                raise SourceError(str(error)) from error

    @property
    def options(self) -> dict:
        """The options that `dataset.json` records, and digests of the code and the face model."""
        options = {
            "people": self.people,
            "frames": self.frames,
            "drawing": _drawing_code(self.name),
        }
        if self.name == "ict":  # a digest of the content, because the path may change
            options["facekit"] = read_facekit(self.facekit).fingerprint()
        return options

    @property
    def left_out(self) -> dict[str, int]:
        """Always empty: every image can be drawn."""
        return {}

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all people."""
        return tuple(f"P{index:05d}" for index in range(self.people))

    def index(self, subject: str) -> ImageIndex:
        """Returns the index of a person's images, see `FaceSource.index`."""
        intensities = [self._intensities(subject, number) for number in range(self.frames)]
        return ImageIndex(
            names=tuple(("render", number) for number in range(self.frames)),
            labels=(np.stack(intensities) >= sampler.PRESENT).astype(np.int8),
        )

    def load(self, subject: str, numbers: Sequence[int]) -> LoadedImages:
        """Draws images of a person, equal to those of `sampler.person_frames`."""
        samples = []
        for number in numbers:
            moment = self._rng(subject, 1, number)
            intensities = self._intensities(subject, number)
            samples.append(self._sample(subject, "render", number, intensities, moment))
        return LoadedImages(samples=samples)

    def draw(self, subject: str, codes: Sequence[int]) -> list[Sample]:
        """Draws AU combinations of our choice, see `FaceSource.draw`."""
        samples = []
        for code in codes:
            rng = self._rng(subject, 4, code)
            strength = 0.4 + 0.6 * rng.beta(2.0, 1.2, len(AU_NUMBERS))  # as in the sampler
            present = labels_from_units(units_of_code(code)) == 1
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
        """A generator for one purpose.

        Args:
          subject: name of the person.
          *what: the purpose: 0 person, 1 moment, 2 expression, 3 recording (the streams of
            `faces.sampler`), 4 novel AU combination; then the number of the image.
        """
        return np.random.default_rng([self.seed, int(subject[1:]), *what])


@functools.lru_cache(maxsize=4)
def _recorded(source: OpenFaces, subject: str) -> tuple[FaceModel, Person, Scene]:
    """A person and the scene of the recording, cached: the renderer paints a skin once a person."""
    model = load_model(source.name, source.facekit)
    person = sampler.sample_person(source._rng(subject, 0), model)
    return model, person, sampler.sample_scene(source._rng(subject, 3))


# Files in `faces/` that have no effect on the images of a data set.
_NOT_DRAWING = {"__init__.py", "registry.py", "sheet.py", "human_reading_study.py"}


def _drawing_code(model: str) -> str:
    """A digest of the code that draws, so that sets drawn by different code differ."""
    digest = hashlib.sha256(TEMPLATE.tobytes())
    for path in sorted((Path(__file__).parents[2] / "faces").rglob("*.py")):
        if path.name in _NOT_DRAWING or (model == "builtin" and path.name.startswith("ict_")):
            continue
        digest.update(path.name.encode() + b":" + path.read_bytes())
    return digest.hexdigest()[:16]
