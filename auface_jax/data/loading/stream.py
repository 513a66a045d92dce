"""The endless stream of training batches, addressed by number.

    order of records -> a batch at a time: own examples, decode, flip, describe, tokenise

Batch n depends on n and on the arguments of `open_stream` alone. Order and random choices are
defined in `stream_order`.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auface_jax import facs
from auface_jax.data.loading.chosen_people import open_records
from auface_jax.data.loading.collate import (
    AllocatePixels,
    BatchMaker,
    ChooseAugmentation,
    References,
    SkippedRecords,
    TextTokenizer,
    new_pixels,
)
from auface_jax.data.loading.stream_order import ExampleOrder, PositionGenerator
from auface_jax.data.record import Record
from auface_jax.data.shards import DatasetError
from auface_jax.facs.wording import DICTIONARY_ONLY, Wording


def open_stream(
    directory: str | Path,
    batch_size: int,
    seed: int,
    tokenizer: TextTokenizer,
    buckets: Sequence[int],
    *,
    size: int,
    redescribe: bool = True,
    wording: Wording = DICTIONARY_ONLY,
    group: int = 1,
    flip: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    dictionary: facs.Dictionary | None = None,
    people: Sequence[str] | None = None,
    skipped: SkippedRecords | None = None,
    allocate: AllocatePixels = new_pixels,
) -> "BatchStream":
    """Opens the batches of the training split, which is reshuffled every epoch.

    Args:
      directory: folder of a data set.
      batch_size: number of examples in a batch of this process.
      seed: seed of the order, the flips and the texts.
      tokenizer: tokenizer of the texts.
      buckets: text lengths in tokens, ascending; a batch is padded to the shortest that fits.
      size: side of the images in pixels, which the data set must have.
      redescribe: describe a record in new words each time; False keeps its one text.
      wording: the words of these descriptions; the one text is always the dictionary's.
      group: number of batches that are drawn together and parted by the length of their texts, in
        random order, so that short texts are not padded to a long one.
      flip: mirror image and reference together, half of the time.
      process_index: number of this process; each process has its own part of the stream.
      process_count: number of processes.
      dictionary: texts from `facs.load_dictionary`; None takes the project's own.
      people: names of the people to read, from all splits; None reads the training split.
      skipped: collects the records and shards that cannot be read; each is replaced by the next
        readable record, so that all other examples keep their positions. None raises an error.
      allocate: allocates the memory for a batch's pixels.

    Raises:
      DatasetError: the folder holds no data set, a damaged one, or images of another size.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index is {process_index}, expected 0 to {process_count - 1}")
    if group < 1:
        raise ValueError(f"group is {group}, expected 1 or more")
    records = open_records(directory, "train", people, skip_damaged=skipped is not None)
    _check_size(records.info, directory, size)
    maker = BatchMaker(
        records,
        References(directory, None if people else "train", skipped=skipped),
        tokenizer,
        buckets,
        skipped=skipped,
        cache=True,
        allocate=allocate,
    )
    augmentation = _Augmentation(
        seed, flip=flip, redescribe=redescribe, wording=wording, dictionary=dictionary
    )
    return BatchStream(
        maker,
        ExampleOrder(len(records), seed),
        augmentation,
        batch_size=batch_size,
        group=group,
        process_index=process_index,
        process_count=process_count,
    )


def record_text(
    record: Record, dictionary: facs.Dictionary | None = None, *, degrees: bool = False
) -> str:
    """Describes a record in its one text, whose words depend on `Record.variant_seed`.

    Args:
      record: the record.
      dictionary: texts from `facs.load_dictionary`; None takes the project's own.
      degrees: put a FACS degree word before each construct, where the record has intensities.
    """
    rng = np.random.default_rng(record.variant_seed)
    intensities = record.intensities if degrees else None
    return facs.describe_constructs(record.constructs, rng, dictionary, intensities=intensities)


class _Augmentation:
    """Draws the random choices of an example: mirrored or not, and the words of its text."""

    def __init__(
        self,
        seed: int,
        *,
        flip: bool,
        redescribe: bool,
        wording: Wording,
        dictionary: facs.Dictionary | None,
    ):
        self._seed, self._flip, self._redescribe = seed, flip, redescribe
        self._wording, self._dictionary = wording, dictionary

    def chooser(self, positions: Sequence[int]) -> ChooseAugmentation:
        """Returns a function of example and record that draws the choices of a batch.

        Args:
          positions: position in the stream of each example of the batch.
        """
        generator = PositionGenerator(self._seed)

        def choose(example: int, record: Record) -> tuple[bool, str]:
            rng = generator.at(positions[example])
            mirrored = self._flip and rng.random() < 0.5
            if not self._redescribe:
                return mirrored, record_text(record, self._dictionary)
            labels = np.maximum(record.labels, 0)  # units that are not coded count as absent
            told = self._wording.describe(
                labels, rng, dictionary=self._dictionary, intensities=record.intensities
            )
            return mirrored, told.text

        return choose

    def group_order(self, number: int, size: int) -> list[int]:
        """Returns the order of the batches of a group."""
        return np.random.default_rng((self._seed, number)).permutation(size).tolist()


class BatchStream:
    """One process's part of the endless stream, batch by batch; a random-access data source.

    Attributes:
      max_bytes: largest number of bytes that the arrays of a batch take.
    """

    def __init__(
        self,
        maker: BatchMaker,
        order: ExampleOrder,
        augmentation: _Augmentation,
        *,
        batch_size: int,
        group: int,
        process_index: int,
        process_count: int,
    ):
        self._maker, self._order, self._augmentation = maker, order, augmentation
        self._batch_size, self._group = batch_size, group
        self._group_positions = functools.lru_cache(maxsize=4)(self._parted_by_length)
        self._process_index, self._process_count = process_index, process_count
        self.max_bytes = batch_size * maker.max_bytes

    def __len__(self) -> int:
        return sys.maxsize // (self._batch_size * self._process_count)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        # All processes share one stream, so their examples differ, and the number of processes
        # does not change the global batch.
        size = self._batch_size
        positions = self._group_positions(number // self._group)[number % self._group]
        indices = [self._order[position] for position in positions]
        length = None
        if self._process_count > 1:  # All processes pad to the length of the global batch.
            length = self._maker.text_length(indices, self._augmentation.chooser(positions))
        own = slice(self._process_index * size, (self._process_index + 1) * size)
        batch, _, _ = self._maker.make(
            indices[own],
            self._augmentation.chooser(positions[own]),
            replace=True,
            text_length=length,
        )
        return batch

    def _parted_by_length(self, number: int) -> list[Sequence[int]]:
        """Returns the positions of each batch of a group."""
        size = self._batch_size * self._process_count
        start = number * self._group * size
        positions = range(start, start + self._group * size)
        if self._group == 1:
            return [positions]
        indices = [self._order[position] for position in positions]
        texts = self._maker.texts(indices, self._augmentation.chooser(positions))
        by_length = sorted(positions, key=lambda position: len(texts[position - start]))
        batches = [by_length[first : first + size] for first in range(0, len(by_length), size)]
        order = self._augmentation.group_order(number, self._group)
        return [batches[place] for place in order]


def _check_size(info: dict, directory: str | Path, size: int) -> None:
    if info["size"] != size:
        raise DatasetError(
            f"{directory} holds images of {info['size']} px, the model wants {size}: "
            f"build a data set with --size {size}, or set the config's size to {info['size']}"
        )
