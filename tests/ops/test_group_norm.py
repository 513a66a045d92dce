"""`GroupNorm` is Flax's group normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from auface_jax.ops.group_norm import GroupNorm


@pytest.mark.parametrize("channels", [3, 96])
def test_group_norm_is_flax_group_norm_in_value_and_gradient(channels):
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 4, 6, channels))
    ours = GroupNorm()
    variables = ours.init(jax.random.key(1), x)
    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    variables = jax.tree.unflatten(structure, leaves)
    flax = nn.GroupNorm(num_groups=min(32, channels // 4) or 1, epsilon=1e-6)

    def value_and_gradients(layer):
        def loss(variables, x):
            y = layer.apply(variables, x)
            return jnp.sin(y).sum(), y

        (_, y), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(variables, x)
        return y, gradients

    (found, gradients), (wanted, wanted_gradients) = map(value_and_gradients, (ours, flax))
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), gradients, wanted_gradients
    )
