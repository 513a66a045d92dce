"""What becomes of people in a build: a split for each, and a reference."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int8

from auface_jax.data.record import record_id
from auface_jax.data.sources.base import ONLY_IMAGE, Index, Source, stable_seed

SPLIT_MODES = ("person", "image")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Person:
    """A person whose images become records.

    Attributes:
      subject: The name.
      index: The person's images.
      reference: Place of the reference image in the index.
    """

    subject: str
    index: Index
    reference: int

    @property
    def reference_id(self) -> str:
        """`Record.id` of the reference."""
        return record_id(self.subject, *self.index.names[self.reference])

    @property
    def targets(self) -> list[int]:
        """Places of all other images in the index."""
        return [n for n in range(len(self.index.names)) if n != self.reference]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refused:
    """A person without two usable images: the name and the reason of each image."""

    subject: str
    left_out: list[tuple[str, str]]
    faults: list[str]


def choose_reference(source: Source, subject: str, *, seed: int) -> Person | Refused:
    """The person with a reference that can be had, and another image that can.

    The paper's rule: a random image with no active unit, seeded per person; where there is none,
    the one with the smallest index. An image that cannot be used gives way to the next.
    """
    index = source.index(subject)
    order = reference_order(index.labels, subject, seed=seed)
    if source.exact:  # all that it promises can be drawn
        return Person(subject=subject, index=index, reference=next(order))
    usable, left_out, faults = [], [], []
    for number in order:
        loaded = source.load(subject, [number])
        left_out += loaded.left_out
        # An image with a fault stops the build later, where all faults are listed.
        if loaded.samples or loaded.faults:
            usable.append(number)
            faults += loaded.faults
        if len(usable) == 2:
            return Person(subject=subject, index=index, reference=usable[0])
    alone = [(record_id(subject, *index.names[number]), ONLY_IMAGE) for number in usable]
    return Refused(subject=subject, left_out=left_out + alone, faults=faults)


def reference_order(labels: Int8[np.ndarray, "n A"], subject: str, *, seed: int) -> Iterator[int]:
    """A person's images in the order in which they are considered as the reference."""
    rng = np.random.default_rng(stable_seed(seed, "reference", subject))
    active = (labels == 1).any(axis=1)
    neutral = np.flatnonzero(~active).tolist()
    while neutral:
        number = int(rng.choice(neutral))
        neutral.remove(number)
        yield number
    yield from np.flatnonzero(active).tolist()


def check_fractions(fractions: tuple[float, float, float]) -> None:
    """Raises ValueError unless they are three positive numbers of sum 1."""
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions are {tuple(fractions)}, expected three positive numbers of sum 1 "
            "(train, val, test)"
        )


def split_people(
    subjects: tuple[str, ...], *, fractions: tuple[float, float, float], seed: int
) -> dict[str, str]:
    """A split for each subject, in the order of `subjects`; at least one person in each split.

    Raises:
      ValueError: Fewer than three people, or fractions that are not three positive numbers of
        sum 1.
    """
    check_fractions(fractions)
    if len(subjects) < 3:
        raise ValueError(
            f"{len(subjects)} people with two usable images or more, expected at least 3: one each "
            "for train, val and test"
        )
    # Sorted first, so that the order of a table's lines has no say in who is tested.
    rng = np.random.default_rng(stable_seed(seed, "split"))
    dealt = _deal(rng.permutation(sorted(subjects)), fractions)
    return {subject: dealt.get(subject, "train") for subject in subjects}


def split_images(
    people: list[Person], *, fractions: tuple[float, float, float], seed: int
) -> list[list[str]]:
    """As the paper may have split: a split for each target of each person, whoever it is.

    Raises:
      ValueError: Fewer than three targets, or wrong fractions.
    """
    check_fractions(fractions)
    total = sum(len(person.targets) for person in people)
    if total < 3:
        raise ValueError(f"{total} images beside the references, expected at least 3")
    rng = np.random.default_rng(stable_seed(seed, "split"))
    dealt = _deal(rng.permutation(total), fractions)
    places = iter(range(total))
    return [[dealt.get(next(places), "train") for _ in person.targets] for person in people]


def _deal(shuffled: np.ndarray, fractions: tuple[float, float, float]) -> dict:
    """The first to test, the next to val, one at least to each; the rest is left for train."""
    total = len(shuffled)
    val, test = (max(1, round(fraction * total)) for fraction in fractions[1:])
    val = min(val, total - 2)
    test = min(test, total - 1 - val)
    held_out = shuffled[: test + val].tolist()
    return dict.fromkeys(held_out[:test], "test") | dict.fromkeys(held_out[test:], "val")
