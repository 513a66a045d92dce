"""Pictures of a Stage II run for the records of a population."""

import functools
import math
from collections.abc import Iterator

import jax
import numpy as np
import tqdm
from jaxtyping import Array, Int, UInt8

from auface_jax.evaluation.population import Population
from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.generation.generator import Generator
from auface_jax.generation.stages import Networks, generate_batch
from auface_jax.metrics.features import PyTree, extract

_BATCH = 32  # least number of examples of a step


def batch_size(least: int = _BATCH) -> int:
    """Returns the smallest multiple of the number of devices that is not under `least`."""
    return math.ceil(least / jax.device_count()) * jax.device_count()


def draw(
    generator: Generator,
    population: Population,
    indices: Int[np.ndarray, " K"] | None = None,
    *,
    seed: int,
    title: str = "drawing",
) -> UInt8[np.ndarray, "K S S 3"]:
    """Draws a picture for each record, or for those at `indices`.

    A picture depends on the seed and on its record's index in the split, not on the other pictures.
    Records whose texts fall into one bucket of tokens share batches, so that one long text does not
    lengthen all others.

    Args:
      generator: the run.
      population: the records.
      indices: indices of the records to draw, into the population; None draws all of them.
      seed: seed of the pictures.
      title: title of the progress bar.

    Raises:
      ValueError: the run draws pictures of another size than the data set's.
    """
    size = generator.vqgan.image_size
    if size != population.size:
        raise ValueError(
            f"the run draws pictures of {size} px, {population.data} holds {population.size} px; "
            f"build a data set with --size {size}"
        )
    indices = np.arange(len(population)) if indices is None else indices
    tokens, mask = generator.encode([population.texts[index] for index in indices])
    base = jax.random.key(seed)
    of_split = population.split_indices[indices]
    keys = jax.vmap(lambda index: jax.random.fold_in(base, index))(of_split)
    records = {
        "reference": population.reference[indices],
        "text_tokens": tokens,
        "text_mask": mask,
        "labels": population.asked[indices],
        "keys": np.asarray(jax.random.key_data(keys)),
    }
    options = DecodeOptions(**generator.config.decode)
    function = functools.partial(_draw, generator.networks, options)
    step = batch_size()
    buckets = np.array(generator.config.data.buckets)
    lengths = buckets[np.searchsorted(buckets, mask.sum(1))]
    made = np.zeros((len(indices), size, size, 3), np.uint8)
    with tqdm.tqdm(total=len(indices), desc=title, unit="picture", mininterval=5) as bar:
        for length in np.unique(lengths):
            of_length = np.flatnonzero(lengths == length)
            batches = _batches(records, of_length, length, step, bar)
            made[of_length] = extract(function, generator.weights, batches, batch_size=step)
    return made


def _draw(
    networks: Networks, options: DecodeOptions, weights: PyTree, batch: dict[str, Array]
) -> UInt8[Array, "B S S 3"]:
    records = {name: value for name, value in batch.items() if name != "keys"}
    return generate_batch(networks, options, weights, records, batch["keys"])


def _batches(
    records: dict[str, np.ndarray],
    indices: Int[np.ndarray, " K"],
    length: int,
    step: int,
    bar: tqdm.tqdm,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the records at `indices`, `step` at a time, their texts cut to `length` tokens."""
    for start in range(0, len(indices), step):
        some = indices[start : start + step]
        batch = {name: value[some] for name, value in records.items()}
        for name in ("text_tokens", "text_mask"):
            batch[name] = batch[name][:, :length]
        yield batch
        bar.update(len(some))
