"""What a source of faces gives to `build`: people, and the samples of a person.

A source is a small picklable object, because worker processes each hold a copy. It says at once
who is in it and with which labels, and draws or reads images only when asked, a few at a time:
so a build needs the memory of a few images, however large the source is.
"""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int8, UInt8

# The task of a record whose label row no image of the source has.
NOVEL_TASK = "novel"
# Why a person's one usable image is in no record.
ONLY_IMAGE = "a person's only image: it would be its own reference"


class SourceError(ValueError):
    """A source that cannot be read as it is; the message lists what is wrong with it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image of a source, before it has a split, a reference and a text.

    The fields are those of `records.Record`; `image` holds pixels, not yet encoded, or is None
    where a label row is in no image of the source.
    """

    image: UInt8[np.ndarray, "S S 3"] | None
    subject: str
    task: str
    frame: int
    labels: Int8[np.ndarray, "A"]
    intensities: Float32[np.ndarray, "A"] | None
    landmarks: Float32[np.ndarray, "M 2"] | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """The n images that a source has of a person, in its order.

    Who goes where in a build is settled from these, before any work.

    Attributes:
      names: Task and frame of each.
      labels: [n, A] as in `Sample`.
    """

    names: tuple[tuple[str, int], ...]
    labels: Int8[np.ndarray, "n A"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """Some of a person's images, and what became of those that are not among them.

    Attributes:
      samples: In the order they were asked for.
      faults: A line for each image that should be there and cannot be read; stops a build.
      left_out: Name and reason of each image that cannot be used, as happens in any recording.
    """

    samples: list[Sample]
    faults: list[str] = dataclasses.field(default_factory=list)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)


class Source(Protocol):
    """A set of people whose faces can be had one person at a time."""

    @property
    def name(self) -> str:
        """Short name, stored in every record."""

    @property
    def exact(self) -> bool:
        """Whether the labels are true by construction."""

    @property
    def options(self) -> dict:
        """JSON values that, with the source's name, determine its content."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every person with two images or more, in a fixed order."""

    @property
    def found(self) -> tuple[str, ...]:
        """Lines that say what the source holds and how it is read; none where nothing was read."""

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> number of images that the source has and does not give to anybody."""

    def index(self, subject: str) -> Index:
        """What is known of a person's images before any of them is drawn or read."""

    def load(self, subject: str, numbers: Sequence[int]) -> Loaded:
        """Images of a person by their places in the index, in ascending order."""

    def draw(self, subject: str, codes: Sequence[int]) -> list[Sample]:
        """New pictures of a person with label rows of our choice; of exact sources alone.

        Args:
          subject: The person.
          codes: Row codes, see `unseen.row_codes`.

        Returns:
          A sample for each, of task `NOVEL_TASK` and with the code as its frame.
        """


def count_reasons(left_out: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Reason -> number of images, of (name, reason); each reason with the first name it befell."""
    first, counts = {}, collections.Counter()
    for name, reason in left_out:
        first.setdefault(reason, name)
        counts[reason] += 1
    return {f"{reason} (first: {first[reason]})": count for reason, count in counts.items()}


def listed(faults: list[str], what: str) -> str:
    """A message of the first 20 faults and how many there are."""
    shown = [f"  {fault}" for fault in faults[:20]]
    if len(faults) > len(shown):
        shown.append(f"  ... and {len(faults) - len(shown)} more")
    return "\n".join([f"{what}: {len(faults)} fault(s)", *shown])


def stable_seed(*parts: str | int) -> int:
    """A seed in [0, 2**63) that depends on `parts` alone: not on order of work, nor on machine."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
