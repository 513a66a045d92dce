"""A build by many machines: the steps of `build` as an Apache Beam pipeline.

    python -m auface_jax.data.build ... --runner FlinkRunner --flink_master HOST:PORT

1. People: the index of each person's images (labels, no pixels) and the choice of a reference.
2. Plan: made from all people together; a few bytes for each image.
3. Shards: one worker makes a whole shard, so images are never sent between machines.
4. Finish: the notes of all shards become `dataset.json`.

The functions are those of a local build, so the records are equal to the bit. All machines need
one file system that holds the source and the data set, and an environment of this package with the
extra `beam` (docs/guide/data.md).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from auface_jax.data.build.build_folder import read_note, write_shard
from auface_jax.data.build.finalize import finish
from auface_jax.data.build.plan import Plan, Shard, plan_build
from auface_jax.data.build.splits import ExcludedPerson, IncludedPerson, choose_reference
from auface_jax.data.build.work_units import RecordMaker
from auface_jax.data.shards import read_info
from auface_jax.data.sources.base import FaceSource, SourceError

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

_Person = IncludedPerson | ExcludedPerson


def run(
    partial: Path,
    opener: Callable[[], FaceSource],
    options: dict,
    runner: str,
    arguments: Sequence[str] = (),
) -> dict:
    """Runs a build with a Beam runner.

    Args:
      partial: folder for the shards, which every worker can reach under this path.
      opener: function that opens the source. Each worker calls it once, because a source's tables
        may be larger than a runner can ship.
      options: options of the build, as `dataset.json` holds them.
      runner: name of the runner, such as "DirectRunner".
      arguments: the runner's own options, as on a command line.

    Returns:
      The content of `dataset.json`.

    Raises:
      SourceError: see `plan_build` and `finish`.
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

    def __init__(self, opener: Callable[[], FaceSource], options: dict, partial: str = ""):
        self._opener, self._options, self._partial = opener, options, Path(partial)

    def setup(self) -> None:
        """Opens the source."""
        self._source = self._opener()
        self._maker = RecordMaker(
            source=self._source,
            seed=self._options["seed"],
            image_format=self._options["image_format"],
        )

    def _refuse(self, error: ValueError) -> None:
        """Writes the message to a file, because a runner would bury it under its own messages."""
        (self._partial / _REFUSAL).write_text(str(error))


class ChooseReference(_WithSource):
    """Maps (position, subject) to (position, person with a reference)."""

    def process(self, person: tuple[int, str]) -> Iterator[tuple[int, _Person]]:
        """Yields the person with the position among all people."""
        position, subject = person
        yield position, choose_reference(self._source, subject, seed=self._options["seed"])


class MakePlan(_WithSource):
    """Maps all people, in any order, to the plan."""

    def process(self, people: list[tuple[int, _Person]]) -> Iterator[Plan]:
        """Yields the plan, or nothing where the source is refused."""
        chosen = [person for _, person in sorted(people, key=lambda pair: pair[0])]
        try:
            yield plan_build(chosen, self._maker, self._options)
        except ValueError as error:
            self._refuse(error)


class WriteShard(_WithSource):
    """Maps (position, shard) to (position, note); a complete shard is not written again."""

    def process(self, item: tuple[int, Shard]) -> Iterator[tuple[int, dict]]:
        """Yields the note of the shard with the position among all shards."""
        position, shard = item
        note = read_note(self._partial, shard)
        if note is None:
            note = write_shard(self._partial, shard, map(self._maker, shard.work_units))
        yield position, note


class Finish(_WithSource):
    """Maps all notes, in any order, to `dataset.json`."""

    def process(self, notes: list[tuple[int, dict]], plan: Iterable[Plan]) -> None:
        """Writes `dataset.json`; `plan` holds one plan, or none where the source was refused."""
        for one in plan:
            ordered = [note for _, note in sorted(notes, key=lambda pair: pair[0])]
            try:
                finish(self._partial, one, ordered, self._source, self._options)
            except SourceError as error:
                self._refuse(error)
