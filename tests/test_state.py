"""Learning rates, optimisers and running means."""

import jax.numpy as jnp
import ml_collections
import numpy as np

from auface_jax.state import learning_rate, optimizer, parameter_count, update_ema

CONFIG = {
    "learning_rate": 0.5,
    "warmup": 10,
    "decay": 0.4,
    "b1": 0.9,
    "b2": 0.99,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
}


def rates(num_steps=100, **changes):
    schedule = learning_rate(ml_collections.ConfigDict(CONFIG | changes), num_steps)
    return np.array([float(schedule(step)) for step in range(num_steps + 1)])


def test_the_rate_rises_stays_and_falls_to_zero():
    rate = rates()
    np.testing.assert_allclose(rate[:10], np.linspace(0.05, 0.5, 10), rtol=1e-6)
    np.testing.assert_allclose(rate[9:61], 0.5, rtol=1e-6)
    np.testing.assert_allclose(rate[60:], np.linspace(0.5, 0, 41), atol=1e-6)


def test_without_decay_the_rate_stays_to_the_last_step():
    np.testing.assert_allclose(rates(decay=0.0)[10:100], 0.5, rtol=1e-6)


def test_a_run_shorter_than_its_warm_up_has_a_rate():
    rate = rates(num_steps=6)
    assert np.isfinite(rate).all() and (rate > 0).all()


def test_an_update_does_not_grow_with_the_gradient():
    tx = optimizer(ml_collections.ConfigDict(CONFIG), 100)
    params = {"w": jnp.ones(3)}
    gradient = {"w": jnp.array([1.0, -2.0, 3.0])}
    state = tx.init(params)
    small, _ = tx.update(gradient, state, params)
    large, _ = tx.update({"w": 1e6 * gradient["w"]}, state, params)
    np.testing.assert_allclose(small["w"], large["w"], rtol=1e-3)


def test_a_running_mean_is_young_first_and_slow_later():
    ema, params = {"w": jnp.zeros(2)}, {"w": jnp.array([1.0, -1.0])}
    young = update_ema(ema, params, 0.99, jnp.int32(0))["w"]
    np.testing.assert_allclose(young, 0.9 * params["w"], rtol=1e-6)
    old = update_ema(ema, params, 0.99, jnp.int32(10**6))["w"]
    np.testing.assert_allclose(old, 0.01 * params["w"], rtol=1e-4)
    np.testing.assert_allclose(update_ema(params, params, 0.99, jnp.int32(5))["w"], params["w"])


def test_parameters_are_counted_leaf_by_leaf():
    assert parameter_count({"a": jnp.zeros((2, 3)), "b": [jnp.zeros(()), jnp.zeros(4)]}) == 11
    assert parameter_count({}) == 0
