"""From a folder of shards to batches: seeded, split over processes, resumable.

    records -> shuffle, repeat -> decode -> flip, describe -> every P-th -> batch, tokenise

The order and every random choice depend on the seed and on an example's place in the endless
stream, and on nothing else: P processes with batches of B see together what one process with
batches of P*B sees, and an iterator set to a state goes on to the last bit. All work is done by
a few threads of this process; the state is one integer, the number of batches taken.
"""

from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np
from jaxtyping import UInt8

from auface_jax import facs
from auface_jax.data.records import Record, RecordError, decode_image
from auface_jax.data.samples import stable_seed
from auface_jax.data.shards import REFERENCES, DatasetError, ShardReader, read_info, split_names

# Decoding and resizing release the interpreter's lock, so two threads help; a few batches wait.
_READ_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


def training_iterator(
    directory: str | Path,
    batch_size: int,
    seed: int,
    tokenizer,
    buckets: Sequence[int],
    *,
    size: int,
    redescribe: bool = True,
    flip: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    dictionary: facs.Dictionary | None = None,
) -> grain.DatasetIterator:
    """Endless batches of the training split, reshuffled every epoch.

    Args:
      directory: A folder made by `build`.
      batch_size: Examples a batch of this process.
      seed: Of the order, the flips and the texts.
      tokenizer: Has `encode_batch(texts, buckets) -> (tokens, mask)`.
      buckets: Text lengths; a batch is padded to the shortest that fits.
      size: Side of the images, which the data set must have.
      redescribe: A new text of the same constructs each time; else a record keeps its one text.
      flip: Mirror image and reference together, half of the time.
      process_index: Which of the processes this is; each has its own part of the stream.
      process_count: How many processes there are.
      dictionary: The texts, from `facs.load_dictionary`; None takes the project's own.

    Returns:
      An iterator with `get_state()` and `set_state()`, over dicts of arrays:
        image, reference: uint8 [B, H, W, 3]
        labels: int8 [B, A], 0 or 1; -1 where the source does not code the unit (described as
          absent, left out of losses and figures)
        text_tokens: int32 [B, L]; text_mask: bool [B, L]

    Raises:
      DatasetError: No data set there, a damaged one, or images of another size.
      RecordError: While iterating: names the shard and the record.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index is {process_index}, expected 0 to {process_count - 1}")
    records = ShardReader(directory, "train")
    references = load_references(directory, "train")
    _check_size(records.info, directory, size)
    # The slice comes after the random choices, whose seeds follow the place in the stream: so
    # the processes differ, and their number does not matter.
    dataset = (
        grain.MapDataset.source(_Examples(records, references, size))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(_Augment(flip=flip, redescribe=redescribe, dictionary=dictionary))
    )
    dataset = dataset[process_index::process_count].batch(
        batch_size, drop_remainder=True, batch_fn=_Collate(tokenizer, buckets)
    )
    return iter(dataset.to_iter_dataset(_READ_OPTIONS))


def load_split(
    directory: str | Path,
    split: str,
    tokenizer,
    buckets: Sequence[int],
    limit: int | None = None,
    seed: int = 0,
    dictionary: facs.Dictionary | None = None,
) -> dict:
    """A whole split in memory, in the order of its shards, each record with its one text.

    Args:
      directory: A folder made by `build`.
      split: train, val or test.
      tokenizer: As in `training_iterator`.
      buckets: As in `training_iterator`; all texts are padded to one length.
      limit: Take at most so many, drawn by `seed`, as evenly as may be over the people.
      seed: Of the draw.
      dictionary: The texts, from `facs.load_dictionary`; None takes the project's own.

    Returns:
      The arrays of `training_iterator` for all N records, and lists of length N: `subjects`,
      `frames` and `texts`.

    Raises:
      DatasetError: No data set there, a damaged one, or no such split.
      RecordError: Names the shard and the record.
    """
    split_names(directory, split)
    records = ShardReader(directory, split)
    references = load_references(directory, split)
    indices = range(len(records))
    if limit is not None and limit < len(records):
        indices = _even_draw(list(records.info["people"][split].values()), limit, seed)
    examples = _Examples(records, references, records.info["size"])
    taken = [examples[index] for index in indices]
    texts = [record_text(example["record"], dictionary) for example in taken]
    arrays = _Collate(tokenizer, buckets)(
        [example | {"text": text} for example, text in zip(taken, texts, strict=True)]
    )
    return arrays | {
        "subjects": [example["record"].subject for example in taken],
        "frames": [example["record"].frame for example in taken],
        "texts": texts,
    }


def record_text(record: Record, dictionary: facs.Dictionary | None = None) -> str:
    """The one text that belongs to a record."""
    rng = np.random.default_rng(record.variant_seed)
    return facs.describe_constructs(record.constructs, rng, dictionary)


def load_references(
    directory: str | Path, split: str | None = None
) -> dict[str, UInt8[np.ndarray, "S S 3"]]:
    """Reference image of each person in a split, or of all people."""
    names = split_names(directory, split)
    reader = ShardReader(directory, REFERENCES)
    size = reader.info["size"]
    images = {}
    for index in range(len(reader)):
        record = reader[index]
        if record.split in names:
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
    return [subject for name in split_names(directory, split) for subject in people[name]]


def _check_size(info: dict, directory: str | Path, size: int) -> None:
    if info["size"] != size:
        raise DatasetError(
            f"{directory} holds images of {info['size']} px, the model wants {size}: "
            f"build a data set with --size {size}, or set the config's size to {info['size']}"
        )


def _image(
    reader: ShardReader, index: int, record: Record, size: int
) -> UInt8[np.ndarray, "S S 3"]:
    try:
        return decode_image(record, size)
    except RecordError as error:
        raise RecordError(f"{reader.where(index)}: {error}") from error


class _Examples:
    """Records of a split with their pixels and their person's reference; a Grain data source."""

    def __init__(self, records: ShardReader, references: dict[str, np.ndarray], size: int):
        self._records, self._references, self._size = records, references, size

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict:
        record = self._records[index]
        if record.subject not in self._references:
            raise RecordError(
                f"{self._records.where(index)}: {record.id} has no reference image in "
                f"{self._records.directory}: build the data set again"
            )
        return {
            "record": record,
            "image": _image(self._records, index, record, self._size),
            "reference": self._references[record.subject],
        }


