"""The interface between a source of faces and a build: people, and the samples of each person.

A source is a small picklable object, because each worker process holds a copy. It knows at once
who is in it and with which labels, and draws or reads images only on request, a few at a time: a
build needs the memory of a few images, however large the source is.
"""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int8, UInt8

# The task of a record whose AU combination is in no image of the source.
NOVEL_TASK = "novel"
# The reason why a person's one usable image is in no record.
ONLY_IMAGE = "a person's only image: it would be its own reference"
_MOST_FAULTS = 20  # lines of a message


class SourceError(ValueError):
    """A source cannot be read; the message lists its faults."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image of a source, before it has a split, a reference and a text.

    The fields are those of `record.Record`, except that `image` holds pixels.

    Attributes:
      image: pixels, or None where the AU combination is in no image of the source.
      subject: name of the person.
      task: name of the person's activity.
      frame: number of the image within subject and task.
      labels: 1 present, 0 absent, -1 not coded.
      intensities: values in [0, 1], or None.
      landmarks: x and y in pixels of `image`, or None.
    """

    image: UInt8[np.ndarray, "S S 3"] | None
    subject: str
    task: str
    frame: int
    labels: Int8[np.ndarray, "A"]
    intensities: Float32[np.ndarray, "A"] | None
    landmarks: Float32[np.ndarray, "M 2"] | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageIndex:
    """All n images that a source has of a person, without their pixels.

    A build assigns images to splits by this index, before any image is drawn or read.

    Attributes:
      names: task and frame of each image.
      labels: label vectors as in `Sample`.
    """

    names: tuple[tuple[str, int], ...]
    labels: Int8[np.ndarray, "n A"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LoadedImages:
    """Result of a request for some of a person's images.

    Attributes:
      samples: the usable images, in the requested order.
      faults: one line for each image file that is missing or damaged; a fault stops a build.
      left_out: name and reason of each image that cannot be used, as happens in any recording.
    """

    samples: list[Sample]
    faults: list[str] = dataclasses.field(default_factory=list)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)


class FaceSource(Protocol):
    """A set of people whose images are available one person at a time."""

    @property
    def name(self) -> str:
        """Short name, stored in every record."""

    @property
    def exact(self) -> bool:
        """True where labels are true by construction, because the images are drawn from them."""

    @property
    def options(self) -> dict:
        """JSON values that, with the source's name, determine its content."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all people with at least two images, in a fixed order."""

    @property
    def summary_lines(self) -> tuple[str, ...]:
        """Lines for the user about the files that were found; empty for a source without files."""

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> number of images that no person's index contains."""

    def index(self, subject: str) -> ImageIndex:
        """Returns the index of a person's images; nothing is drawn or read."""

    def load(self, subject: str, numbers: Sequence[int]) -> LoadedImages:
        """Draws or reads images of a person.

        Args:
          subject: name of the person.
          numbers: positions in the person's index, ascending.
        """

    def draw(self, subject: str, codes: Sequence[int]) -> list[Sample]:
        """Draws new images of a person; only an exact source can.

        Args:
          subject: name of the person.
          codes: AU combinations to show, see `unseen.combination_codes`.

        Returns:
          One sample for each code, of task `NOVEL_TASK` and with the code as its frame.
        """


def count_reasons(left_out: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Counts images by reason.

    Args:
      left_out: name and reason of each image.

    Returns:
      Reason, with the name of the first image that it applies to -> number of images.
    """
    first, counts = {}, collections.Counter()
    for name, reason in left_out:
        first.setdefault(reason, name)
        counts[reason] += 1
    return {f"{reason} (first: {first[reason]})": count for reason, count in counts.items()}


def format_faults(faults: Sequence[str], heading: str) -> str:
    """Formats an error message: the heading, the number of faults, and the first 20 of them."""
    lines = [f"  {fault}" for fault in faults[:_MOST_FAULTS]]
    if len(faults) > len(lines):
        lines.append(f"  ... and {len(faults) - len(lines)} more")
    return "\n".join([f"{heading}: {len(faults)} fault(s)", *lines])


def stable_seed(*parts: str | int) -> int:
    """Hashes `parts` to a seed in [0, 2**63), the same in every process and on every machine."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
