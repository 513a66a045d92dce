"""Cheaper forms of the transformer compute the same function.

These are a loop over stacked layers, recomputed activations, and logits of masked tokens alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.generation import masking
from auface_jax.models.token_layout import LAYOUTS
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.ops import cross_entropy
from auface_jax.runs import checkpoints
from auface_jax.training.losses import masked_tokens
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny
from tests.helpers.small_maskgit import VOCABULARY, B, K, N, Q, example_inputs, example_tokens


def model_of(layout, **fields):
    sizes = {"layout": layout, "grid": 4, "num_quantizers": Q, "codebook_size": K}
    return VQAUFace(
        text_encoder=tiny.TEXT_FIELDS | {"vocab_size": VOCABULARY},
        face_encoder={"patch": 4, "channels": 8},
        transformer=tiny.TRANSFORMER_FIELDS | sizes | fields,
    )


@functools.cache
def params_of(layout):
    model = model_of(layout)
    return tiny.random_params(model.init, *example_tokens(layout), **example_inputs(), spread=0.1)


def stacked(params):
    """Stacks the parameters of unrolled blocks for the loop."""
    maskgit = dict(params["maskgit"])
    blocks = [maskgit.pop(f"blocks_{i}") for i in range(tiny.TRANSFORMER_FIELDS["num_layers"])]
    maskgit["blocks"] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
    return params | {"maskgit": maskgit}


def value_and_gradient(model, params, layout):
    codes, masked = example_tokens(layout)

    @jax.jit
    def run(params):
        def loss(params):
            logits = model.apply({"params": params}, codes, masked, **example_inputs())
            return jnp.sin(logits).sum(), logits

        return jax.grad(loss, has_aux=True)(params)

    gradient, logits = run(params)
    return logits, gradient


def assert_trees_close(found, wanted, tolerance=2e-4):
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        size = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, atol=tolerance * size, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scanned_layers_equal_unrolled_layers(layout):
    params = params_of(layout)
    logits, gradient = value_and_gradient(model_of(layout), params, layout)
    loop = model_of(layout, scan=True)
    found, found_gradient = value_and_gradient(loop, stacked(params), layout)
    np.testing.assert_allclose(found, logits, atol=1e-4)
    assert_trees_close(found_gradient, stacked(gradient))
    # As many parameters of the same shapes come of its own `init`, each layer with its own draw.
    own = jax.eval_shape(
        lambda key: loop.init(key, *example_tokens(layout), **example_inputs()), jax.random.key(0)
    )["params"]
    assert jax.tree.map(lambda p: p.shape, nn.unbox(own)) == jax.tree.map(
        lambda p: p.shape, stacked(params)
    )
    # Decoding asks for keys and values once and passes the trunk many times.
    codes, masked = example_tokens(layout)
    apply = functools.partial(loop.apply, {"params": stacked(params)})
    context, _ = apply(**example_inputs(), method="context")
    keys_values = apply(context, method="keys_values")
    hidden = apply(codes, masked, context, keys_values, method="trunk")
    features = apply(hidden, codes, 0, method="level_features")
    level0 = apply(features, 0, method="code_logits")
    np.testing.assert_allclose(level0, logits[:, :, 0], atol=1e-4)


@pytest.mark.slow
def test_scanned_layers_have_different_initial_values():
    loop = model_of("depth", scan=True)
    init = jax.jit(lambda key: loop.init(key, *example_tokens("depth"), **example_inputs()))
    blocks = init(jax.random.key(0))["params"]["maskgit"]["blocks"]
    for leaf in (blocks["self_attention"]["qkv"]["kernel"], blocks["pooled"]["kernel"]):
        assert leaf.shape[0] == 2 and (leaf[0] != leaf[1]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "scan"), [("products", True), ("nothing", False)])
def test_rematerialisation_does_not_change_the_gradient(policy, scan):
    params = stacked(params_of("flat")) if scan else params_of("flat")
    wanted = value_and_gradient(model_of("flat", scan=scan), params, "flat")
    found = value_and_gradient(model_of("flat", scan=scan, remat=policy), params, "flat")
    assert_trees_close(found, wanted)


def test_unknown_remat_policy_is_refused():
    with pytest.raises(ValueError, match="transformer.remat='all' is not one of '', 'nothing'"):
        jax.eval_shape(
            lambda key: model_of("flat", remat="all").init(
                key, *example_tokens("flat"), **example_inputs()
            ),
            jax.random.key(0),
        )


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "full"), [("flat", 0.0), ("depth", 0.3)])
def test_logits_at_masked_tokens_give_the_same_loss_and_gradient(layout, full):
    model, params = model_of(layout), params_of(layout)
    tokens = {"positions": N, "num_quantizers": Q, "layout": layout, "full": full}
    codes, _ = example_tokens(layout)
    weights, smoothing = (2.0, 1.0, 0.5)[:Q], 0.1
    masked = masking.training_mask(jax.random.key(5), B, **tokens, group=B)
    most = masking.max_masked_tokens(B, **tokens)
    assert most < B * N  # something is saved

    def loss(alone, params):
        apply = functools.partial(model.apply, {"params": params})
        context, _ = apply(**example_inputs(), method="context")
        if not alone:
            logits, targets = apply(codes, masked, context, method="logits_at")
            assert targets.shape == codes.shape
            return masked_tokens.masked_cross_entropy(logits, codes, masked, smoothing, weights)
        places, hidden = masking.masked_token_indices(masked, group=B, count=most, layout=layout)
        logits, targets = apply(codes, masked, context, places, method="logits_at")
        assert [x.shape for x in logits] == [(1, most, K)] * Q and logits[0].dtype == jnp.float32
        hidden = jnp.broadcast_to(hidden, targets.shape)
        return masked_tokens.masked_cross_entropy(logits, targets, hidden, smoothing, weights)

    results = [
        jax.jit(jax.value_and_grad(functools.partial(loss, alone), has_aux=True))(params)
        for alone in (False, True)
    ]
    (((whole, levels), gradient), ((alone, levels_alone), gradient_alone)) = results
    assert float(alone) == pytest.approx(float(whole), rel=1e-6)
    np.testing.assert_allclose(levels_alone, levels, rtol=1e-6)
    assert_trees_close(gradient_alone, gradient, 1e-5)


@pytest.mark.slow
def test_quantizers_per_step_keeps_loss_and_gradient_in_expectation():
    """The expectation over assignments of levels is the loss of all levels, divided by Q."""
    model, params = model_of("depth"), params_of("depth")
    tokens = {"positions": N, "num_quantizers": Q, "layout": "depth", "full": 0.3}
    codes, _ = example_tokens("depth")
    masked = masking.training_mask(jax.random.key(5), B, **tokens, group=B)
    most = masking.max_masked_tokens(B, **tokens)

    @functools.partial(jax.jit, static_argnames="at_once")
    def result(params, key, at_once):
        def loss(params):
            apply = functools.partial(model.apply, {"params": params})
            context, _ = apply(**example_inputs(), method="context")
            places, hidden = masking.masked_token_indices(
                masked, group=B, count=most, layout="depth", quantizers_per_step=at_once, rng=key
            )
            logits, targets = apply(codes, masked, context, places, method="logits_at")
            if at_once:
                assert logits[0].shape[1] == -(-most // Q)
            found = [cross_entropy.cross_entropy(x, targets[..., q]) for q, x in enumerate(logits)]
            return jnp.where(hidden, jnp.stack(found, axis=-1), 0.0).sum()

        return jax.value_and_grad(loss)(params)

    whole, gradient = result(params, jax.random.key(0), 0)
    draws = [result(params, jax.random.key(seed), 1) for seed in range(40 * Q)]
    value = np.mean([float(one) for one, _ in draws])
    assert value == pytest.approx(float(whole) / Q, rel=0.02)
    mean = np.mean([np.asarray(g["maskgit"]["head_bias"]) for _, g in draws], axis=0)
    wanted = np.asarray(gradient["maskgit"]["head_bias"]) / Q
    assert np.linalg.norm(mean - wanted) < 0.15 * np.linalg.norm(wanted)


def test_quantizers_per_step_needs_mask_groups(tmp_path):
    config = tiny.stage2_config()
    config.speed.quantizers_per_step = 1
    with pytest.raises(ValueError, match="quantizers_per_step=1 needs mask_group"):
        tiny.stage2_task(config)


@pytest.mark.slow
def test_flat_model_of_2048_tokens_with_the_papers_switches_takes_a_step(tmp_path):
    """The model has 256 positions of 8 levels, all switches of the preset and tiny widths."""
    stage1, paper = tiny.stage1_config(), tiny.load_config("stage2", "paper")
    stage1.model.update({"image_size": 32, "channels": (8,), "num_quantizers": 8})
    config = tiny.stage2_config()
    config.model.transformer.update(
        paper.model.transformer.to_dict() | {"d_model": 16, "num_heads": 2}
    )
    config.model.transformer.num_layers = 3
    config.model.dtype = paper.model.dtype
    config.speed.mask_group = paper.speed.mask_group
    config.update({"batch_size": 2, "full_mask_prob": 0.0})
    config.loss.update(paper.loss.to_dict())
    config.augment.update({"shift": 0, "tint": 0.0})
    config.requires.stage1.run = str(tmp_path / "stage1")
    assert paper.model.transformer.scan and paper.model.transformer.remat
    assert paper.speed.mask_group == 2

    vqgan_task = make_task(stage1, 10)
    images = {"image": np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)}
    stage1_state = jax.jit(vqgan_task.init)(jax.random.key(0), images)
    checkpoints.save_export(tmp_path / "stage1", vqgan_task.export(stage1_state), stage1, {})
    task = make_task(config, 10)
    assert task.vqgan.grid**2 * task.vqgan.num_quantizers == 2048
    batch = tiny.records(2, vocab_size=load_tokenizer("").vocab_size)
    batch |= {
        name: np.repeat(np.repeat(batch[name], 2, 1), 2, 2) for name in ("image", "reference")
    }
    state = jax.jit(task.init)(jax.random.key(0), batch)
    frozen = task.load_frozen()
    after, metrics = jax.jit(task.step)(state, frozen, batch, jax.random.key(1))
    assert all(np.isfinite(value) for value in metrics.values())
    # An untrained model has everything to learn, and the step has moved all of its layers.
    assert float(metrics["loss"]) == pytest.approx(np.log(task.vqgan.codebook_size), rel=0.1)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), after.params, state.params)
    assert min(jax.tree.leaves(moved["maskgit"]["blocks"])) > 0
