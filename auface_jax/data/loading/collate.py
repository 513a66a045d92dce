"""Records -> the arrays of a batch: read together, decode, mirror, describe, tokenise.

All of a batch is made in one go. At 64 px a PNG takes 90 us to decode, so what happens around it
is counted in microseconds.
"""

import functools
import threading
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

from auface_jax.data.record import NUM_UNITS, REFERENCES, Record, RecordError, decode_image
from auface_jax.data.shards import ShardReader

# References are kept decoded, in both directions, up to so many bytes.
_REFERENCE_BYTES = 512 * 2**20
# A split whose pictures take less than so many bytes in both directions is decoded only once in
# each: to mirror an array of pixels takes up to half as long as to decode it.
_SPLIT_BYTES = 512 * 2**20

# Place of an example in its batch, and its record -> mirrored or not, and the text.
Choose = Callable[[int, Record], tuple[bool, str]]
# Shape -> memory for the pixels of a batch.
Empty = Callable[[tuple[int, ...]], UInt8[np.ndarray, "..."]]
new_pixels: Empty = functools.partial(np.empty, dtype=np.uint8)


class SkippedRecords:
    """The records that could not be read and were left out, each counted once.

    Args:
      tell: Called with a line that names file and index, for each of them.
    """

    def __init__(self, tell: Callable[[str], None] = print):
        self._tell, self._seen, self._lock = tell, set(), threading.Lock()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, where: str, error: RecordError) -> None:
        """Notes the record at `where`."""
        with self._lock:
            if where in self._seen:
                return
            self._seen.add(where)
        self._tell(f"left out, it cannot be read: {error}")


