"""The plan of a build: every decision that needs the whole of the data, before any work.

A plan is made from people with their label vectors and no image, so that it is quick for any number
of images. It depends on its arguments alone: an interrupted build that continues, or a build on
many machines, makes the same plan.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from auface_jax.data.build.splits import (
    ExcludedPerson,
    IncludedPerson,
    split_images,
    split_people,
)
from auface_jax.data.build.unseen import combination_codes, draw_held_out, draw_novel
from auface_jax.data.build.work_units import IMAGES_PER_WORK_UNIT, RecordMaker, WorkUnit
from auface_jax.data.record import SPLITS, UNSEEN_HELD_OUT, UNSEEN_NOVEL, UNSEEN_SPLITS
from auface_jax.data.sources.base import SourceError, count_reasons, format_faults

WITHHELD = "of a label row held out from training, and its person is not in test"

# A person, and the `WorkUnit.numbers` of this person in one split.
_Group = tuple[IncludedPerson, list[int]]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of records to be written.

    Attributes:
      split: split of the records.
      number: number of the shard in the split, from 0.
      total: number of shards of the split.
      work_units: content of the file, in order.
    """

    split: str
    number: int
    total: int
    work_units: tuple[WorkUnit, ...]

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"{self.split}-{self.number:05d}-of-{self.total:05d}.array_record"

    @property
    def images(self) -> int:
        """Number of records if every image is usable."""
        return sum(len(work_unit.numbers) for work_unit in self.work_units)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a build is to write.

    Attributes:
      shards: all files, split by split.
      held_out: codes of the AU combinations that training does not see although the data has them.
      withheld: number of images of these combinations that are in no split.
      shard_records: largest number of records in a shard.
      excluded: people without two usable images.
    """

    shards: tuple[Shard, ...]
    held_out: list[int]
    withheld: int
    shard_records: int
    excluded: tuple[ExcludedPerson, ...] = ()


def plan_build(
    chosen: Iterable[IncludedPerson | ExcludedPerson], maker: RecordMaker, options: dict
) -> Plan:
    """Plans a build.

    Args:
      chosen: results of `choose_reference` for the source's people, in their order.
      maker: makes a few records, to measure their size.
      options: options of the build, as `dataset.json` holds them.

    Raises:
      ValueError: see `make_plan`.
      SourceError: fewer than three people are included; the message gives the reasons of the
        others.
    """
    chosen = list(chosen)
    excluded = tuple(person for person in chosen if isinstance(person, ExcludedPerson))
    people = [person for person in chosen if isinstance(person, IncludedPerson)]
    if excluded and len(people) < 3:
        reasons = count_reasons(pair for person in excluded for pair in person.left_out)
        lines = [f"{count} x {reason}" for reason, count in reasons.items()]
        lines += [fault for person in excluded for fault in person.faults]
        heading = f"{len(people)} people with two usable images, expected 3"
        raise SourceError(format_faults(lines, heading))
    shard_records = options["shard_records"]
    plan = make_plan(
        people,
        split=options["split"],
        fractions=options["fractions"],
        seed=options["seed"],
        held_out_rows=options["held_out_rows"],
        novel_rows=options["novel_rows"],
        shard_records=shard_records or _records_per_shard(maker, people, options["shard_mib"]),
    )
    return dataclasses.replace(plan, excluded=excluded)


def _records_per_shard(maker: RecordMaker, people: Sequence[IncludedPerson], mib: float) -> int:
    """Number of records in about `mib` MiB, measured on a few images of people across the set."""
    sizes = []
    for person in people[:: max(1, len(people) // 8)]:
        numbers = tuple(person.targets[:2])
        work_unit = WorkUnit("train", person.subject, person.reference_id, numbers)
        sizes += map(len, maker(work_unit).records)
    return max(1, int(mib * 2**20 / (sum(sizes) / len(sizes)))) if sizes else 1


def make_plan(
    people: Sequence[IncludedPerson],
    *,
    split: str,
    fractions: Sequence[float],
    seed: int,
    held_out_rows: float,
    novel_rows: int,
    shard_records: int,
) -> Plan:
    """Assigns images to splits, and splits to shards of at most `shard_records`.

    A person's images follow each other in each split, people in their order. The arguments are
    options of a build.

    Raises:
      ValueError: there are too few people, or a split stays empty.
    """
    if split == "person":
        by_person = split_people([p.subject for p in people], fractions=fractions, seed=seed)
        splits = [[by_person[person.subject]] * len(person.targets) for person in people]
    else:
        splits = split_images(people, fractions=fractions, seed=seed)
    codes = [combination_codes(person.index.labels).tolist() for person in people]
    # In splits by image everybody is tested on.
    tested = [split == "image" or "test" in of_person for of_person in splits]
    held_out = draw_held_out(
        {code for of_person, test in zip(codes, tested, strict=True) if test for code in of_person},
        {
            of_person[person.reference]
            for person, of_person, names in zip(people, codes, splits, strict=True)
            if "train" in names
        },
        share=held_out_rows,
        seed=seed,
    )
    groups, withheld = _group_by_split(people, codes, splits, tested, set(held_out))
    if empty := [name for name in SPLITS if not groups[name]]:
        raise ValueError(
            f"no image is left for {', '.join(empty)}: hold out a smaller share of the AU "
            f"combinations than {held_out_rows}, or bring more people"
        )
    coded = np.all([(person.index.labels >= 0).all(axis=0) for person in people], axis=0)
    known = {code for of_person in codes for code in of_person}
    novel = draw_novel(known, coded, count=novel_rows, seed=seed)
    models = [person for person, test in zip(people, tested, strict=True) if test]
    groups[UNSEEN_NOVEL] = [
        (person, of_person)
        for position, person in enumerate(models)
        if (of_person := novel[position :: len(models)])
    ]
    with_reference: set[str] = set()
    shards = [
        shard
        for name in (*SPLITS, *UNSEEN_SPLITS)
        for shard in _make_shards(name, groups[name], shard_records, with_reference)
    ]
    return Plan(
        shards=tuple(shards), held_out=held_out, withheld=withheld, shard_records=shard_records
    )


def _group_by_split(
    people: Sequence[IncludedPerson],
    codes: Sequence[Sequence[int]],
    splits: Sequence[Sequence[str]],
    tested: Sequence[bool],
    held_out: set[int],
) -> tuple[dict[str, list[_Group]], int]:
    """Groups the target images by split and person.

    Args:
      people: the people.
      codes: AU combinations of each person's images.
      splits: split of each person's targets.
      tested: True for a person whose images of held-out combinations may be tested on.
      held_out: combinations that training does not see.

    Returns:
      Split -> people and positions of their images; and the number of images of held-out
      combinations that are in no split.
    """
    groups: dict[str, list[_Group]] = collections.defaultdict(list)
    withheld = 0
    for person, of_person, names, test in zip(people, codes, splits, tested, strict=True):
        numbers = collections.defaultdict(list)
        for number, name in zip(person.targets, names, strict=True):
            if of_person[number] not in held_out:
                numbers[name].append(number)
            elif test:
                numbers[UNSEEN_HELD_OUT].append(number)
            else:
                withheld += 1
        for name, in_split in numbers.items():
            groups[name].append((person, in_split))
    return groups, withheld


def _make_shards(
    split: str, groups: Sequence[_Group], shard_records: int, with_reference: set[str]
) -> Iterator[Shard]:
    """Yields the shards of a split: as few as possible, all of nearly the same length.

    Args:
      split: name of the split.
      groups: people and their work in this split.
      shard_records: largest number of records in a shard.
      with_reference: people whose reference is in a work unit already; extended here.
    """
    images = [(person, number) for person, numbers in groups for number in numbers]
    total = math.ceil(len(images) / shard_records)
    for shard in range(total):
        start, stop = (len(images) * edge // total for edge in (shard, shard + 1))
        work_units = []
        by_subject = itertools.groupby(images[start:stop], lambda image: image[0].subject)
        for subject, of_subject in by_subject:
            of_subject = list(of_subject)
            person = of_subject[0][0]
            for first in range(0, len(of_subject), IMAGES_PER_WORK_UNIT):
                part = of_subject[first : first + IMAGES_PER_WORK_UNIT]
                makes_reference = split != UNSEEN_NOVEL and subject not in with_reference
                with_reference.add(subject)
                work_units.append(
                    WorkUnit(
                        split,
                        subject,
                        person.reference_id,
                        tuple(number for _, number in part),
                        person.reference if makes_reference else None,
                    )
                )
        yield Shard(split, shard, total, tuple(work_units))
