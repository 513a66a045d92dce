"""A build by many machines: the steps of `build` as an Apache Beam pipeline.

    python -m auface_jax.data.build ... --runner FlinkRunner --flink_master HOST:PORT

1. People: from each, the index of images (labels, no pixels) and the choice of a reference.
2. Plan: all people together settle who goes where; a few bytes an image.
3. Shards: each is made by one worker from first picture to last, so no picture ever travels.
4. Finish: what was written becomes `dataset.json`.

The functions are those that `build` calls, so the records are the same to the bit. All machines
need one file system that holds the source and the data set, and an environment of this package
with the extra `beam` (docs/guide/data.md).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from auface_jax.data.build.build_folder import read_note, write_shard
from auface_jax.data.build.finalize import finish
from auface_jax.data.build.plan import Plan, Shard, settle
from auface_jax.data.build.splits import Person, Refused, choose_reference
from auface_jax.data.build.work_units import RecordMaker
from auface_jax.data.shards import read_info
from auface_jax.data.sources.base import Source, SourceError

try:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
except ImportError as error:
    raise ValueError(
        f"--runner needs Apache Beam, which cannot be imported here ({error}). It needs older "
        "packages than training does, so it has an environment of its own: make beam-env, then "
        ".venv-beam/bin/python -m auface_jax.data.build ..."
    ) from error

_REFUSAL = "refused.txt"


def run(
    partial: Path,
    opener: Callable[[], Source],
    options: dict,
    runner: str,
    arguments: Sequence[str] = (),
) -> dict:
    """Does the work of a build with a Beam runner.

    Args:
      partial: The folder for the shards, which every worker can reach under this path.
      opener: Opens the source. Each worker calls it once, because a source's tables may be larger
        than what a runner ships.
      options: Of the build.
      runner: Name of the runner, such as "DirectRunner".
      arguments: The runner's own options, as on a command line.

    Returns:
      What `dataset.json` holds.

    Raises:
      SourceError: As `finish` and `settle`.
    """
    subjects = opener().subjects
    pipeline_options = PipelineOptions([f"--runner={runner}", *arguments])
    with beam.Pipeline(options=pipeline_options) as pipeline:
        people = (
            pipeline
            | "people" >> beam.Create(list(enumerate(subjects)))
            | "spread people" >> beam.Reshuffle()
            | "choose references" >> beam.ParDo(ChooseReference(opener, options))
            | "all people" >> beam.combiners.ToList()
        )
        plan = people | "plan" >> beam.ParDo(MakePlan(opener, options, str(partial)))
        notes = (
            plan
            | "shards" >> beam.FlatMap(lambda plan: list(enumerate(plan.shards)))
            | "spread shards" >> beam.Reshuffle()
            | "write shards" >> beam.ParDo(WriteShard(opener, options, str(partial)))
            | "all notes" >> beam.combiners.ToList()
        )
        _ = notes | "finish" >> beam.ParDo(
            Finish(opener, options, str(partial)), plan=beam.pvalue.AsList(plan)
        )
    refusal = partial / _REFUSAL
    if refusal.is_file():
        raise SourceError(refusal.read_text())
    return read_info(partial)


class _WithSource(beam.DoFn):
    """A step that needs the source, opened once by each worker."""

    def __init__(self, opener: Callable[[], Source], options: dict, partial: str = ""):
        self._opener, self._options, self._partial = opener, options, Path(partial)

    def setup(self) -> None:
        self._source = self._opener()
        self._maker = RecordMaker(
            source=self._source,
            seed=self._options["seed"],
            image_format=self._options["image_format"],
        )

    def _refuse(self, error: ValueError) -> None:
        """Kept in a file: a runner would bury the message under those of its own."""
        (self._partial / _REFUSAL).write_text(str(error))


class ChooseReference(_WithSource):
    """(place, subject) -> (place, the person with a reference)."""

    def process(self, person: tuple[int, str]) -> Iterator[tuple[int, Person | Refused]]:
        place, subject = person
        yield place, choose_reference(self._source, subject, seed=self._options["seed"])


class MakePlan(_WithSource):
    """All people, in any order -> the plan."""

    def process(self, people: list[tuple[int, Person | Refused]]) -> Iterator[Plan]:
        chosen = [person for _, person in sorted(people, key=lambda pair: pair[0])]
        try:
            yield settle(chosen, self._maker, self._options)
        except ValueError as error:
            self._refuse(error)


class WriteShard(_WithSource):
    """(place, shard) -> (place, its note); a shard that is done already is not made again."""

    def process(self, item: tuple[int, Shard]) -> Iterator[tuple[int, dict]]:
        place, shard = item
        note = read_note(self._partial, shard)
        if note is None:
            note = write_shard(self._partial, shard, map(self._maker, shard.pieces))
        yield place, note


class Finish(_WithSource):
    """All notes, in any order -> `dataset.json`."""

    def process(self, notes: list[tuple[int, dict]], plan: Iterable[Plan]) -> None:
        for one in plan:  # none where it was refused
            ordered = [note for _, note in sorted(notes, key=lambda pair: pair[0])]
            try:
                finish(self._partial, one, ordered, self._source, self._options)
            except SourceError as error:
                self._refuse(error)
