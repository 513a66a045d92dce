"""Who goes where: every decision of a build that needs the whole of the data, before any work.

It takes people with their label rows and no picture, so that it is quick for any number of
images, and a function of its arguments alone: a build that goes on after a kill, or runs on many
machines, decides the same.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from auface_jax.data.build.splits import Person, Refused, split_images, split_people
from auface_jax.data.build.unseen import draw_held_out, draw_novel, row_codes
from auface_jax.data.build.work_units import PIECE_IMAGES, Piece, RecordMaker
from auface_jax.data.record import SPLITS, UNSEEN_HELD_OUT, UNSEEN_NOVEL, UNSEEN_SPLITS
from auface_jax.data.sources.base import SourceError, count_reasons, listed

WITHHELD = "of a label row held out from training, and its person is not in test"


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of records to be made.

    Attributes:
      split: The split that it is a part of.
      number, total: Which of how many.
      pieces: Its content in order.
    """

    split: str
    number: int
    total: int
    pieces: tuple[Piece, ...]

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.split}-{self.number:05d}-of-{self.total:05d}.array_record"

    @property
    def images(self) -> int:
        """How many records it has if every image can be used."""
        return sum(len(piece.numbers) for piece in self.pieces)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a build is to write.

    Attributes:
      shards: All files, split by split.
      held_out: Row codes that training does not see although the data has them.
      withheld: Number of images of those rows that are in no split.
      shard_records: The most records of a shard.
      refused: People without two usable images.
    """

    shards: tuple[Shard, ...]
    held_out: list[int]
    withheld: int
    shard_records: int
    refused: tuple[Refused, ...] = ()


def settle(chosen: Iterable[Person | Refused], maker: RecordMaker, options: dict) -> Plan:
    """The plan of a build.

    Args:
      chosen: What `choose_reference` gave for the source's people, in their order.
      maker: Makes a few records, to see how large they are.
      options: Of the build, as `dataset.json` holds them.

    Raises:
      ValueError: See `make_plan`.
      SourceError: Too few people are left; says why the others are not.
    """
    chosen = list(chosen)
    refused = tuple(one for one in chosen if isinstance(one, Refused))
    people = [one for one in chosen if isinstance(one, Person)]
    if refused and len(people) < 3:
        reasons = count_reasons(pair for one in refused for pair in one.left_out)
        lines = [f"{count} x {reason}" for reason, count in reasons.items()]
        lines += [fault for one in refused for fault in one.faults]
        raise SourceError(listed(lines, f"{len(people)} people with two usable images, expected 3"))
    plan = make_plan(
        people,
        split=options["split"],
        fractions=options["fractions"],
        seed=options["seed"],
        held_out_rows=options["held_out_rows"],
        novel_rows=options["novel_rows"],
        shard_records=options["shard_records"] or _fitting(maker, people, options["shard_mib"]),
    )
    return dataclasses.replace(plan, refused=refused)


def _fitting(maker: RecordMaker, people: list[Person], mib: float) -> int:
    """How many records make about `mib` MiB, by a few images of people from all over the set."""
    sizes = []
    for person in people[:: max(1, len(people) // 8)]:
        piece = Piece("train", person.subject, person.reference_id, tuple(person.targets[:2]))
        sizes += map(len, maker(piece).records)
    return max(1, int(mib * 2**20 / (sum(sizes) / len(sizes)))) if sizes else 1


def make_plan(
    people: list[Person],
    *,
    split: str,
    fractions: tuple[float, float, float],
    seed: int,
    held_out_rows: float,
    novel_rows: int,
    shard_records: int,
) -> Plan:
    """Deals images to splits, and splits to shards of at most `shard_records`.

    A person's images follow each other in each split, people in their order. The arguments are
    options of `build`.

    Raises:
      ValueError: An option is out of range, there are too few people, or a split stays empty.
    """
    if split == "person":
        by_person = split_people(tuple(p.subject for p in people), fractions=fractions, seed=seed)
        dealt = [[by_person[person.subject]] * len(person.targets) for person in people]
    else:
        dealt = split_images(people, fractions=fractions, seed=seed)
    codes = [row_codes(person.index.labels).tolist() for person in people]
    tested = [split == "image" or "test" in splits for splits in dealt]
    held_out = draw_held_out(
        {code for of, one in zip(codes, tested, strict=True) if one for code in of},
        {
            of[person.reference]
            for person, of, splits in zip(people, codes, dealt, strict=True)
            if "train" in splits
        },
        share=held_out_rows,
        seed=seed,
    )
    groups: dict[str, list[tuple[Person, list[int]]]] = collections.defaultdict(list)
    hidden, withheld = set(held_out), 0
    for person, of, splits, one in zip(people, codes, dealt, tested, strict=True):
        numbers = collections.defaultdict(list)
        for number, name in zip(person.targets, splits, strict=True):
            if of[number] in hidden:
                name = UNSEEN_HELD_OUT if one else None
                withheld += not one
            numbers[name].append(number)
        for name, chosen in numbers.items():
            if name is not None:
                groups[name].append((person, chosen))
    if empty := [name for name in SPLITS if not groups[name]]:
        raise ValueError(
            f"no image is left for {', '.join(empty)}: hold out a smaller share of the label rows "
            f"than {held_out_rows}, or bring more people"
        )

    coded = np.all([(person.index.labels >= 0).all(axis=0) for person in people], axis=0)
    novel = draw_novel({c for of in codes for c in of}, coded, count=novel_rows, seed=seed)
    models = [person for person, one in zip(people, tested, strict=True) if one]
    groups[UNSEEN_NOVEL] = [
        (person, chosen)
        for place, person in enumerate(models)
        if (chosen := novel[place :: len(models)])
    ]
    seen: set[str] = set()
    shards = [
        shard
        for name in (*SPLITS, *UNSEEN_SPLITS)
        for shard in _cut(name, groups[name], shard_records, seen)
    ]
    return Plan(
        shards=tuple(shards),
        held_out=held_out,
        withheld=withheld,
        shard_records=shard_records,
    )


def _cut(
    split: str, groups: list[tuple[Person, list[int]]], shard_records: int, seen: set[str]
) -> Iterator[Shard]:
    """The shards of a split: as few as may be, and all of nearly one length.

    `seen` holds the people whose reference is in a piece already.
    """
    images = [(person, number) for person, numbers in groups for number in numbers]
    total = math.ceil(len(images) / shard_records)
    for shard in range(total):
        start, stop = (len(images) * edge // total for edge in (shard, shard + 1))
        pieces = []
        for subject, of_person in itertools.groupby(images[start:stop], lambda i: i[0].subject):
            of_person = list(of_person)
            for first in range(0, len(of_person), PIECE_IMAGES):
                person = of_person[0][0]
                numbers = tuple(number for _, number in of_person[first : first + PIECE_IMAGES])
                fresh = split != UNSEEN_NOVEL and subject not in seen
                seen.add(subject)
                pieces.append(
                    Piece(
                        split,
                        subject,
                        person.reference_id,
                        numbers,
                        person.reference if fresh else None,
                    )
                )
        yield Shard(split, shard, total, tuple(pieces))