class _Augment(grain.transforms.RandomMap):
    """The random choices of one example: mirrored or not, and in which words."""

    def __init__(self, *, flip: bool, redescribe: bool, dictionary: facs.Dictionary | None):
        self._flip, self._redescribe, self._dictionary = flip, redescribe, dictionary

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        record, image, reference = element["record"], element["image"], element["reference"]
        if self._flip and rng.random() < 0.5:
            image, reference = _mirrored(image), _mirrored(reference)
        if self._redescribe:
            text = facs.describe_constructs(record.constructs, rng, self._dictionary)
        else:
            text = record_text(record, self._dictionary)
        return {"record": record, "image": image, "reference": reference, "text": text}


def _mirrored(image: UInt8[np.ndarray, "H W C"]) -> UInt8[np.ndarray, "H W C"]:
    """Left and right exchanged; pixels are moved whole, in less than half of the time."""
    pixels = image.view(f"V{image.shape[-1]}")  # [H, W, 1]
    return np.ascontiguousarray(pixels[:, ::-1]).view(np.uint8)


class _Collate:
    """Examples -> the arrays of a batch."""

    def __init__(self, tokenizer, buckets: Sequence[int]):
        self._tokenizer, self._buckets = tokenizer, tuple(buckets)

    def __call__(self, examples: Sequence[dict]) -> dict[str, np.ndarray]:
        tokens, mask = self._tokenizer.encode_batch([e["text"] for e in examples], self._buckets)
        return {
            "image": np.stack([e["image"] for e in examples]),
            "reference": np.stack([e["reference"] for e in examples]),
            "labels": np.stack([e["record"].labels for e in examples]),
            "text_tokens": tokens,
            "text_mask": mask,
        }


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
