"""Options of Stage I: microbatches, R1, the LPIPS loss, rematerialisation, bfloat16."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from auface_jax.images import pixels
from auface_jax.models.vqgan import VQGAN, Encoder
from auface_jax.pretrained import convert, lpips
from auface_jax.runs import checkpoints
from auface_jax.training.losses import adversarial, reconstruction
from auface_jax.training.losses.networks import load_lpips_loss
from auface_jax.training.tasks import vqgan as vqgan_task
from auface_jax.training.tasks.vqgan import VQGANTask
from auface_jax.training.tasks.vqgan_gradients import gradients
from tests.helpers import tiny
from tests.helpers.untrained_lpips import untrained

BATCH = tiny.records(8)


def task_of(*, gan=0.0, **options):
    config = tiny.stage1_config()
    config.update({"batch_size": 8} | options)
    config.gan.update({"weight": gan, "start_step": 0})
    return VQGANTask(config, num_steps=100)


def initial_state(task):
    """Returns a state whose last convolution is no longer zero."""
    return tiny.awake(tiny.stage1_state(), task)


@pytest.mark.slow
def test_networks_never_see_more_images_than_a_microbatch(monkeypatch):
    task, seen = task_of(num_microbatches=4), set()  # microbatches of two images

    def note(call, arguments, options, context):
        if isinstance(context.module, Encoder) and context.method_name == "__call__":
            seen.add(len(arguments[0]))
        return call(*arguments, **options)

    with nn.intercept_methods(note):
        jax.eval_shape(task.init, jax.random.key(0), BATCH)
    assert seen and max(seen) <= 2
    image = np.arange(20.0).reshape(10, 2)
    np.testing.assert_array_equal(task._in_parts(lambda images: 2 * images, image), 2 * image)

    def refuse(*arguments, batch_size):
        raise RuntimeError(f"{batch_size} images")

    monkeypatch.setattr(vqgan_task, "map_batches", refuse)
    for evaluate in (task.evaluate, lambda *_: task._plots({}, BATCH["image"], None)):
        with pytest.raises(RuntimeError, match="^2 images"):
            evaluate(tiny.stage1_state(), {}, {"test": BATCH})


def step_of(task):
    """Runs one step and returns its gradients, its new codebooks and its metrics."""
    with pytest.MonkeyPatch.context() as patched:
        keep = lambda *_: optax.chain(optax.trace(0.0), optax.scale(0.0))  # noqa: E731
        patched.setattr(vqgan_task, "optimizer", keep)
        new, metrics = jax.jit(task.step)(initial_state(task), {}, BATCH, jax.random.key(1))
    found = {name: new.opt_state[name][0].trace for name in new.opt_state}
    return found, new.variables["codebooks"], metrics


def assert_close(tree, other, tolerance=1e-5):
    size = float(optax.tree.norm(other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance * size), tree, other)


# --- Microbatches --------------------------------------------------------------------------------


@pytest.mark.slow
def test_microbatches_give_the_gradient_of_the_whole_batch():
    parts, whole = (step_of(task_of(num_microbatches=number)) for number in (4, 1))
    for ours, wanted in zip(parts, whole, strict=True):
        assert_close(ours, wanted)
    assert float(whole[2]["grad_norm"]) > 0.01


@pytest.mark.slow
def test_adversarial_gradient_is_the_mean_over_microbatches():
    task = task_of(gan=0.5, num_microbatches=2)
    found, _, metrics = step_of(task)
    with_adversary = {"adversarial": True, "penalty": False}
    of_part = jax.jit(
        functools.partial(
            gradients, task, {}, state=initial_state(task), frozen={}, **with_adversary
        )
    )
    parts = [of_part(image=BATCH["image"][start::2]) for start in range(2)]
    wanted, of_losses = (
        jax.tree.map(lambda a, b: (a + b) / 2, parts[0][i], parts[1][i]) for i in (0, 2)
    )
    assert_close(found, wanted)
    for name, value in of_losses.items():
        assert metrics[name] == pytest.approx(float(value), rel=1e-4, abs=1e-6)
    assert float(optax.tree.norm(found["discriminator"])) > 0


def test_num_microbatches_must_divide_the_batch_size():
    with pytest.raises(ValueError, match=r"num_microbatches=3 .* batch_size=8"):
        task_of(num_microbatches=3)


# --- R1 ------------------------------------------------------------------------------------------


def test_r1_of_a_linear_discriminator_is_its_squared_weight_norm():
    rng = np.random.default_rng(0)
    weights, image = rng.normal(size=(2, 4, 4, 3)), rng.normal(size=(3, 4, 4, 3))

    def discriminate(x):  # two patches
        return jnp.einsum("bhwc,phwc->bp", x, weights)[..., None] + 7.0

    want = np.square(weights.mean(0)).sum()
    assert adversarial.r1_penalty(discriminate, jnp.asarray(image)) == pytest.approx(want, rel=1e-5)


@pytest.mark.slow
def test_lazy_r1_is_scaled_by_its_interval():
    config = {"weight": 3.0, "every": 4}
    task = task_of(gan=0.5)
    task.config.gan.r1.update(config)
    names = [task.step_fn(number).__name__ for number in range(1, 10)]
    assert names == 2 * (3 * ["step"] + ["step_with_penalty"]) + ["step"]
    image = pixels.to_float(BATCH["image"])

    def found(penalty):
        options = {"adversarial": True, "penalty": penalty}
        grads, _, metrics = jax.jit(functools.partial(gradients, task, {}, **options))(
            state=initial_state(task), frozen={}, image=BATCH["image"]
        )
        return grads["discriminator"], metrics

    def r1(params):
        discriminate = lambda x: task.discriminator.apply({"params": params}, x)  # noqa: E731
        return adversarial.r1_penalty(discriminate, image)

    without, _ = found(penalty=False)
    at_work, metrics = found(penalty=True)
    params = initial_state(task).params["discriminator"]
    value, pull = jax.jit(jax.value_and_grad(r1))(params)
    assert metrics["loss/r1"] == pytest.approx(float(value), rel=1e-4) and value > 0
    wanted = jax.tree.map(lambda a, b: a + 0.5 * 3.0 * 4 * b, without, pull)
    assert_close(at_work, wanted)


# --- LPIPS ---------------------------------------------------------------------------------------


def test_lpips_loss_equals_the_lpips_metric(tmp_path, monkeypatch):
    module, variables = untrained()
    monkeypatch.setattr(lpips, "load_lpips", lambda *_: (module, variables))
    folders = []
    for number, name in enumerate(("backbone", "heads")):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        source = {"source": {"sha256": str(number)}}
        (folders[-1] / convert.DESCRIPTION).write_text(json.dumps(source))
    network = load_lpips_loss(*map(str, folders))
    rng = np.random.default_rng(0)
    one, other = rng.uniform(-1, 1, (2, 3, 40, 40, 3)).astype(np.float32)
    found = reconstruction.lpips(*(network.features(variables, image) for image in (one, other)))
    want = module.apply(variables, one, other).mean()
    assert found == pytest.approx(float(want), rel=1e-4) and want > 0.01
    assert network.name == "LPIPS(alexnet)" and len(network.fingerprint) == 64


def test_missing_lpips_weights_error_states_the_cure():
    with pytest.raises(checkpoints.CheckpointError, match=r"lpips.heads=''.*lpips-vgg16"):
        load_lpips_loss("weights/vgg16", "")
    config = tiny.stage1_config()
    config.loss.lpips = 1.0
    with pytest.raises(checkpoints.CheckpointError, match=r"lpips.backbone=''"):
        VQGANTask.from_config(config, num_steps=1)


# --- Memory and precision ------------------------------------------------------------------------


@pytest.mark.slow
def test_remat_leaves_loss_and_gradient_unchanged():
    image = pixels.to_float(tiny.images(4))
    fields = tiny.VQGAN_FIELDS | {"num_res_blocks": 2, "patch_skip": False}
    kept, again = VQGAN(**fields), VQGAN(**fields, remat=True)
    z = jnp.ones((4, kept.grid, kept.grid, kept.latent_dim))

    def trained(vqgan):
        params = {
            "encoder": jax.jit(vqgan.encoder.init)(jax.random.key(0), image)["params"],
            "decoder": jax.jit(vqgan.decoder.init)(jax.random.key(1), z)["params"],
        }

        @jax.jit
        def graded(params):
            def loss(params):
                z = vqgan.encoder.apply({"params": params["encoder"]}, image)
                return jnp.square(vqgan.decoder.apply({"params": params["decoder"]}, z)).mean()

            return jax.value_and_grad(loss)(params)

        return params, graded(params)

    ours, wanted = trained(again), trained(kept)
    jax.tree.map(np.testing.assert_array_equal, ours[0], wanted[0])
    assert_close(ours[1], wanted[1])


@pytest.mark.slow
def test_bfloat16_training_keeps_parameters_in_float32():
    task = task_of(gan=0.5)
    task.config.model.dtype = "bfloat16"
    task.config.optimizer.muon_lr_multiplier = 0.0
    state, step = initial_state(task), jax.jit(task.step)
    for number in range(20):
        state, metrics = step(state, {}, BATCH, jax.random.key(number))
        assert all(np.isfinite(value) for value in metrics.values())
    kept = {leaf.dtype for leaf in jax.tree.leaves((state.params, state.variables["codebooks"]))}
    assert kept == {jnp.dtype("float32")}
    hlo = jax.jit(task.step).lower(state, {}, BATCH, jax.random.key(0)).as_text()
    products = [line for line in hlo.splitlines() if "dot_general" in line and "HIGHEST" in line]
    assert len(products) == 1, (
        "only the distances to the codebook are computed at HIGHEST precision"
    )
    assert "tensor<8x128xf32>) -> tensor<16x128xf32>" in products[0]
