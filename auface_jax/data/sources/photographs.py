"""What the sources made of image files share: rows of a table -> samples, framed alike."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from auface_jax.data.record import record_id
from auface_jax.data.sources import detector
from auface_jax.data.sources.alignment import ALIGNMENTS, AlignmentError, frame
from auface_jax.data.sources.base import (
    ONLY_IMAGE,
    Index,
    Loaded,
    Sample,
    SourceError,
    count_reasons,
)
from auface_jax.images.files import ImageFileError, read_rgb

UNKNOWN_CODE = "a unit's code is unknown on this frame"
UNCODED_UNITS = ("refuse", "absent")


@dataclasses.dataclass(frozen=True)
class Photograph:
    """An image file and its codes.

    Attributes:
      task, frame: As in a record.
      path: The image file.
      labels: [A] 1, 0 or -1.
      intensities: [A] in [0, 1], 0 where none was coded; or None.
      landmarks: Path of a file of points, where there is one.
    """

    task: str
    frame: int
    path: str
    labels: tuple[int, ...]
    intensities: tuple[float, ...] | None = None
    landmarks: str | None = None


@dataclasses.dataclass(frozen=True)
class Album:
    """What was found: people with their photographs in order, and what is not among them."""

    people: dict[str, list[Photograph]]
    left_out: list[tuple[str, str]]
    uncoded: tuple[int, ...]
    lines: tuple[str, ...]


class PhotographSource:
    """Everything of a `Source` that follows from an album.

    A subclass has the fields `size`, `align`, `margin`, and gives `_album` and `_framing`.
    """

    exact = False

    def check_framing(self) -> None:
        """Raises SourceError where size, alignment or margin are out of range."""
        if self.size < 16:
            raise SourceError(f"size is {self.size}, expected 16 or more")
        if self.align not in ("auto", *ALIGNMENTS):
            raise SourceError(f"align is {self.align!r}, expected auto, {', '.join(ALIGNMENTS)}")
        if not -0.25 < self.margin <= 1:
            raise SourceError(f"margin is {self.margin}, expected more than -0.25 and at most 1")
        if self.margin and self.align == "off":
            raise SourceError("a margin belongs to an alignment, and it is off")
        if self.align == "detector":
            try:
                detector.version()
            except detector.NoDetectorError as error:
                raise SourceError(str(error)) from error
        if self.uncoded_units not in UNCODED_UNITS:
            raise SourceError(
                f"uncoded_units is {self.uncoded_units!r}, expected {' or '.join(UNCODED_UNITS)}"
            )

    @property
    def found(self) -> tuple[str, ...]:
        """Lines that say what the source holds and how it is read."""
        lines = [*self._album.lines, f"faces are framed by: {self._framing}"]
        if self._album.uncoded:
            units = ", ".join(f"AU{unit}" for unit in self._album.uncoded)
            lines.append(f"never coded: {units}; described as absent, left out of every figure")
        return tuple(lines)

    @property
    def left_out(self) -> dict[str, int]:
        alone = [
            (record_id(subject, rows[0].task, rows[0].frame), ONLY_IMAGE)
            for subject, rows in self._album.people.items()
            if len(rows) == 1
        ]
        return count_reasons(self._album.left_out + alone)

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(subject for subject, rows in self._album.people.items() if len(rows) > 1)

    def content_options(self) -> dict:
        """What of the reading and the files themselves determines the samples.

        Sizes stand for the images: a moved folder is the same source, and an image replaced by
        another is noticed unless the two are of one length.
        """
        digest = hashlib.sha256()
        for subject, rows in self._album.people.items():
            for row in rows:
                codes = (subject, row.task, row.frame, row.labels, row.intensities)
                digest.update(repr(codes).encode())
                digest.update(b"%d," % Path(row.path).stat().st_size)
                if row.landmarks is not None:
                    digest.update(b"%d;" % Path(row.landmarks).stat().st_size)
        options = {"content": digest.hexdigest(), "align": self._framing, "margin": self.margin}
        if self._framing == "detector":
            options["detector"] = detector.version()
        if self._album.uncoded:
            options["uncoded_units"] = list(self._album.uncoded)
        return options

    def index(self, subject: str) -> Index:
        rows = self._album.people[subject]
        return Index(
            names=tuple((row.task, row.frame) for row in rows),
            labels=np.array([row.labels for row in rows], np.int8),
        )

    def load(self, subject: str, numbers: Sequence[int]) -> Loaded:
        samples, faults, left_out = [], [], []
        for row in (self._album.people[subject][number] for number in numbers):
            try:
                image, landmarks = frame(
                    read_rgb(row.path),
                    self._landmarks(row) if self._framing == "landmarks" else None,
                    size=self.size,
                    how=self._framing,
                    margin=self.margin,
                )
            except AlignmentError as error:
                left_out.append((record_id(subject, row.task, row.frame), error.reason))
                continue
            except (SourceError, ImageFileError) as error:
                faults.append(str(error))
                continue
            samples.append(
                Sample(
                    image=image,
                    subject=subject,
                    task=row.task,
                    frame=row.frame,
                    labels=np.array(row.labels, np.int8),
                    intensities=(
                        None if row.intensities is None else np.array(row.intensities, np.float32)
                    ),
                    landmarks=landmarks,
                )
            )
        return Loaded(samples=samples, faults=faults, left_out=left_out)

    def _landmarks(self, row: Photograph) -> Float32[np.ndarray, "M 2"] | None:
        raise NotImplementedError
