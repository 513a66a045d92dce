"""Makes the arrays of a batch from records: read, decode, mirror, describe, tokenise.

A batch is made as a whole, one step for all of its examples at a time. Decoding a PNG of 64 px
takes 90 us, so every other step must take microseconds.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8

from auface_jax.data.record import NUM_UNITS, REFERENCES, Record, RecordError, decode_image
from auface_jax.data.shards import ShardReader

# Bytes of decoded references, mirrored ones included, that are cached.
_REFERENCE_BYTES = 512 * 2**20
# A split whose decoded images, mirrored ones included, fit in this many bytes is decoded only once.
# Mirrored images are cached too: mirroring takes up to half as long as decoding.
_SPLIT_BYTES = 512 * 2**20

# Number of an example in its batch, and its record -> True to mirror it, and its text.
ChooseAugmentation = Callable[[int, Record], tuple[bool, str]]
# Shape -> uninitialised memory for the pixels of a batch.
AllocatePixels = Callable[[tuple[int, ...]], UInt8[np.ndarray, "..."]]
new_pixels: AllocatePixels = functools.partial(np.empty, dtype=np.uint8)


class TextTokenizer(Protocol):
    """The part of `data.tokenizer.Tokenizer` that batches need."""

    def encode_batch(
        self, texts: Sequence[str], buckets: Sequence[int]
    ) -> tuple[Int32[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Returns tokens and mask, padded to the shortest bucket that fits."""


class SkippedRecords:
    """Collects the records that cannot be read, each once; safe to use from threads.

    Its length is the number of these records.

    Args:
      report: function that takes a line with file, number and error of each such record.
    """

    def __init__(self, report: Callable[[str], None] = print):
        self._report, self._lock = report, threading.Lock()
        self._seen: set[str] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, where: str, error: RecordError) -> None:
        """Adds the record at `where`, unless it was added before."""
        with self._lock:
            if where in self._seen:
                return
            self._seen.add(where)
        self._report(f"left out, it cannot be read: {error}")


def _intensities(record: Record) -> Float32[np.ndarray, "A"]:
    """Returns the intensities of a record; -1 where they are unknown."""
    if record.intensities is not None:
        return record.intensities
    return np.full(NUM_UNITS, -1, np.float32)


