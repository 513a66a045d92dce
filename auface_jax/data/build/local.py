"""A build by processes of this machine, with a progress bar."""

import functools
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import tqdm

from auface_jax.data.build.build_folder import read_note, write_shard
from auface_jax.data.build.finalize import finish
from auface_jax.data.build.plan import settle
from auface_jax.data.build.splits import choose_reference
from auface_jax.data.build.work_units import Made, Piece, RecordMaker
from auface_jax.data.build.workers import each
from auface_jax.data.sources.base import Source


def run(partial: Path, source: Source, options: dict, processes: int, progress: bool) -> dict:
    """Does the work of a build here.

    Args:
      partial: The folder for the shards; those that it has already are not made again.
      source: Where the images come from.
      options: Of the build.
      processes: How many work at a time.
      progress: Whether to show a progress bar.

    Returns:
      What `dataset.json` holds.

    Raises:
      SourceError: As `finish` and `settle`.
    """
    maker = RecordMaker(source=source, seed=options["seed"], image_format=options["image_format"])
    choose = functools.partial(choose_reference, source, seed=options["seed"])
    # Of an exact source it is known without a look that every image can be had.
    chosen = each(choose, source.subjects, 1 if source.exact else processes)
    plan = settle(chosen, maker, options)

    notes = [read_note(partial, shard) for shard in plan.shards]
    missing = [shard for shard, note in zip(plan.shards, notes, strict=True) if note is None]
    with tqdm.tqdm(
        total=sum(shard.images for shard in plan.shards),
        initial=sum(s.images for s, note in zip(plan.shards, notes, strict=True) if note),
        desc=f"building {partial.name.strip('.').removesuffix('.partial')}",
        unit="image",
        disable=not progress,
        # A log file needs a line now and then, not a bar that moves.
        mininterval=0.1 if sys.stderr.isatty() else 15,
    ) as bar:
        pieces = [piece for shard in missing for piece in shard.pieces]
        results = _counted(each(maker, pieces, processes), pieces, bar)
        for place, shard in enumerate(plan.shards):
            if notes[place] is None:
                of_shard = itertools.islice(results, len(shard.pieces))
                notes[place] = write_shard(partial, shard, of_shard)
    return finish(partial, plan, notes, source, options)


def _counted(results: Iterable[Made], pieces: list[Piece], bar: tqdm.tqdm) -> Iterator[Made]:
    for piece, made in zip(pieces, results, strict=True):
        bar.update(len(piece.numbers))
        yield made
