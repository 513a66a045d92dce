"""The endless stream of training batches, by number.

    records -> shuffle, repeat -> a batch at a time: own rows, decode, flip, describe, tokenise

Batch n is a function of n and of what the stream was opened with, and of nothing else.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np

from auface_jax import facs
from auface_jax.data.loading.chosen_people import open_records
from auface_jax.data.loading.collate import (
    BatchMaker,
    Choose,
    Empty,
    References,
    SkippedRecords,
    new_pixels,
)
from auface_jax.data.record import Record
from auface_jax.data.shards import DatasetError


def open_stream(
    directory: str | Path,
    batch_size: int,
    seed: int,
    tokenizer,
    buckets: Sequence[int],
    *,
    size: int,
    redescribe: bool = True,
    degrees: bool = False,
    flip: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    dictionary: facs.Dictionary | None = None,
    people: Sequence[str] | None = None,
    skipped: SkippedRecords | None = None,
    empty: Empty = new_pixels,
) -> "BatchStream":
    """The batches of the training split, which is reshuffled every epoch.

    Args:
      directory: A folder made by `build`.
      batch_size: Examples a batch of this process.
      seed: Of the order, the flips and the texts.
      tokenizer: Has `encode_batch(texts, buckets) -> (tokens, mask)`.
      buckets: Text lengths; a batch is padded to the shortest that fits.
      size: Side of the images, which the data set must have.
      redescribe: A new text of the same constructs each time; else a record keeps its one text.
      degrees: A FACS degree word before each construct, where the record has intensities.
      flip: Mirror image and reference together, half of the time.
      process_index: Which of the processes this is; each has its own part of the stream.
      process_count: How many processes there are.
      dictionary: The texts, from `facs.load_dictionary`; None takes the project's own.
      people: Whose records, of all splits; None takes the training split.
      skipped: Takes the records and shards that cannot be read; each is replaced by the record
        after it, so that everything else stays in its place. None lets the first of them raise.
      empty: Gives a batch memory for its pixels.

    Raises:
      DatasetError: No data set there, a damaged one, or images of another size.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index is {process_index}, expected 0 to {process_count - 1}")
    records = open_records(directory, "train", people, skip_damaged=skipped is not None)
    _check_size(records.info, directory, size)
    maker = BatchMaker(
        records,
        References(directory, None if people else "train", skipped=skipped),
        tokenizer,
        buckets,
        skipped=skipped,
        keep=True,
        empty=empty,
    )
    augment = _Augment(
        seed, flip=flip, redescribe=redescribe, degrees=degrees, dictionary=dictionary
    )
    return BatchStream(
        maker,
        _Order(len(records), seed),
        augment,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
    )


def record_text(
    record: Record, dictionary: facs.Dictionary | None = None, *, degrees: bool = False
) -> str:
    """The one text that belongs to a record, with or without degree words."""
    rng = np.random.default_rng(record.variant_seed)
    intensities = record.intensities if degrees else None
    return facs.describe_constructs(record.constructs, rng, dictionary, intensities=intensities)


class _Order:
    """Place in the endless stream -> number of the record: each once an epoch, reshuffled.

    It is the order of Grain's `range(length).seed(seed).shuffle().repeat()`, without what Grain
    counts and traces around each number.
    """

    def __init__(self, length: int, seed: int):
        # As Grain derives it for a transformation one step after `seed(seed)`.
        self._seed = int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])
        self._length = length

    def __getitem__(self, place: int) -> int:
        epoch, index = divmod(place, self._length)
        seed = (self._seed + epoch) % 2**32
        return grain.experimental.index_shuffle(
            index, max_index=self._length - 1, seed=seed, rounds=4
        )


class _Augment:
    """The random choices of an example: mirrored or not, and in which words.

    They are drawn from a generator of its own for each place in the stream, Philox with the place
    in its counter: the numbers that Grain's `random_map` would draw there, at a quarter of the
    price.
    """

    def __init__(
        self,
        seed: int,
        *,
        flip: bool,
        redescribe: bool,
        degrees: bool,
        dictionary: facs.Dictionary | None,
    ):
        # As Grain derives it for a transformation three steps after `seed(seed)`.
        self._seed = np.random.SeedSequence((seed, 3)).generate_state(1)[0]
        self._flip, self._redescribe, self._dictionary = flip, redescribe, dictionary
        self._degrees = degrees

    def chooser(self, places: Sequence[int]) -> Choose:
        """The choices for a batch of examples at these places of the stream."""
        rng = np.random.Generator(np.random.Philox(self._seed))
        state = rng.bit_generator.state

        def choose(example: int, record: Record) -> tuple[bool, str]:
            state["state"]["counter"][3] = places[example]
            rng.bit_generator.state = state
            mirrored = self._flip and rng.random() < 0.5
            if not self._redescribe:
                return mirrored, record_text(record, self._dictionary, degrees=self._degrees)
            intensities = record.intensities if self._degrees else None
            return mirrored, facs.describe_constructs(
                record.constructs, rng, self._dictionary, intensities=intensities
            )

        return choose


class BatchStream:
    """Batch after batch of one process's part of the endless stream; a Grain data source.

    Attributes:
      max_bytes: what the arrays of a batch take at most.
    """

    def __init__(
        self,
        maker: BatchMaker,
        order: _Order,
        augment: _Augment,
        *,
        batch_size: int,
        process_index: int,
        process_count: int,
    ):
        self._maker, self._order, self._augment = maker, order, augment
        self._batch_size, self._own, self._processes = batch_size, process_index, process_count
        self.max_bytes = batch_size * maker.max_bytes

    def __len__(self) -> int:
        return sys.maxsize // (self._batch_size * self._processes)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        # The processes share one stream, in which each example has its random choices: so they
        # differ, and their number does not matter.
        size, start = self._batch_size, number * self._batch_size * self._processes
        everyone = range(start, start + size * self._processes)
        indices = [self._order[place] for place in everyone]
        length = None
        if self._processes > 1:
            length = self._maker.text_length(indices, self._augment.chooser(everyone))
        own = slice(self._own * size, (self._own + 1) * size)
        batch, _, _ = self._maker.make(
            indices[own], self._augment.chooser(everyone[own]), replace=True, text_length=length
        )
        return batch


def _check_size(info: dict, directory: str | Path, size: int) -> None:
    if info["size"] != size:
        raise DatasetError(
            f"{directory} holds images of {info['size']} px, the model wants {size}: "
            f"build a data set with --size {size}, or set the config's size to {info['size']}"
        )
