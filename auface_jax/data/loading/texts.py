"""From a data set's label rows to batches of descriptions, without any image.

    distinct label rows -> descriptions of each -> shuffle, repeat -> paraphrase -> batch, tokenise

A label row counts once however many images have it, and a unit that its source does not code is
described, and labelled, as absent: the text is the truth here. Seeds, processes and resuming are as
in `pipeline`.
"""

from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np
from jaxtyping import Int8

from auface_jax import facs
from auface_jax.data.loading.pipeline import READ_OPTIONS
from auface_jax.data.shards import ShardReader, split_names
from auface_jax.data.sources.base import stable_seed
from auface_jax.facs.paraphrase import paraphrase
from auface_jax.facs.processor import construct_texts


def label_vectors(directory: str | Path, split: str) -> Int8[np.ndarray, "M A"]:
    """The distinct label rows of a split, sorted.

    Raises:
      DatasetError: No data set there, a damaged one, or no such split.
    """
    split_names(directory, split)
    records = ShardReader(directory, split)
    labels = np.stack([records[index].labels for index in range(len(records))])
    return np.unique(np.maximum(labels, 0), axis=0)


def training_iterator(
    directory: str | Path,
    batch_size: int,
    seed: int,
    tokenizer,
    buckets: Sequence[int],
    *,
    per_row: int,
    paraphrased: float,
    group: int,
    dictionary: facs.Dictionary | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Endless batches of descriptions of the training split's label rows.

    Args:
      directory: A folder made by `data.build`.
      batch_size: Descriptions a batch of this process.
      seed: Of the order, the descriptions and the paraphrases.
      tokenizer: As in `batch_stream.open_stream`.
      buckets: As there.
      per_row: Descriptions drawn of each label row, once and for all.
      paraphrased: Share of the draws that are paraphrased, differently each time.
      group: Batches drawn at once and parted by length, so that short texts are not padded to the
        longest of many; their order stays random.
      dictionary: The texts, from `facs.load_dictionary`; None takes the project's own.
      process_index: Which of the processes this is.
      process_count: How many there are.

    Returns:
      An iterator with `get_state()` and `set_state()`, over dicts of arrays: labels int8 [B, A],
      text_tokens int32 [B, L], text_mask bool [B, L].
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
    if per_row < 1 or not 0.0 <= paraphrased <= 1.0 or group < 1:
        raise ValueError(
            f"texts.per_row is {per_row}, texts.paraphrased {paraphrased} and texts.group {group}; "
            "expected 1 or more, a share from 0 to 1, and 1 or more"
        )
    rows = label_vectors(directory, "train")
    dataset = (
        grain.MapDataset.source(_Descriptions(rows, per_row, seed, dictionary))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(_Paraphrase(paraphrased))
    )
    # Every process makes the batches of all of them and keeps its rows: the lengths must agree.
    own = slice(process_index * batch_size, (process_index + 1) * batch_size)
    dataset = (
        dataset.batch(batch_size * process_count * group, drop_remainder=True, batch_fn=list)
        .map(_Collate(tokenizer, buckets))
        .random_map(_PartByLength(group, buckets, own))
        .to_iter_dataset(READ_OPTIONS)
    )
    return iter(grain.experimental.FlatMapIterDataset(dataset, _EachBatch(group)))


def load_split(
    directory: str | Path,
    split: str,
    tokenizer,
    buckets: Sequence[int],
    limit: int | None = None,
    paraphrased: float = 0.0,
    dictionary: facs.Dictionary | None = None,
) -> dict:
    """One description of each distinct label row of a split, or of `limit` of them.

    Args:
      directory: A folder made by `data.build`.
      split: train, val or test.
      tokenizer: As in `batch_stream.open_stream`.
      buckets: As there; all texts are padded to one length.
      limit: Take at most so many rows, a seeded draw.
      paraphrased: Share of the descriptions that are paraphrased.
      dictionary: As in `training_iterator`.

    Returns:
      The arrays of `training_iterator` for all rows, and the list `texts`.
    """
    rows = label_vectors(directory, split)
    rng = np.random.default_rng(stable_seed(split, "texts"))
    if limit is not None and limit < len(rows):
        rows = rows[np.sort(rng.choice(len(rows), limit, replace=False))]
    change = _Paraphrase(paraphrased)
    source = _Descriptions(rows, 1, 0, dictionary)
    described = [change.random_map(example, rng) for example in source]
    arrays = _Collate(tokenizer, buckets)(described)
    return arrays | {"texts": [example["text"] for example in described]}


class _Descriptions:
    """`per_row` descriptions of each label row; a Grain data source."""

    def __init__(
        self,
        rows: Int8[np.ndarray, "M A"],
        per_row: int,
        seed: int,
        dictionary: facs.Dictionary | None,
    ):
        self._rows, self._per_row, self._seed = rows, per_row, seed
        self._dictionary = dictionary

    def __len__(self) -> int:
        return len(self._rows) * self._per_row

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(f"description {index} of {len(self)}")
        labels = self._rows[index // self._per_row]
        rng = np.random.default_rng(
            stable_seed(self._seed, labels.tobytes().hex(), index % self._per_row)
        )
        texts = construct_texts(facs.constructs(labels), rng, self._dictionary)
        return {"labels": labels, "texts": texts}


class _Paraphrase(grain.transforms.RandomMap):
    """A description as it is, or in other words."""

    def __init__(self, share: float):
        self._share = share

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        labels, texts = element["labels"], element["texts"]
        changed = rng.random() < self._share
        text = paraphrase(labels, texts, rng) if changed else " ".join(texts)
        return {"labels": labels, "text": text}


class _PartByLength(grain.transforms.RandomMap):
    """A large batch -> `group` batches in random order, each of texts of about one length; of each
    only the rows `own`."""

    def __init__(self, group: int, buckets: Sequence[int], own: slice):
        self._group, self._buckets, self._own = group, tuple(buckets), own

    def random_map(self, element: dict, rng: np.random.Generator) -> list[dict]:
        lengths = element["text_mask"].sum(1)
        parts = np.argsort(lengths, kind="stable").reshape(self._group, -1)
        batches = []
        for rows in rng.permutation(parts):
            length = next(bucket for bucket in self._buckets if bucket >= lengths[rows].max())
            rows = rows[self._own]
            batches.append(
                {
                    "labels": element["labels"][rows],
                    "text_tokens": element["text_tokens"][rows, :length],
                    "text_mask": element["text_mask"][rows, :length],
                }
            )
        return batches


class _EachBatch(grain.experimental.FlatMapTransform):
    """A list of batches -> the batches."""

    def __init__(self, group: int):
        self.max_fan_out = group

    def flat_map(self, element: list[dict]) -> list[dict]:
        return element


class _Collate:
    """Descriptions -> the arrays of a batch."""

    def __init__(self, tokenizer, buckets: Sequence[int]):
        self._tokenizer, self._buckets = tokenizer, tuple(buckets)

    def __call__(self, examples: Sequence[dict]) -> dict[str, np.ndarray]:
        tokens, mask = self._tokenizer.encode_batch([e["text"] for e in examples], self._buckets)
        labels = np.stack([e["labels"] for e in examples])
        return {"labels": labels, "text_tokens": tokens, "text_mask": mask}
