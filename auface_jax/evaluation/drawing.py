"""The pictures of a Stage II run for the records of a population."""

import functools
import math
from collections.abc import Iterator

import jax
import numpy as np
import tqdm
from jaxtyping import Array, Int, UInt8

from auface_jax.decode import DecodeOptions
from auface_jax.evaluation.population import Population
from auface_jax.generator import Generator
from auface_jax.metrics.features import extract
from auface_jax.synthesis import generate_batch

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
    drawn.

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
    return extract(function, generator.weights, _batches(records, step, title), batch_size=step)


def _draw(networks, options, weights, batch: dict[str, Array]) -> UInt8[Array, "B S S 3"]:
    records = {name: value for name, value in batch.items() if name != "keys"}
    return generate_batch(networks, options, weights, records, batch["keys"])


def _batches(records: dict[str, np.ndarray], step: int, title: str) -> Iterator[dict]:
    total = len(records["keys"])
    with tqdm.tqdm(total=total, desc=title, unit="picture", mininterval=5) as bar:
        for start in range(0, total, step):
            batch = {name: value[start : start + step] for name, value in records.items()}
            yield batch
            bar.update(len(batch["keys"]))