class References:
    """Each person's reference image in a split, or in all, decoded when it is first asked for."""

    def __init__(self, directory, split: str | None, *, skipped: SkippedRecords | None = None):
        self._reader = ShardReader(directory, REFERENCES, skip_damaged=skipped is not None)
        self._size = self._reader.info["size"]
        people = self._reader.info["people"]
        self._places: dict[str, int] = {}
        for index in range(len(self._reader)):
            try:
                record = self._reader[index]
            except RecordError as error:
                if skipped is None:
                    raise
                skipped.add(self._reader.where(index), error)
            else:
                if split is None or record.subject in people[split]:
                    self._places[record.subject] = index
        self._rows = {subject: row for row, subject in enumerate(self._places)}
        kept = max(2, _REFERENCE_BYTES // (3 * self._size**2))
        self._pixels = functools.lru_cache(maxsize=kept)(self._decode)

    def get(self, subject: str, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
        """Pixels of a person's reference; RecordError where there is none, or a damaged one."""
        if subject not in self._places:
            raise RecordError(
                f"{subject} has no reference image in {self._reader.directory}: build the data "
                "set again"
            )
        return self._pixels(self._places[subject], mirrored)

    def row(self, subject: str, mirrored: bool) -> int:
        """Where `all(mirrored=True)` has a person's reference."""
        return 2 * self._rows[subject] + mirrored

    def all(self, *, mirrored: bool) -> UInt8[np.ndarray, "R S S 3"]:
        """Every reference, and beside each its mirror image, or black where none is asked for."""
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
      max_bytes: what the arrays of an example take at most.

    Args:
      records: The split.
      references: Of the people in it.
      tokenizer: Has `encode_batch(texts, buckets) -> (tokens, mask)`.
      buckets: Text lengths; a batch is padded to the shortest that fits.
      skipped: Takes the records that cannot be read; None lets the first of them raise.
      keep: Keep what is decoded for the next epoch, if all of the split fits in `_SPLIT_BYTES`.
      empty: Gives a batch memory for its pixels.
    """

    def __init__(
        self,
        records: ShardReader,
        references: References,
        tokenizer,
        buckets: Sequence[int],
        *,
        skipped: SkippedRecords | None = None,
        keep: bool = False,
        empty: Empty = new_pixels,
    ):
        self._records, self._references = records, references
        self._tokenizer, self._buckets = tokenizer, tuple(buckets)
        self._skipped, self._empty = skipped, empty
        self._size = records.info["size"]
        pictures, row, token, padding = 2 * 3 * self._size**2, 4, 4, 1
        self.max_bytes = pictures + row + NUM_UNITS + (token + padding) * self._buckets[-1]
        self._keep = keep and 2 * len(records) * 3 * self._size**2 <= _SPLIT_BYTES
        self._kept_records: dict[int, Record] = {}
        self._kept_images: dict[tuple[int, bool], UInt8[np.ndarray, "S S 3"]] = {}

    def text_length(self, indices: Sequence[int], choose: Choose) -> int:
        """What the texts of these records are padded to, without their images being touched.

        Several processes make one batch together and must agree on its shape. Where records may be
        left out it is the longest bucket: which ones, only those know who read the images.
        """
        if self._skipped is not None or len(self._buckets) == 1:
            return self._buckets[-1]
        texts = [choose(place, record)[1] for place, record in enumerate(self._read(indices))]
        return self._tokenizer.encode_batch(texts, self._buckets)[0].shape[1]

    def make(
        self,
        indices: Sequence[int],
        choose: Choose,
        *,
        replace: bool = False,
        text_length: int | None = None,
    ) -> tuple[dict[str, np.ndarray], list[Record], list[str]]:
        """The arrays of the records `indices`, the records, and their texts.

        A record that is left out is missing from all three. With `replace` the next one of the
        split that can be read stands in its place. Texts are padded to `text_length`; None takes
        the shortest bucket that fits.
        """
        buckets = self._buckets if text_length is None else (text_length,)
        try:
            return self._make(indices, choose, buckets)
        except RecordError:
            if self._skipped is None:
                raise
        found = [self._readable(index, replace) for index in indices]
        readable = [index for index in found if index is not None]
        if not readable:
            raise RecordError(f"{self._records.directory}: none of the records can be read")
        return self._make(readable, choose, buckets)

    def _make(
        self, indices: Sequence[int], choose: Choose, buckets: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], list[Record], list[str]]:
        # Step by step, each for all examples: one step's code and tables stay in the caches of the
        # processor, where a picture in between would push them out.
        records = self._read(indices)
        choices = [choose(place, record) for place, record in enumerate(records)]
        examples = [
            (index, record, mirrored)
            for index, record, (mirrored, _) in zip(indices, records, choices, strict=True)
        ]
        pictured = all(record.image is not None for record in records)
        # One piece of memory for both: from 4 MiB on NumPy asks for large pages, without which to
        # touch a new piece takes half as long as to decode a picture of 256 px into it.
        images = self._empty((1 + pictured, len(indices), self._size, self._size, 3))
        arrays = {"reference": images[0]}
        for place, example in enumerate(examples):
            images[0, place] = self._reference(*example)
        if pictured:
            arrays["image"] = images[1]
            for place, example in enumerate(examples):
                images[1, place] = self._image(*example)
        arrays["reference_row"] = np.array(
            [self._references.row(record.subject, mirrored) for _, record, mirrored in examples],
            np.int32,
        )
        texts = [text for _, text in choices]
        tokens, mask = self._tokenizer.encode_batch(texts, buckets)
        arrays["labels"] = np.stack([record.labels for record in records])
        return arrays | {"text_tokens": tokens, "text_mask": mask}, records, texts

    def _read(self, indices: Sequence[int]) -> list[Record]:
        unread = [index for index in indices if index not in self._kept_records]
        encoded = dict(zip(unread, self._records.read(unread) or (), strict=False))
        return [self._record(index, encoded.get(index)) for index in indices]

    def _readable(self, index: int, replace: bool) -> int | None:
        """The record `index` if all of it can be read; else the first after it, or None."""
        number = len(self._records)
        for step in range(number if replace else 1):
            candidate = (index + step) % number
            try:
                record = self._record(candidate, None)
                self._reference(candidate, record, False)
                if record.image is not None:
                    self._image(candidate, record, False)
                return candidate
            except RecordError as error:
                self._skipped.add(self._records.where(candidate), error)
        return None

    def _record(self, index: int, data: bytes | None) -> Record:
        record = self._kept_records.get(index)
        if record is None:
            record = self._records.decode(index, data)
            if self._keep:
                self._kept_records[index] = record
        return record

    def _reference(self, index: int, record: Record, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
        try:
            return self._references.get(record.subject, mirrored)
        except RecordError as error:
            raise RecordError(f"{self._records.where(index)}: {error}") from error

    def _image(self, index: int, record: Record, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
        image = self._kept_images.get((index, mirrored))
        if image is None:
            try:
                image = decode_image(record, self._size, mirrored=mirrored)
            except RecordError as error:
                raise RecordError(f"{self._records.where(index)}: {error}") from error
            if self._keep:
                self._kept_images[index, mirrored] = image
        return image
