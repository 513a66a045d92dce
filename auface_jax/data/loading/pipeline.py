"""From a folder of shards to batches: seeded, split over processes, resumable.

    records -> shuffle, repeat -> a batch at a time: own rows, decode, flip, describe, tokenise

The order and every random choice depend on the seed and on an example's place in the endless
stream, and on nothing else: the batches of B of P processes, laid end to end, are the batch of P*B
that one process sees, and an iterator set to a state goes on to the last bit. The work is done by
a few threads of this process or by worker processes; the state is one integer, the number of
batches taken.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np
from jaxtyping import UInt8

from auface_jax import facs
from auface_jax.data.loading.chosen_people import open_records
from auface_jax.data.loading.collate import BatchMaker, References, SkippedRecords
from auface_jax.data.loading.stream import open_stream, record_text
from auface_jax.data.loading.worker_processes import WorkerIterator
from auface_jax.data.record import REFERENCES, Record, RecordError, decode_image
from auface_jax.data.shards import DatasetError, ShardReader, read_info, split_names
from auface_jax.data.sources.base import stable_seed

# Decoding and resizing release the interpreter's lock, so two threads help; a few batches wait.
READ_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


def training_iterator(
    *arguments, workers: int = 0, skipped: SkippedRecords | None = None, **options
) -> grain.DatasetIterator:
    """Endless batches of the training split, reshuffled every epoch.

    Args:
      arguments, options: Of `batch_stream.open_stream`: where, how many, in which form.
      workers: Processes that make the batches, see `batch_workers`; 0 makes them in this one. The
        batches and the state are the same for any number.
      skipped: As in `open_stream`.

    Returns:
      An iterator with `get_state()`, `set_state()` and `close()`, over dicts of arrays:
        image, reference: uint8 [B, H, W, 3]
        reference_row: int32 [B], the row of the reference in `batches.References.all`
        labels: int8 [B, A], 0 or 1; -1 where the source does not code the unit (described as
          absent, left out of losses and figures)
        text_tokens: int32 [B, L]; text_mask: bool [B, L]

    Raises:
      DatasetError: No data set there, a damaged one, or images of another size.
      RecordError: While iterating: names the shard and the record.
      ChildProcessError: While iterating: a worker was killed.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise ValueError(f"workers is {workers!r}, expected a whole number: 0, or how many")
    opener = functools.partial(open_stream, *arguments, **options)
    stream = opener(skipped=skipped)  # here too with workers: what is wrong is told at once
    if workers:
        return WorkerIterator(opener, stream.max_bytes, workers, skipped)
    return iter(grain.MapDataset.source(stream).to_iter_dataset(READ_OPTIONS))


def load_split(
    directory: str | Path,
    split: str,
    tokenizer,
    buckets: Sequence[int],
    limit: int | None = None,
    seed: int = 0,
    dictionary: facs.Dictionary | None = None,
    degrees: bool = False,
    skipped: SkippedRecords | None = None,
    people: Sequence[str] | None = None,
) -> dict:
    """A whole split in memory, in the order of its shards, each record with its one text.

    Args:
      directory: A folder made by `build`.
      split: train, val or test.
      tokenizer: As in `open_stream`.
      buckets: As in `open_stream`; all texts are padded to one length.
      limit: Take at most so many, drawn by `seed`, as evenly as may be over the people.
      seed: Of the draw.
      dictionary: The texts, from `facs.load_dictionary`; None takes the project's own.
      degrees: As in `open_stream`.
      skipped: Takes the records and shards that cannot be read, which are then missing here; None
        lets the first of them raise.
      people: Whose records, of all splits, in place of `split`'s.

    Returns:
      The arrays of `training_iterator` for all N records (but no `image` of label rows that no
      image of the source has), and lists of length N: `subjects`,
      `frames` and `texts`.

    Raises:
      DatasetError: No data set there, a damaged one, or no such split.
      RecordError: Names the shard and the record.
    """
    split_names(directory, split)
    records = open_records(directory, split, people, skip_damaged=skipped is not None)
    indices = range(len(records))
    if limit is not None and limit < len(records):
        counts = records.counts if people else list(records.info["people"][split].values())
        indices = _even_draw(counts, limit, seed)
    references = References(directory, None if people else split, skipped=skipped)
    maker = BatchMaker(records, references, tokenizer, buckets, skipped=skipped)
    arrays, taken, texts = maker.make(
        indices, lambda place, record: (False, record_text(record, dictionary, degrees=degrees))
    )
    return arrays | {
        "subjects": [record.subject for record in taken],
        "frames": [record.frame for record in taken],
        "texts": texts,
    }


def load_references(
    directory: str | Path, split: str | None = None
) -> dict[str, UInt8[np.ndarray, "S S 3"]]:
    """Reference image of each person in a split, or of all people."""
    wanted = set(reference_subjects(directory, split))
    reader = ShardReader(directory, REFERENCES)
    size = reader.info["size"]
    images = {}
    for index in range(len(reader)):
        record = reader[index]
        if record.subject in wanted:
            images[record.subject] = _image(reader, index, record, size)
    return images


def load_reference(directory: str | Path, subject: str) -> UInt8[np.ndarray, "S S 3"]:
    """One person's reference image.

    Raises:
      DatasetError: Nobody of that name is in the data set; the message gives some who are.
    """
    reader = ShardReader(directory, REFERENCES)
    for index in range(len(reader)):
        record = reader[index]
        if record.subject == subject:
            return _image(reader, index, record, reader.info["size"])
    some = ", ".join(reference_subjects(directory, "test")[:5])
    raise DatasetError(f"{directory} has no person {subject!r}; its test people begin with {some}")


def reference_subjects(directory: str | Path, split: str | None = None) -> list[str]:
    """The people of a split, or all of them."""
    people = read_info(directory)["people"]
    names = split_names(directory, split)
    return list(dict.fromkeys(subject for name in names for subject in people[name]))


def _image(
    reader: ShardReader, index: int, record: Record, size: int
) -> UInt8[np.ndarray, "S S 3"]:
    try:
        return decode_image(record, size)
    except RecordError as error:
        raise RecordError(f"{reader.where(index)}: {error}") from error


def _even_draw(counts: list[int], limit: int, seed: int) -> list[int]:
    """`limit` indices into people's records laid end to end, the same number of each person.

    People take turns in a seeded order, each giving its records in a seeded order, until there
    are enough; sorted.
    """
    rng = np.random.default_rng(stable_seed(seed, "limit"))
    places = rng.permutation(len(counts))
    turns, start = [], 0
    for place, count in zip(places.tolist(), counts, strict=True):
        indices = start + rng.permutation(count)
        turns += [(turn, place, index) for turn, index in enumerate(indices.tolist())]
        start += count
    return sorted(index for _, _, index in sorted(turns)[:limit])
