"""Pictures of a run for the records of a population."""

import numpy as np
import pytest

from auface_jax.evaluation import draw_system
from auface_jax.evaluation.draw_system import draw
from auface_jax.evaluation.population import load_population
from auface_jax.generation.generator import Generator


def test_picture_does_not_depend_on_the_other_records(runs, data):
    generator = Generator.from_run(runs["stage2"])
    every, few = load_population(data), load_population(data, limit=4)
    indices = [every.record_ids.index(name) for name in few.record_ids]
    whole, part = draw(generator, every, seed=3), draw(generator, few, seed=3)
    np.testing.assert_array_equal(whole[indices], part)
    np.testing.assert_array_equal(draw(generator, every, np.array(indices[:2]), seed=3), part[:2])
    assert (draw(generator, few, seed=4) != part).any()


@pytest.mark.slow
def test_picture_does_not_depend_on_the_bucket_of_its_text(runs, data, monkeypatch):
    generator = Generator.from_run(runs["stage2"])
    population = load_population(data)
    generator.config.data.buckets = (128,)
    tokens = generator.encode(population.texts)[1].sum(1)
    cut = int(np.median(tokens))
    whole = draw(generator, population, seed=3)
    lengths = []
    monkeypatch.setattr(
        draw_system,
        "generate_batch",
        lambda networks, options, weights, records, keys, made=draw_system.generate_batch: (
            lengths.append(records["text_tokens"].shape[1])
            or made(networks, options, weights, records, keys)
        ),
    )
    generator.config.data.buckets = (cut, 128)
    np.testing.assert_array_equal(draw(generator, population, seed=3), whole)
    assert set(lengths) == {cut, 128}
