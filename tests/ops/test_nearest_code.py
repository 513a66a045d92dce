"""`nearest_code` is argmin |v - c|²."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from auface_jax.ops import nearest_code as module
from auface_jax.ops.nearest_code import nearest_code
from tests.helpers.small_codebooks import books, vectors


def squared_distances(z, codebook):
    return np.square(z[:, None].astype(np.float64) - np.asarray(codebook, np.float64)).sum(-1)


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=12, max_size=12))
def test_nearest_code_is_argmin_and_the_first_on_a_tie(points):
    # Small whole numbers: distances are exact, and many codes tie or coincide.
    z, codebook = np.array(points[:5], np.float32), np.array(points[5:], np.float32)
    np.testing.assert_array_equal(
        nearest_code(z, codebook), squared_distances(z, codebook).argmin(-1)
    )


def test_nearest_code_does_not_depend_on_the_chunks():
    z, codebook = vectors(2 * module.CHUNK_SIZE + 37), books(codes=32).codes[0]
    found = jax.jit(nearest_code)(z, codebook)
    np.testing.assert_array_equal(found, squared_distances(z, codebook).argmin(-1))
