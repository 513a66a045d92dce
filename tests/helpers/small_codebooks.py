"""Small codebooks, and vectors for quantisation."""

import jax.numpy as jnp
import numpy as np

from auface_jax.models.quantizer import Codebooks

Q, K, C = 3, 8, 4


def books(seed=0, *, num_quantizers=Q, codes=K, width=C):
    """Draws random codebooks with equal counts."""
    rng = np.random.default_rng(seed)
    codes_ = rng.normal(size=(num_quantizers, codes, width)).astype(np.float32)
    counts = np.full((num_quantizers, codes), 1 / codes, np.float32)
    return Codebooks(
        jnp.asarray(codes_), jnp.asarray(counts), jnp.asarray(codes_ * counts[..., None])
    )


def vectors(count, seed=1, width=C):
    """Draws random vectors [count, width]."""
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
