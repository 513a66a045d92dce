"""`cross_entropy` is optax's softmax cross-entropy with smoothed labels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from auface_jax.ops.cross_entropy import cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_cross_entropy_is_optax_softmax_cross_entropy_in_value_and_gradient(smoothing, dtype):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(20.0 * rng.normal(size=(3, 4, 2, 7)), dtype)
    labels, weights = rng.integers(0, 7, (3, 4, 2)), rng.random((3, 4, 2))

    def plain(logits):
        targets = optax.smooth_labels(jax.nn.one_hot(labels, 7), smoothing)
        return (optax.softmax_cross_entropy(logits.astype(jnp.float32), targets) * weights).sum()

    def fused(logits):
        return (cross_entropy(logits, labels, smoothing) * weights).sum()

    (value, gradient), (wanted_value, wanted) = (
        jax.value_and_grad(function)(logits) for function in (fused, plain)
    )
    assert gradient.dtype == dtype
    exact = dtype == jnp.float32  # else the gradient, and a mean of logits, are rounded
    np.testing.assert_allclose(value, wanted_value, rtol=1e-5 if exact else 2e-3)
    gradient, wanted = (x.astype(jnp.float32) for x in (gradient, wanted))
    np.testing.assert_allclose(gradient, wanted, atol=1e-6 if exact else 4e-3)
