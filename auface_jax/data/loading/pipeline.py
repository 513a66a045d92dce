"""The entry points of loading: seeded, resumable batches that are split over processes.

    order of records -> a batch at a time: own examples, decode, flip, describe, tokenise

The order and every random choice depend only on the seed and on an example's position in the
endless stream (`stream_order`). The batches of size B of P processes, laid end to end, are the
batch of size P*B that a single process sees, and an iterator set to a state continues to the bit.
A few threads of this process or worker processes do the work; the state is one integer, the number
of batches taken.
"""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np
from jaxtyping import UInt8

from auface_jax import facs
from auface_jax.data.loading.chosen_people import open_records
from auface_jax.data.loading.collate import (
    BatchMaker,
    References,
    SkippedRecords,
    TextTokenizer,
)
from auface_jax.data.loading.stream import open_stream, record_text
from auface_jax.data.loading.worker_processes import WorkerIterator
from auface_jax.data.record import REFERENCES, Record, RecordError, decode_image
from auface_jax.data.shards import DatasetError, ShardReader, read_info, split_names
from auface_jax.data.sources.base import stable_seed

# Decoding and resizing release the interpreter lock, so a second thread helps.
READ_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


def training_iterator(
    *arguments: Any, workers: int = 0, skipped: SkippedRecords | None = None, **options: Any
) -> grain.DatasetIterator:
    """Iterates over endless batches of the training split, which is reshuffled every epoch.

    Args:
      *arguments: arguments of `stream.open_stream`.
      workers: number of processes that make the batches, see `worker_processes`; 0 makes them in
        this process. The batches and the state are the same for any number.
      skipped: as in `open_stream`.
      **options: keyword arguments of `open_stream`.

    Returns:
      An iterator with `get_state()`, `set_state()` and `close()`, over dicts of arrays:
        image, reference: uint8 [B, H, W, 3]
        reference_row: int32 [B], the row of the reference in `References.all`
        labels: int8 [B, A], 0 or 1; -1 where the source does not code the unit, which is then
          described as absent and left out of losses and figures
        intensities: float32 [B, A], in [0, 1]; -1 where the source has none
        text_tokens: int32 [B, L]; a tokenizer None leaves these two out
        text_mask: bool [B, L]

    Raises:
      DatasetError: the folder holds no data set, a damaged one, or images of another size.
      RecordError: while iterating, a record cannot be read; the message names shard and record.
      ChildProcessError: while iterating, a worker was killed.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise ValueError(f"workers is {workers!r}, expected a whole number, 0 or more")
    opener = functools.partial(open_stream, *arguments, **options)
    stream = opener(skipped=skipped)  # With workers too, so that errors are raised at once.
    if workers:
        return WorkerIterator(opener, stream.max_bytes, workers, skipped)
    return iter(grain.MapDataset.source(stream).to_iter_dataset(READ_OPTIONS))


def load_split(
    directory: str | Path,
    split: str,
    tokenizer: TextTokenizer,
    buckets: Sequence[int],
    limit: int | None = None,
    seed: int = 0,
    dictionary: facs.Dictionary | None = None,
    degrees: bool = False,
    skipped: SkippedRecords | None = None,
    people: Sequence[str] | None = None,
) -> dict:
    """Loads a whole split into memory, in the order of its shards, each record with its one text.

    Args:
      directory: folder of a data set.
      split: name of a split.
      tokenizer: as in `open_stream`.
      buckets: as in `open_stream`; all texts are padded to one length.
      limit: largest number of records, drawn as evenly as possible over the people; None loads all.
      seed: seed of the draw.
      dictionary: texts from `facs.load_dictionary`; None takes the project's own.
      degrees: as in `open_stream`.
      skipped: collects the records and shards that cannot be read, which are then missing in the
        result; None raises an error.
      people: names of the people to load, from all splits, in place of `split`.

    Returns:
      The arrays of `training_iterator` for all N records, without `image` where the records have
      none (novel AU combinations), and lists of length N: `subjects`, `frames` and `texts`.

    Raises:
      DatasetError: the folder holds no data set, a damaged one, or no such split.
      RecordError: a record cannot be read; the message names shard and record.
    """
    split_names(directory, split)
    records = open_records(directory, split, people, skip_damaged=skipped is not None)
    indices = range(len(records))
    if limit is not None and limit < len(records):
        counts = records.counts if people else list(records.info["people"][split].values())
        indices = _draw_evenly(counts, limit, seed)
    references = References(directory, None if people else split, skipped=skipped)
    maker = BatchMaker(records, references, tokenizer, buckets, skipped=skipped)
    arrays, taken, texts = maker.make(
        indices, lambda example, record: (False, record_text(record, dictionary, degrees=degrees))
    )
    return arrays | {
        "subjects": [record.subject for record in taken],
        "frames": [record.frame for record in taken],
        "texts": texts,
    }


def load_references(
    directory: str | Path, split: str | None = None
) -> dict[str, UInt8[np.ndarray, "S S 3"]]:
    """Loads the reference image of each person in a split, or of all people."""
    subjects = set(reference_subjects(directory, split))
    reader = ShardReader(directory, REFERENCES)
    size = reader.info["size"]
    images = {}
    for index in range(len(reader)):
        record = reader[index]
        if record.subject in subjects:
            images[record.subject] = _image(reader, index, record, size)
    return images


def load_reference(directory: str | Path, subject: str) -> UInt8[np.ndarray, "S S 3"]:
    """Loads one person's reference image.

    Raises:
      DatasetError: the data set has no person of that name; the message names some of its people.
    """
    reader = ShardReader(directory, REFERENCES)
    for index in range(len(reader)):
        record = reader[index]
        if record.subject == subject:
            return _image(reader, index, record, reader.info["size"])
    first = ", ".join(reference_subjects(directory, "test")[:5])
    raise DatasetError(f"{directory} has no person {subject!r}; its test people begin with {first}")


def reference_subjects(directory: str | Path, split: str | None = None) -> list[str]:
    """Lists the people of a split, or all people."""
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


def _draw_evenly(counts: Iterable[int], limit: int, seed: int) -> list[int]:
    """Draws records, as evenly as possible over the people.

    People take turns in a seeded order, and each gives its records in a seeded order.

    Args:
      counts: number of records of each person; people's records are laid end to end.
      limit: number of records to draw.
      seed: seed of the draw.

    Returns:
      Numbers of the records, ascending.
    """
    counts = list(counts)
    rng = np.random.default_rng(stable_seed(seed, "limit"))
    ranks = rng.permutation(len(counts))
    turns, start = [], 0
    for rank, count in zip(ranks.tolist(), counts, strict=True):
        indices = start + rng.permutation(count)
        turns += [(turn, rank, index) for turn, index in enumerate(indices.tolist())]
        start += count
    return sorted(index for _, _, index in sorted(turns)[:limit])
