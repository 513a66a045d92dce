"""Assigns people or images to splits, and chooses each person's reference."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int8

from auface_jax.data.record import record_id
from auface_jax.data.sources.base import ONLY_IMAGE, FaceSource, ImageIndex, stable_seed

SPLIT_MODES = ("person", "image")


@dataclasses.dataclass(frozen=True, kw_only=True)
class IncludedPerson:
    """A person whose images become records.

    Attributes:
      subject: name of the person.
      index: index of the person's images.
      reference: position of the reference image in the index.
    """

    subject: str
    index: ImageIndex
    reference: int

    @property
    def reference_id(self) -> str:
        """`Record.id` of the reference."""
        return record_id(self.subject, *self.index.names[self.reference])

    @property
    def targets(self) -> list[int]:
        """Positions of all other images in the index."""
        return [n for n in range(len(self.index.names)) if n != self.reference]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExcludedPerson:
    """A person without two usable images.

    Attributes:
      subject: name of the person.
      left_out: name and reason of each image.
      faults: one line for each image that is missing or damaged.
    """

    subject: str
    left_out: list[tuple[str, str]]
    faults: list[str]


def choose_reference(
    source: FaceSource, subject: str, *, seed: int
) -> IncludedPerson | ExcludedPerson:
    """Chooses a usable reference of a person who has another usable image as well.

    The paper's rule is a random image with no active unit, seeded for each person; a person without
    such an image gets the one with the smallest index. An unusable image gives way to the next.
    """
    index = source.index(subject)
    order = reference_order(index.labels, subject, seed=seed)
    if source.exact:  # An exact source can draw every image of its index.
        return IncludedPerson(subject=subject, index=index, reference=next(order))
    usable, left_out, faults = [], [], []
    for number in order:
        loaded = source.load(subject, [number])
        left_out += loaded.left_out
        # An image with a fault stops the build later, together with all other faults.
        if loaded.samples or loaded.faults:
            usable.append(number)
            faults += loaded.faults
        if len(usable) == 2:
            return IncludedPerson(subject=subject, index=index, reference=usable[0])
    alone = [(record_id(subject, *index.names[number]), ONLY_IMAGE) for number in usable]
    return ExcludedPerson(subject=subject, left_out=left_out + alone, faults=faults)


def reference_order(labels: Int8[np.ndarray, "n A"], subject: str, *, seed: int) -> Iterator[int]:
    """Yields positions of a person's images in the order of preference as the reference."""
    rng = np.random.default_rng(stable_seed(seed, "reference", subject))
    active = (labels == 1).any(axis=1)
    neutral = np.flatnonzero(~active).tolist()
    while neutral:
        number = int(rng.choice(neutral))
        neutral.remove(number)
        yield number
    yield from np.flatnonzero(active).tolist()


def check_fractions(fractions: Sequence[float]) -> None:
    """Raises ValueError unless `fractions` are three positive numbers of sum 1."""
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"fractions are {tuple(fractions)}, expected three positive numbers of sum 1 "
            "(train, val, test)"
        )


def split_people(
    subjects: Sequence[str], *, fractions: Sequence[float], seed: int
) -> dict[str, str]:
    """Assigns each person to a split; each split gets at least one person.

    Args:
      subjects: names of the people.
      fractions: shares of train, val and test.
      seed: seed of the assignment.

    Returns:
      Subject -> split, in the order of `subjects`.

    Raises:
      ValueError: fewer than three people, or fractions that are not three positive numbers of
        sum 1.
    """
    check_fractions(fractions)
    if len(subjects) < 3:
        raise ValueError(
            f"{len(subjects)} people with two usable images or more, expected at least 3: one each "
            "for train, val and test"
        )
    # Names are sorted first, so that the order of a table's lines does not change the test people.
    rng = np.random.default_rng(stable_seed(seed, "split"))
    held_out = _draw_held_out(rng.permutation(sorted(subjects)), fractions)
    return {subject: held_out.get(subject, "train") for subject in subjects}


def split_images(
    people: Sequence[IncludedPerson], *, fractions: Sequence[float], seed: int
) -> list[list[str]]:
    """Assigns each target image to a split, whoever is on it, as the paper may have done.

    Args:
      people: the people and their images.
      fractions: shares of train, val and test.
      seed: seed of the assignment.

    Returns:
      The split of each target of each person.

    Raises:
      ValueError: fewer than three targets, or illegal fractions.
    """
    check_fractions(fractions)
    total = sum(len(person.targets) for person in people)
    if total < 3:
        raise ValueError(f"{total} images beside the references, expected at least 3")
    rng = np.random.default_rng(stable_seed(seed, "split"))
    held_out = _draw_held_out(rng.permutation(total), fractions)
    numbers = iter(range(total))
    return [[held_out.get(next(numbers), "train") for _ in person.targets] for person in people]


def _draw_held_out(shuffled: np.ndarray, fractions: Sequence[float]) -> dict:
    """Item -> "test" or "val"; the first items go to test, the next to val, the rest stay in train.

    Each split gets at least one item.
    """
    total = len(shuffled)
    val, test = (max(1, round(fraction * total)) for fraction in fractions[1:])
    val = min(val, total - 2)
    test = min(test, total - 1 - val)
    held_out = shuffled[: test + val].tolist()
    return dict.fromkeys(held_out[:test], "test") | dict.fromkeys(held_out[test:], "val")
