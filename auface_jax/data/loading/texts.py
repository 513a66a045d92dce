"""Batches of descriptions of a data set's label vectors, without any image.

    distinct label vectors -> descriptions -> shuffle, repeat -> paraphrase -> batch, tokenise

A label vector counts once, however many images have it. A unit that the source does not code is
described and labelled as absent, because here the text is the truth. Seeds, processes and resuming
work as in `pipeline`.
"""

from collections.abc import Sequence
from pathlib import Path

import grain
import numpy as np
from jaxtyping import Int8

from auface_jax import facs
from auface_jax.data.loading.collate import TextTokenizer
from auface_jax.data.loading.pipeline import READ_OPTIONS
from auface_jax.data.shards import ShardReader, split_names
from auface_jax.data.sources.base import stable_seed
from auface_jax.facs.paraphrase import paraphrase
from auface_jax.facs.processor import construct_texts


def label_vectors(directory: str | Path, split: str) -> Int8[np.ndarray, "M A"]:
    """Reads the distinct label vectors of a split, sorted; units not coded count as absent.

    Raises:
      DatasetError: the folder holds no data set, a damaged one, or no such split.
    """
    split_names(directory, split)
    records = ShardReader(directory, split)
    labels = np.stack([records[index].labels for index in range(len(records))])
    return np.unique(np.maximum(labels, 0), axis=0)


def training_iterator(
    directory: str | Path,
    batch_size: int,
    seed: int,
    tokenizer: TextTokenizer,
    buckets: Sequence[int],
    *,
    per_row: int,
    paraphrased: float,
    group: int,
    dictionary: facs.Dictionary | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Iterates over endless batches of descriptions of the training split's label vectors.

    Args:
      directory: folder of a data set.
      batch_size: number of descriptions in a batch of this process.
      seed: seed of the order, the descriptions and the paraphrases.
      tokenizer: tokenizer of the texts.
      buckets: text lengths in tokens, ascending; a batch is padded to the shortest that fits.
      per_row: number of fixed descriptions of each label vector.
      paraphrased: share of the examples that are paraphrased, differently each time.
      group: number of batches that are drawn together and grouped by length, so that short texts
        are not padded to a long one; the order of the batches stays random.
      dictionary: texts from `facs.load_dictionary`; None takes the project's own.
      process_index: number of this process.
      process_count: number of processes.

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
    vectors = label_vectors(directory, "train")
    dataset = (
        grain.MapDataset.source(_Descriptions(vectors, per_row, seed, dictionary))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(_Paraphrase(paraphrased))
    )
    # Every process makes the global batch and keeps its own part, since text lengths must agree.
    own = slice(process_index * batch_size, (process_index + 1) * batch_size)
    dataset = (
        dataset.batch(batch_size * process_count * group, drop_remainder=True, batch_fn=list)
        .map(_Collate(tokenizer, buckets))
        .random_map(_GroupByLength(group, buckets, own))
        .to_iter_dataset(READ_OPTIONS)
    )
    return iter(grain.experimental.FlatMapIterDataset(dataset, _EachBatch(group)))


def load_split(
    directory: str | Path,
    split: str,
    tokenizer: TextTokenizer,
    buckets: Sequence[int],
    limit: int | None = None,
    paraphrased: float = 0.0,
    dictionary: facs.Dictionary | None = None,
) -> dict:
    """Loads one description of each distinct label vector of a split.

    Args:
      directory: folder of a data set.
      split: name of a split.
      tokenizer: tokenizer of the texts.
      buckets: text lengths in tokens, ascending; all texts are padded to one length.
      limit: largest number of label vectors, a seeded draw; None takes all.
      paraphrased: share of the descriptions that are paraphrased.
      dictionary: as in `training_iterator`.

    Returns:
      The arrays of `training_iterator` for all label vectors, and the list `texts`.
    """
    vectors = label_vectors(directory, split)
    rng = np.random.default_rng(stable_seed(split, "texts"))
    if limit is not None and limit < len(vectors):
        vectors = vectors[np.sort(rng.choice(len(vectors), limit, replace=False))]
    paraphrasing = _Paraphrase(paraphrased)
    source = _Descriptions(vectors, 1, 0, dictionary)
    examples = [paraphrasing.random_map(example, rng) for example in source]
    arrays = _Collate(tokenizer, buckets)(examples)
    return arrays | {"texts": [example["text"] for example in examples]}


class _Descriptions:
    """A random-access source of several descriptions of each label vector."""

    def __init__(
        self,
        vectors: Int8[np.ndarray, "M A"],
        per_vector: int,
        seed: int,
        dictionary: facs.Dictionary | None,
    ):
        self._vectors, self._per_vector, self._seed = vectors, per_vector, seed
        self._dictionary = dictionary

    def __len__(self) -> int:
        return len(self._vectors) * self._per_vector

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(f"description {index} of {len(self)}")
        labels = self._vectors[index // self._per_vector]
        rng = np.random.default_rng(
            stable_seed(self._seed, labels.tobytes().hex(), index % self._per_vector)
        )
        texts = construct_texts(facs.constructs(labels), rng, self._dictionary)
        return {"labels": labels, "texts": texts}


class _Paraphrase(grain.transforms.RandomMap):
    """Joins the texts of a description, and paraphrases a share of them."""

    def __init__(self, share: float):
        self._share = share

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        """Returns labels and text of a description."""
        labels, texts = element["labels"], element["texts"]
        changed = rng.random() < self._share
        text = paraphrase(labels, texts, rng) if changed else " ".join(texts)
        return {"labels": labels, "text": text}


class _GroupByLength(grain.transforms.RandomMap):
    """Divides a large batch into batches of texts of similar length, in random order.

    Args:
      group: number of batches.
      buckets: text lengths in tokens, ascending.
      own: the examples of each batch that belong to this process.
    """

    def __init__(self, group: int, buckets: Sequence[int], own: slice):
        self._group, self._buckets, self._own = group, tuple(buckets), own

    def random_map(self, element: dict, rng: np.random.Generator) -> list[dict]:
        """Returns this process's part of each batch."""
        lengths = element["text_mask"].sum(1)
        parts = np.argsort(lengths, kind="stable").reshape(self._group, -1)
        batches = []
        for indices in rng.permutation(parts):
            length = next(bucket for bucket in self._buckets if bucket >= lengths[indices].max())
            own = indices[self._own]
            batches.append(
                {
                    "labels": element["labels"][own],
                    "text_tokens": element["text_tokens"][own, :length],
                    "text_mask": element["text_mask"][own, :length],
                }
            )
        return batches


class _EachBatch(grain.experimental.FlatMapTransform):
    """Yields the batches of a list one by one."""

    def __init__(self, group: int):
        self.max_fan_out = group

    def flat_map(self, element: list[dict]) -> list[dict]:
        """Returns the list itself."""
        return element


class _Collate:
    """Makes the arrays of a batch from labels and texts."""

    def __init__(self, tokenizer: TextTokenizer, buckets: Sequence[int]):
        self._tokenizer, self._buckets = tokenizer, tuple(buckets)

    def __call__(self, examples: Sequence[dict]) -> dict[str, np.ndarray]:
        tokens, mask = self._tokenizer.encode_batch([e["text"] for e in examples], self._buckets)
        labels = np.stack([e["labels"] for e in examples])
        return {"labels": labels, "text_tokens": tokens, "text_mask": mask}
