"""Code shared by the sources of image files: rows of a table become samples of one framing."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from auface_jax import facs
from auface_jax.data.record import record_id
from auface_jax.data.sources import detector
from auface_jax.data.sources.alignment import AlignmentError, frame
from auface_jax.data.sources.base import (
    ONLY_IMAGE,
    ImageIndex,
    LoadedImages,
    Sample,
    SourceError,
    count_reasons,
)
from auface_jax.images.files import ImageFileError, read_rgb

UNKNOWN_CODE = "a unit's code is unknown on this frame"


@dataclasses.dataclass(frozen=True)
class Photograph:
    """An image file and its codes.

    Attributes:
      task: name of the person's activity, as in a record.
      frame: number of the image within its sequence, as in a record.
      path: path of the image file.
      labels: 12 values, 1 present, 0 absent, -1 not coded.
      intensities: 12 values in [0, 1], 0 where none was coded; or None.
      landmarks: path of a file of points, or None.
    """

    task: str
    frame: int
    path: str
    labels: tuple[int, ...]
    intensities: tuple[float, ...] | None = None
    landmarks: str | None = None


@dataclasses.dataclass(frozen=True)
class Album:
    """All photographs of a source.

    Attributes:
      people: subject -> photographs by task and frame.
      left_out: name and reason of each image that is not among them.
      uncoded: numbers of the units that the source never codes.
      lines: lines for the user about the files that were found.
    """

    people: dict[str, list[Photograph]]
    left_out: list[tuple[str, str]]
    uncoded: tuple[int, ...]
    lines: tuple[str, ...]


def find_uncoded_units(rows: Sequence[tuple[str, Photograph]]) -> tuple[int, ...]:
    """Numbers of the units that no photograph codes.

    Args:
      rows: subject and photograph, at least one.
    """
    coded = (np.array([photograph.labels for _, photograph in rows]) >= 0).any(axis=0)
    return tuple(np.array(facs.AU_NUMBERS)[~coded].tolist())


def group_by_person(
    rows: Sequence[tuple[str, Photograph]], uncoded: Sequence[int]
) -> tuple[dict[str, list[Photograph]], list[tuple[str, str]]]:
    """Groups photographs by person, without those that lack a code.

    Args:
      rows: subject and photograph.
      uncoded: units whose codes may be missing.

    Returns:
      Subject -> photographs in the order of `rows`; and name and reason of each photograph that
      was left out.
    """
    coded = ~np.isin(facs.AU_NUMBERS, uncoded)
    people: dict[str, list[Photograph]] = {}
    left_out = []
    for subject, photograph in rows:
        if (np.array(photograph.labels)[coded] < 0).any():
            left_out.append((record_id(subject, photograph.task, photograph.frame), UNKNOWN_CODE))
        else:
            people.setdefault(subject, []).append(photograph)
    return people, left_out


class PhotographSource:
    """Base of the sources of image files: implements a `FaceSource` on top of an album.

    A subclass has the fields of `PhotographOptions` and `size`, and defines `_album` and
    `_framing`, one of `ALIGNMENTS`.
    """

    exact = False

    def check_detector(self) -> None:
        """Raises SourceError where faces are to be found by a detector that is not installed."""
        if self.align == "detector":
            try:
                detector.version()
            except detector.NoDetectorError as error:
                raise SourceError(str(error)) from error

    @property
    def summary_lines(self) -> tuple[str, ...]:
        """Lines for the user about the files that were found and the way they are read."""
        lines = [*self._album.lines, f"faces are framed by: {self._framing}"]
        if self._album.uncoded:
            units = ", ".join(f"AU{unit}" for unit in self._album.uncoded)
            lines.append(f"never coded: {units}; described as absent, left out of every figure")
        return tuple(lines)

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> number of images that no person's index contains."""
        alone = [
            (record_id(subject, rows[0].task, rows[0].frame), ONLY_IMAGE)
            for subject, rows in self._album.people.items()
            if len(rows) == 1
        ]
        return count_reasons(self._album.left_out + alone)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all people with at least two photographs."""
        return tuple(subject for subject, rows in self._album.people.items() if len(rows) > 1)

    def content_options(self) -> dict:
        """Options that determine the samples: the framing, and a digest of the files.

        The sizes of files stand for their content, so that a moved folder is the same source. An
        image that is replaced is noticed, unless the two files have the same size.
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

    def index(self, subject: str) -> ImageIndex:
        """Returns the index of a person's photographs, see `FaceSource.index`."""
        rows = self._album.people[subject]
        return ImageIndex(
            names=tuple((row.task, row.frame) for row in rows),
            labels=np.array([row.labels for row in rows], np.int8),
        )

    def load(self, subject: str, numbers: Sequence[int]) -> LoadedImages:
        """Reads and frames photographs of a person, see `FaceSource.load`."""
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
        return LoadedImages(samples=samples, faults=faults, left_out=left_out)

    def _landmarks(self, row: Photograph) -> Float32[np.ndarray, "M 2"] | None:
        """Reads the landmarks of a photograph; None where it has none."""
        raise NotImplementedError
