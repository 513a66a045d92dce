"""Losses of units, degrees and intensities against hand-computed values."""

import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.training.losses.units import degree_cross_entropy, intensity_error


def test_intensities_count_where_they_are_known():
    read = jnp.array([[0.5, 0.9, 0.1]])
    assert intensity_error(read, jnp.array([[0.7, -1.0, 0.0]])) == pytest.approx(0.05 / 2)
    assert intensity_error(read, jnp.array([[-1.0, -1.0, -1.0]])) == 0


def test_degrees_count_where_a_unit_is_present():
    logits = np.zeros((1, 3, 6), np.float32)
    logits[0, 0, 2] = 50.0  # sure of B
    degrees, labels = jnp.array([[2, 5, 0]]), jnp.array([[1, 1, 0]])
    found = degree_cross_entropy(jnp.asarray(logits), degrees, labels)
    assert found == pytest.approx(np.log(6) / 2, abs=1e-5)
    assert degree_cross_entropy(jnp.asarray(logits), degrees, 0 * labels) == 0
