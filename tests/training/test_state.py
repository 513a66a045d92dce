"""Learning rates, optimisers and running means."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from auface_jax.training.optimizers import learning_rate, muon_dimensions, optimizer
from auface_jax.training.state import parameter_count, update_ema

CONFIG = {
    "learning_rate": 0.5,
    "muon_lr_multiplier": 0.0,
    "warmup_steps": 10,
    "lr_decay_fraction": 0.4,
    "b1": 0.9,
    "b2": 0.99,
    "weight_decay": 0.0,
    "clip_norm": 1.0,
}


def rates(num_steps=100, **changes):
    schedule = learning_rate(ml_collections.ConfigDict(CONFIG | changes), num_steps)
    return np.array([float(schedule(step)) for step in range(num_steps + 1)])


def test_learning_rate_warms_up_stays_and_decays_to_zero():
    rate = rates()
    np.testing.assert_allclose(rate[:10], np.linspace(0.05, 0.5, 10), rtol=1e-6)
    np.testing.assert_allclose(rate[9:61], 0.5, rtol=1e-6)
    np.testing.assert_allclose(rate[60:], np.linspace(0.5, 0, 41), atol=1e-6)


def test_learning_rate_without_decay_stays_constant():
    np.testing.assert_allclose(rates(lr_decay_fraction=0.0)[10:100], 0.5, rtol=1e-6)


def test_learning_rate_is_positive_in_a_run_shorter_than_its_warm_up():
    rate = rates(num_steps=6)
    assert np.isfinite(rate).all() and (rate > 0).all()


def test_update_size_does_not_depend_on_the_gradient_scale():
    tx = optimizer(ml_collections.ConfigDict(CONFIG), 100)
    params = {"w": jnp.ones(3)}
    gradient = {"w": jnp.array([1.0, -2.0, 3.0])}
    state = tx.init(params)
    small, _ = tx.update(gradient, state, params)
    large, _ = tx.update({"w": 1e6 * gradient["w"]}, state, params)
    np.testing.assert_allclose(small["w"], large["w"], rtol=1e-3)


PARAMS = {
    "conv_in": {"kernel": jnp.ones((3, 3, 4, 8))},
    "block": {"kernel": jnp.ones((3, 3, 8, 8)), "bias": jnp.ones(8)},
    "dense": {"kernel": jnp.ones((8, 16))},
    "embedding": jnp.ones((32, 8)),
}


def test_muon_updates_only_kernels_of_hidden_layers():
    dimensions = muon_dimensions(PARAMS)
    assert dimensions["block"]["kernel"] == ((0, 1, 2), 3)
    assert dimensions["dense"]["kernel"] == ((0,), 1)
    others = (dimensions["conv_in"]["kernel"], dimensions["block"]["bias"], dimensions["embedding"])
    assert others == (None, None, None)


def updates_of(gradient, **changes):
    config = ml_collections.ConfigDict(
        CONFIG | {"warmup_steps": 1, "lr_decay_fraction": 0.0} | changes
    )
    tx = optimizer(config, 100)
    return tx.update(gradient, tx.init(PARAMS), PARAMS)[0]


def test_muon_evens_out_singular_values_of_the_update():
    """A gradient with unequal singular values becomes an update with nearly equal ones."""
    left, right = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 8)))[0], np.eye(8)
    singular_values = np.linspace(1.0, 0.1, 8)
    gradient = jax.tree.map(jnp.ones_like, PARAMS)
    gradient["dense"]["kernel"] = jnp.asarray((left * singular_values @ right).T, jnp.float32)
    spread = lambda update: np.ptp(np.log(np.linalg.svd(update["dense"]["kernel"])[1]))  # noqa: E731
    assert spread(updates_of(gradient, muon_lr_multiplier=1.0)) < 0.5 * spread(gradient)


def test_muon_updates_stacked_layers_like_separate_layers():
    """Each stacked kernel is a matrix of its own, whatever the norm of its gradient."""
    gradients = jax.random.normal(jax.random.key(0), (3, 8, 16))
    gradients *= jnp.array([1.0, 0.1, 0.01])[:, None, None]
    config = ml_collections.ConfigDict(
        CONFIG | {"warmup_steps": 1, "clip_norm": 0.0, "muon_lr_multiplier": 1.0}
    )
    tx = optimizer(config, 100)

    def update_of(gradient):
        return tx.update(gradient, tx.init(gradient), jax.tree.map(jnp.zeros_like, gradient))[0]

    together = update_of({"blocks": {"mlp": {"kernel": gradients}}})["blocks"]["mlp"]["kernel"]
    apart = {f"blocks_{n}": {"kernel": gradient} for n, gradient in enumerate(gradients)}
    for one, alone in zip(together, update_of(apart).values(), strict=True):
        np.testing.assert_allclose(one, alone["kernel"], rtol=1e-4, atol=1e-6)


def test_clip_norm_zero_leaves_gradients_unclipped():
    gradient = {"w": jnp.array([30.0, -40.0])}
    options = CONFIG | {"warmup_steps": 1, "lr_decay_fraction": 0.0, "clip_norm": 0.0}
    found = optimizer(ml_collections.ConfigDict(options), 100)
    adam = optax.adamw(0.5, 0.9, 0.99, weight_decay=0.0)
    for tx in (found, adam):
        update, _ = tx.update(gradient, tx.init(gradient), gradient)
        np.testing.assert_allclose(update["w"], [-0.5, 0.5], rtol=1e-5)


def test_adam_updates_the_parameters_that_muon_leaves_out():
    keys = jax.random.split(jax.random.key(0), 5)
    leaves, tree = jax.tree.flatten(PARAMS)
    drawn = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    gradient = jax.tree.unflatten(tree, drawn)
    muon = updates_of(gradient, muon_lr_multiplier=2.0)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.nadamw(0.5, 0.9, 0.99, weight_decay=0.0))
    adam, _ = tx.update(gradient, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(muon["conv_in"]["kernel"], adam["conv_in"]["kernel"], rtol=1e-5)
    np.testing.assert_allclose(muon["embedding"], adam["embedding"], rtol=1e-5)
    np.testing.assert_allclose(muon["block"]["bias"], adam["block"]["bias"], rtol=1e-5)
    assert not np.allclose(muon["block"]["kernel"], adam["block"]["kernel"], rtol=0.1)


def test_ema_moves_fast_in_early_steps_and_slowly_later():
    ema, params = {"w": jnp.zeros(2)}, {"w": jnp.array([1.0, -1.0])}
    young = update_ema(ema, params, 0.99, jnp.int32(0))["w"]
    np.testing.assert_allclose(young, 0.9 * params["w"], rtol=1e-6)
    old = update_ema(ema, params, 0.99, jnp.int32(10**6))["w"]
    np.testing.assert_allclose(old, 0.01 * params["w"], rtol=1e-4)
    np.testing.assert_allclose(update_ema(params, params, 0.99, jnp.int32(5))["w"], params["w"])


def test_parameter_count_sums_the_sizes_of_leaves():
    assert parameter_count({"a": jnp.zeros((2, 3)), "b": [jnp.zeros(()), jnp.zeros(4)]}) == 11
    assert parameter_count({}) == 0