class References:
    """The reference image of each person, decoded at the first request and cached.

    Args:
      directory: folder of a data set.
      split: only the people of this split; None takes all people.
      skipped: collects the references that cannot be read; None raises an error.
    """

    def __init__(
        self, directory: str | Path, split: str | None, *, skipped: SkippedRecords | None = None
    ):
        self._reader = ShardReader(directory, REFERENCES, skip_damaged=skipped is not None)
        self._size = self._reader.info["size"]
        people = self._reader.info["people"]
        self._indices: dict[str, int] = {}  # subject -> number of the record
        for index in range(len(self._reader)):
            try:
                record = self._reader[index]
            except RecordError as error:
                if skipped is None:
                    raise
                skipped.add(self._reader.where(index), error)
            else:
                if split is None or record.subject in people[split]:
                    self._indices[record.subject] = index
        self._rows = {subject: row for row, subject in enumerate(self._indices)}
        cached = max(2, _REFERENCE_BYTES // (3 * self._size**2))
        self._pixels = functools.lru_cache(maxsize=cached)(self._decode)

    def get(self, subject: str, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
        """Returns the pixels of a person's reference.

        Raises:
          RecordError: the person has no reference, or it is damaged.
        """
        if subject not in self._indices:
            raise RecordError(
                f"{subject} has no reference image in {self._reader.directory}: build the data "
                "set again"
            )
        return self._pixels(self._indices[subject], mirrored)

    def row(self, subject: str, mirrored: bool) -> int:
        """Returns the row of a person's reference in `all()`."""
        return 2 * self._rows[subject] + mirrored

    def all(self, *, mirrored: bool) -> UInt8[np.ndarray, "R S S 3"]:
        """Returns all references, each followed by its mirror image.

        Args:
          mirrored: decode the mirror images too; False leaves them black.
        """
        images = np.zeros((2 * len(self._rows), self._size, self._size, 3), np.uint8)
        for subject in self._rows:
            for side in (False, True)[: 1 + mirrored]:
                images[self.row(subject, side)] = self.get(subject, side)
        return images

    def _decode(self, index: int, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
        try:
            return decode_image(self._reader[index], self._size, mirrored=mirrored)
        except RecordError as error:
            where = self._reader.where(index)
            raise RecordError(f"{where}: {error}") from error


class BatchMaker:
    """Makes the batch of given records; safe to call from threads.

    Attributes:
      max_bytes: largest number of bytes that the arrays of one example take.

    Args:
      records: records of a split.
      references: references of the people in it.
      tokenizer: tokenizer of the texts; None makes batches without text tokens.
      buckets: text lengths in tokens, ascending; a batch is padded to the shortest that fits.
      skipped: collects the records that cannot be read; None raises an error.
      cache: cache decoded images for the next epoch, if the whole split fits in `_SPLIT_BYTES`.
      allocate: allocates the memory for a batch's pixels.
    """

    def __init__(
        self,
        records: ShardReader,
        references: References,
        tokenizer: TextTokenizer | None,
        buckets: Sequence[int],
        *,
        skipped: SkippedRecords | None = None,
        cache: bool = False,
        allocate: AllocatePixels = new_pixels,
    ):
        self._records, self._references = records, references
        self._tokenizer, self._buckets = tokenizer, tuple(buckets)
        self._skipped, self._allocate = skipped, allocate
        self._size = records.info["size"]
        pictures, row, token, padding = 2 * 3 * self._size**2, 4, 4, 1
        units = (1 + 4) * NUM_UNITS  # labels and intensities
        self.max_bytes = pictures + row + units + (token + padding) * self._buckets[-1]
        self._caching = cache and 2 * len(records) * 3 * self._size**2 <= _SPLIT_BYTES
        self._cached_records: dict[int, Record] = {}
        self._cached_images: dict[tuple[int, bool], UInt8[np.ndarray, "S S 3"]] = {}

    def text_length(self, indices: Sequence[int], choose: ChooseAugmentation) -> int:
        """Returns the text length of a batch in tokens, without decoding its images.

        Several processes make one batch together and must agree on its shape. Where records may be
        skipped, it is the longest bucket: a process that does not decode an image cannot know
        whether its record is skipped.
        """
        if self._tokenizer is None:
            return 0
        if self._skipped is not None or len(self._buckets) == 1:
            return self._buckets[-1]
        texts = self.texts(indices, choose)
        return self._tokenizer.encode_batch(texts, self._buckets)[0].shape[1]

    def texts(self, indices: Sequence[int], choose: ChooseAugmentation) -> list[str]:
        """Returns the texts of a batch, without decoding its images.

        The text of a record that cannot be read, and may be skipped, is "".
        """
        try:
            records = self._read(indices)
        except RecordError:
            if self._skipped is None:
                raise
            records = [self._record_or_none(index) for index in indices]
        return ["" if r is None else choose(example, r)[1] for example, r in enumerate(records)]

    def make(
        self,
        indices: Sequence[int],
        choose: ChooseAugmentation,
        *,
        replace: bool = False,
        text_length: int | None = None,
    ) -> tuple[dict[str, np.ndarray], list[Record], list[str]]:
        """Makes a batch.

        Args:
          indices: numbers of the records.
          choose: draws the augmentation of each example.
          replace: put the next readable record of the split in the place of one that cannot be
            read; False leaves the record out.
          text_length: length to which texts are padded; None takes the shortest bucket that fits.

        Returns:
          The arrays of `pipeline.training_iterator`, the records, and their texts.

        Raises:
          RecordError: a record cannot be read and is not to be skipped, or none can be read.
        """
        buckets = self._buckets if text_length is None else (text_length,)
        try:
            return self._make(indices, choose, buckets)
        except RecordError:
            if self._skipped is None:
                raise
        candidates = [self._readable(index, replace) for index in indices]
        readable = [index for index in candidates if index is not None]
        if not readable:
            raise RecordError(f"{self._records.directory}: none of the records can be read")
        return self._make(readable, choose, buckets)

    def _make(
        self, indices: Sequence[int], choose: ChooseAugmentation, buckets: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], list[Record], list[str]]:
        # Each step is done for all examples before the next, so that its code and tables stay in
        # the processor's caches, from which decoding an image would evict them.
        records = self._read(indices)
        choices = [choose(example, record) for example, record in enumerate(records)]
        examples = [
            (index, record, mirrored)
            for index, record, (mirrored, _) in zip(indices, records, choices, strict=True)
        ]
        pictured = all(record.image is not None for record in records)
        # Both arrays share one block of memory: from 4 MiB on NumPy asks for large pages, without
        # which the first write to the memory takes half as long as decoding an image of 256 px.
        images = self._allocate((1 + pictured, len(indices), self._size, self._size, 3))
        arrays = {"reference": images[0]}
        for number, example in enumerate(examples):
            images[0, number] = self._reference(*example)
        if pictured:
            arrays["image"] = images[1]
            for number, example in enumerate(examples):
                images[1, number] = self._image(*example)
        arrays["reference_row"] = np.array(
            [self._references.row(record.subject, mirrored) for _, record, mirrored in examples],
            np.int32,
        )
        texts = [text for _, text in choices]
        arrays["labels"] = np.stack([record.labels for record in records])
        arrays["intensities"] = np.stack([_intensities(record) for record in records])
        if self._tokenizer is not None:
            tokens, mask = self._tokenizer.encode_batch(texts, buckets)
            arrays |= {"text_tokens": tokens, "text_mask": mask}
        return arrays, records, texts

    def _read(self, indices: Sequence[int]) -> list[Record]:
        unread = [index for index in indices if index not in self._cached_records]
        encoded = dict(zip(unread, self._records.read(unread) or (), strict=False))
        return [self._record(index, encoded.get(index)) for index in indices]

    def _readable(self, index: int, replace: bool) -> int | None:
        """Returns the number of the first readable record from `index` on, or None.

        Args:
          index: number of a record.
          replace: try the records after it too.
        """
        total = len(self._records)
        for step in range(total if replace else 1):
            candidate = (index + step) % total
            try:
                record = self._record(candidate, None)
                self._reference(candidate, record, False)
                if record.image is not None:
                    self._image(candidate, record, False)
                return candidate
            except RecordError as error:
                self._skipped.add(self._records.where(candidate), error)
        return None

    def _record_or_none(self, index: int) -> Record | None:
        try:
            return self._record(index, None)
        except RecordError:
            return None

    def _record(self, index: int, data: bytes | None) -> Record:
        record = self._cached_records.get(index)
        if record is None:
            record = self._records.decode(index, data)
            if self._caching:
                self._cached_records[index] = record
        return record

    def _reference(self, index: int, record: Record, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
        try:
            return self._references.get(record.subject, mirrored)
        except RecordError as error:
            raise RecordError(f"{self._records.where(index)}: {error}") from error

    def _image(self, index: int, record: Record, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
        image = self._cached_images.get((index, mirrored))
        if image is None:
            try:
                image = decode_image(record, self._size, mirrored=mirrored)
            except RecordError as error:
                raise RecordError(f"{self._records.where(index)}: {error}") from error
            if self._caching:
                self._cached_images[index, mirrored] = image
        return image
