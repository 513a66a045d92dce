"""The `builtin` and `ict` sources: people and expressions drawn by `auface_jax.faces`.

Nobody is in these pictures and the labels are what the renderer was told, so anybody may have
them and every label is exact.
"""

import dataclasses
import hashlib
from pathlib import Path

from auface_jax.data.align import TEMPLATE
from auface_jax.data.samples import Loaded, Sample, SourceError
from auface_jax.faces.ict_files import FacekitError, read_facekit


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

    def load_person(self, subject: str) -> Loaded:
        # Imported here: the renderer compiles, and a set of somebody's own images has no use
        # for it.
        from auface_jax.faces import sampler
        from auface_jax.faces.models import load_model

        frames = sampler.person_frames(
            int(subject[1:]),
            num_frames=self.frames,
            size=self.size,
            seed=self.seed,
            model=load_model(self.name, self.facekit),
        )
        samples = [
            Sample(
                image=frame.image,
                subject=subject,
                task="render",
                frame=frame.frame,
                labels=frame.labels,
                intensities=frame.intensities,
                landmarks=frame.landmarks,
            )
            for frame in frames
        ]
        return Loaded(samples=samples)


# Files beside the renderer that look at faces and draw none of a data set.
_LOOKING = {"__init__.py", "models.py", "sheet.py", "visibility.py", "reading_test.py"}


def _drawing_code(model: str) -> str:
    """A digest of the code that draws, so that a set drawn before it changed is told apart."""
    digest = hashlib.sha256(TEMPLATE.tobytes())
    for path in sorted((Path(__file__).parents[1] / "faces").glob("*.py")):
        if path.name in _LOOKING or (model == "builtin" and path.name.startswith("ict_")):
            continue
        digest.update(path.name.encode() + b":" + path.read_bytes())
    return digest.hexdigest()[:16]
