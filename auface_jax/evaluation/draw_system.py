"""The pictures of a Stage II run for the records of a population."""

import functools
import math
from collections.abc import Iterator

import jax
import numpy as np
import tqdm
from jaxtyping import Array, Int, UInt8

from auface_jax.evaluation.population import Population
from auface_jax.generation.decode import DecodeOptions
from auface_jax.generation.generator import Generator
from auface_jax.generation.stages import generate_batch
from auface_jax.metrics.features import extract

_BATCH = 32  # rows of a step, at least; a multiple of the number of devices


def batch_size(least: int = _BATCH) -> int:
    """The smallest multiple of the number of devices that is not under `least`."""
    return math.ceil(least / jax.device_count()) * jax.device_count()


def draw(
    generator: Generator,
    population: Population,
    rows: Int[np.ndarray, " K"] | None = None,
    *,
    seed: int,
    title: str = "drawing",
) -> UInt8[np.ndarray, "K S S 3"]:
    """A picture for each record, or for `rows` of them.

    A picture depends on the seed and on its record's place in the split, not on which others are
    drawn. Records whose texts have one bucket of tokens share batches, so that one long text does
    not make all others as long.

    Raises:
      ValueError: the run draws pictures of another size than the data set's.
    """
    size = generator.vqgan.image_size
    if size != population.size:
        raise ValueError(
            f"the run draws pictures of {size} px, {population.data} holds {population.size} px; "
            f"build a data set with --size {size}"
        )
    rows = np.arange(len(population)) if rows is None else rows
    tokens, mask = generator.encode([population.texts[row] for row in rows])
    base = jax.random.key(seed)
    keys = jax.vmap(lambda place: jax.random.fold_in(base, place))(population.places[rows])
    records = {
        "reference": population.reference[rows],
        "text_tokens": tokens,
        "text_mask": mask,
        "labels": population.asked[rows],
        "keys": np.asarray(jax.random.key_data(keys)),
    }
    options = DecodeOptions(**generator.config.decode)
    function = functools.partial(_draw, generator.networks, options)
    step = batch_size()
    buckets = np.array(generator.config.data.buckets)
    lengths = buckets[np.searchsorted(buckets, mask.sum(1))]
    made = np.zeros((len(rows), size, size, 3), np.uint8)
    with tqdm.tqdm(total=len(rows), desc=title, unit="picture", mininterval=5) as bar:
        for length in np.unique(lengths):
            alike = np.flatnonzero(lengths == length)
            batches = _batches(records, alike, length, step, bar)
            made[alike] = extract(function, generator.weights, batches, batch_size=step)
    return made


def _draw(networks, options, weights, batch: dict[str, Array]) -> UInt8[Array, "B S S 3"]:
    records = {name: value for name, value in batch.items() if name != "keys"}
    return generate_batch(networks, options, weights, records, batch["keys"])


def _batches(
    records: dict[str, np.ndarray], rows: np.ndarray, length: int, step: int, bar: tqdm.tqdm
) -> Iterator[dict[str, np.ndarray]]:
    """The rows, `step` at a time, with their texts cut to `length` tokens."""
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        batch = {name: value[some] for name, value in records.items()}
        for name in ("text_tokens", "text_mask"):
            batch[name] = batch[name][:, :length]
        yield batch
        bar.update(len(some))
