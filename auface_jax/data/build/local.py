"""Runs a build in processes of this machine, with a progress bar."""

import functools
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tqdm

from auface_jax.data.build.build_folder import read_note, write_shard
from auface_jax.data.build.finalize import finish
from auface_jax.data.build.plan import plan_build
from auface_jax.data.build.splits import choose_reference
from auface_jax.data.build.work_units import RecordMaker, WorkResult, WorkUnit
from auface_jax.data.build.workers import map_in_processes
from auface_jax.data.sources.base import FaceSource


def run(partial: Path, source: FaceSource, options: dict, processes: int, progress: bool) -> dict:
    """Runs a build here.

    Args:
      partial: folder for the shards; a shard that is complete there is not made again.
      source: source of the images.
      options: options of the build, as `dataset.json` holds them.
      processes: number of processes that work at a time.
      progress: show a progress bar.

    Returns:
      The content of `dataset.json`.

    Raises:
      SourceError: see `plan_build` and `finish`.
    """
    maker = RecordMaker(source=source, seed=options["seed"], image_format=options["image_format"])
    choose = functools.partial(choose_reference, source, seed=options["seed"])
    # An exact source can draw every image of its index, so the choice needs no image.
    chosen = map_in_processes(choose, source.subjects, 1 if source.exact else processes)
    plan = plan_build(chosen, maker, options)

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
        work_units = [work_unit for shard in missing for work_unit in shard.work_units]
        results = _counted(map_in_processes(maker, work_units, processes), work_units, bar)
        for position, shard in enumerate(plan.shards):
            if notes[position] is None:
                of_shard = itertools.islice(results, len(shard.work_units))
                notes[position] = write_shard(partial, shard, of_shard)
    return finish(partial, plan, notes, source, options)


def _counted(
    results: Iterable[WorkResult], work_units: Sequence[WorkUnit], bar: tqdm.tqdm
) -> Iterator[WorkResult]:
    """Yields `results` and advances the progress bar by the images of each."""
    for work_unit, result in zip(work_units, results, strict=True):
        bar.update(len(work_unit.numbers))
        yield result
