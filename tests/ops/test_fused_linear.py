"""`matrix_product`, `Dense` and `FusedDense` are x W."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from auface_jax.ops.fused_linear import Dense, FusedDense, matrix_product


def inputs():
    return np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype(np.float32)


def value_and_gradients(layer, params, x):
    return jax.value_and_grad(lambda p, x: jnp.sin(layer(p, x)).sum(), (0, 1))(params, x)


def assert_close(found, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, wanted)


def test_dense_with_matrix_product_is_flax_dense_in_value_and_gradient():
    x, plain, ours = inputs(), nn.Dense(7), Dense(7)
    params = plain.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, ours.init(jax.random.key(0), x)
    )
    assert_close(
        value_and_gradients(ours.apply, params, x), value_and_gradients(plain.apply, params, x)
    )


def test_matrix_product_has_a_gradient_that_sums_over_one_dimension():
    x, layer = inputs(), Dense(7)
    params = layer.init(jax.random.key(0), x)
    program = jax.jit(lambda: value_and_gradients(layer.apply, params, x)).lower().as_text()
    assert "contracting_dims = [0, 1, 2] x [0, 1, 2]" not in program


def test_matrix_product_refuses_other_dimension_numbers():
    x = inputs()
    with pytest.raises(ValueError, match="use jax.lax.dot_general"):
        matrix_product(x, x, (((0,), (0,)), ((), ())))


def test_fused_dense_is_a_product_for_each_part_in_value_and_gradient():
    x, layer = inputs(), FusedDense(3, 4, axis="mlp")
    params = layer.init(jax.random.key(0), x)

    def plain(params, x):
        kernels = params["params"]["kernel"].reshape(8, 3, 4)
        return jnp.stack([x @ kernels[:, part] for part in range(3)], axis=-2)

    assert layer.apply(params, x).shape == (2, 3, 5, 3, 4)
    assert_close(value_and_gradients(layer.apply, params, x), value_and_gradients(plain, params, x))
