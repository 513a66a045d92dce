"""Batches of descriptions of a data set's label vectors, without any image.

    distinct label vectors -> shuffle, repeat -> describe -> batch, tokenise

A label vector counts once, however many images have it. A unit that the source does not code is
described and labelled as absent, because here the text is the truth. Seeds, processes and resuming
work as in `pipeline`.
"""

import functools
import importlib.resources
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
from auface_jax.facs.wording import Wording, describe_in, random_intensities


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
    wording: Wording,
    group: int,
    random_rows: float = 0.0,
    unrelated: float = 0.0,
    dictionary: facs.Dictionary | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.DatasetIterator:
    """Iterates over endless batches of descriptions of the training split's label vectors.

    Args:
      directory: folder of a data set.
      batch_size: number of descriptions in a batch of this process.
      seed: seed of the order and of the descriptions.
      tokenizer: tokenizer of the texts.
      buckets: text lengths in tokens, ascending; a batch is padded to the shortest that fits.
      per_row: number of descriptions of each label vector in an epoch, drawn anew in each.
      wording: the words of the descriptions. Where they state degrees, these are drawn at random,
        since a label vector has no intensities.
      group: number of batches that are drawn together and grouped by length, so that short texts
        are not padded to a long one; the order of the batches stays random.
      random_rows: share of the examples whose label vector is drawn at random, see
        `random_labels`, in place of the data's.
      unrelated: share of the examples whose text speaks of no face, and whose units are all absent.
      dictionary: texts from `facs.load_dictionary`; None takes the project's own.
      process_index: number of this process.
      process_count: number of processes.

    Returns:
      An iterator with `get_state()` and `set_state()`, over dicts of arrays: labels int8 [B, A],
      degrees int8 [B, A] (stated ones, see `facs.wording.Told`), text_tokens int32 [B, L],
      text_mask bool [B, L].
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected 1 or more")
    if per_row < 1 or group < 1:
        raise ValueError(
            f"texts.per_row is {per_row} and data.group {group}; expected 1 or more of each"
        )
    vectors = np.repeat(label_vectors(directory, "train"), per_row, axis=0)
    dataset = (
        grain.MapDataset.source(vectors)
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(_Describe(wording, dictionary, random_rows, unrelated))
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


@functools.cache
def unrelated_texts() -> tuple[str, ...]:
    """Reads texts that speak of no movement of a face."""
    file = importlib.resources.files("auface_jax.facs") / "unrelated.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines())


def random_labels(rng: np.random.Generator) -> Int8[np.ndarray, "A"]:
    """Draws a label vector of 1 to 7 units, any of which are as likely as others."""
    units = rng.choice(facs.AU_NUMBERS, rng.integers(1, 8), replace=False)
    return facs.labels_from_units(units)


def load_split(
    directory: str | Path,
    split: str,
    tokenizer: TextTokenizer,
    buckets: Sequence[int],
    limit: int | None = None,
    kind: str = "dictionary",
    dictionary: facs.Dictionary | None = None,
) -> dict:
    """Loads one description of each distinct label vector of a split.

    Args:
      directory: folder of a data set.
      split: name of a split.
      tokenizer: tokenizer of the texts.
      buckets: text lengths in tokens, ascending; all texts are padded to one length.
      limit: largest number of label vectors, a seeded draw; None takes all.
      kind: the words of the descriptions, one of `facs.wording.KINDS`.
      dictionary: as in `training_iterator`.

    Returns:
      The arrays of `training_iterator` for all label vectors, and the list `texts`.
    """
    vectors = label_vectors(directory, split)
    rng = np.random.default_rng(stable_seed(split, "texts"))
    if limit is not None and limit < len(vectors):
        vectors = vectors[np.sort(rng.choice(len(vectors), limit, replace=False))]
    examples = [
        {"labels": row, **describe_in(kind, row, rng, dictionary=dictionary)._asdict()}
        for row in vectors
    ]
    arrays = _Collate(tokenizer, buckets)(examples)
    return arrays | {"texts": [example["text"] for example in examples]}


class _Describe(grain.transforms.RandomMap):
    """Describes a label vector, or one that is drawn at random."""

    def __init__(
        self,
        wording: Wording,
        dictionary: facs.Dictionary | None,
        random_rows: float,
        unrelated: float,
    ):
        self._wording, self._dictionary = wording, dictionary
        self._random, self._unrelated = random_rows, unrelated

    def random_map(self, element: np.ndarray, rng: np.random.Generator) -> dict:
        """Returns labels, text and stated degrees of a description."""
        if rng.random() < self._unrelated:
            texts, nothing = unrelated_texts(), np.zeros_like(element)
            return {"labels": nothing, "text": texts[rng.integers(len(texts))], "degrees": nothing}
        if rng.random() < self._random:
            element = random_labels(rng)
        intensities = random_intensities(element, rng)
        told = self._wording.describe(
            element, rng, dictionary=self._dictionary, intensities=intensities
        )
        return {"labels": element, **told._asdict()}


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
                    "degrees": element["degrees"][own],
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
        stacked = {name: np.stack([e[name] for e in examples]) for name in ("labels", "degrees")}
        return {**stacked, "text_tokens": tokens, "text_mask": mask}
