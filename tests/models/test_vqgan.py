"""Encoder and decoder, their linear start, and Stage I's step with its adversarial loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from auface_jax.images import pixels
from auface_jax.models import codebook_learning, quantizer
from auface_jax.models.layers import depth_to_space, space_to_depth
from auface_jax.models.vqgan import VQGAN, principal_components
from auface_jax.training.losses import reconstruction
from auface_jax.training.losses.adversarial import adversarial_generator
from auface_jax.training.tasks import vqgan as vqgan_task
from auface_jax.training.tasks.vqgan import VQGANTask
from tests.helpers import tiny

START_STEP = 1_000


def task_of(**gan):
    config = tiny.stage1_config()
    config.gan.update({"weight": 0.5, "start_step": START_STEP} | gan)
    config.optimizer.update({"lr_decay_fraction": 0.0, "learning_rate": 5e-3})
    return VQGANTask(config, num_steps=100)


@functools.cache
def started():
    """Makes a task whose adversarial loss starts late, its state at step 0, its compiled step."""
    task = task_of()
    return task, tiny.stage1_state(), jax.jit(task.step_fn(1))


def weights_of(state):
    return {"params": state.params["generator"], "codebooks": state.variables["codebooks"]}


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def differs(tree, other):
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    return any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)


# --- Layers and networks -------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_depth_to_space_inverts_space_to_depth(factor):
    x = np.random.default_rng(0).normal(size=(2, 8, 12, 3))
    folded = space_to_depth(x, factor)
    np.testing.assert_array_equal(depth_to_space(folded, factor), x)
    patch = x[1, factor : 2 * factor, 2 * factor : 3 * factor]
    np.testing.assert_array_equal(folded[1, 1, 2], patch.reshape(-1))


@pytest.mark.parametrize("patch_skip", [True, False])
@pytest.mark.parametrize("attention", [True, False])
def test_encode_and_decode_have_matching_shapes(patch_skip, attention):
    vqgan = VQGAN(**tiny.VQGAN_FIELDS | {"patch_skip": patch_skip, "attention": attention})
    assert vqgan.grid == 4 and vqgan.bits_per_image == 4 * 4 * 2 * 4
    image = pixels.to_float(tiny.images(3))
    z = jnp.zeros((1, vqgan.grid, vqgan.grid, vqgan.latent_dim))

    @jax.jit
    def there_and_back(key):
        params = {
            "encoder": vqgan.encoder.init(key, image)["params"],
            "decoder": vqgan.decoder.init(key, z)["params"],
        }
        codebooks = codebook_learning.init_kmeans(
            key, jax.random.normal(key, (99, 8)), num_quantizers=2, codebook_size=16
        )
        weights = {"params": params, "codebooks": codebooks}
        codes = vqgan.encode(weights, image)
        return codes, [vqgan.decode(weights, codes, levels) for levels in (1, 2, None)]

    codes, (coarse, fine, whole) = there_and_back(jax.random.key(0))
    assert codes.shape == (3, 4, 4, 2) and codes.dtype == jnp.int32
    assert codes.min() >= 0 and codes.max() < 16
    assert whole.shape == image.shape and whole.dtype == jnp.float32
    np.testing.assert_array_equal(fine, whole)
    if not patch_skip:  # with it, and untrained, the decoder is silent
        assert differs(coarse, fine)


def test_encoder_refuses_image_sizes_that_do_not_divide():
    vqgan = VQGAN(**tiny.VQGAN_FIELDS)
    with pytest.raises(ValueError, match=r"18 x 16 is not divisible by the downsampling 4"):
        jax.eval_shape(vqgan.encoder.init, jax.random.key(0), jnp.zeros((1, 18, 16, 3)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "bits"),
    [({"scales": (2, 4)}, (4 + 16) * 4), ({"shared_codebook": True}, 2 * 16 * 4)],
)
def test_vqgan_trains_with_shared_codebook_and_scales(fields, bits):
    config = tiny.stage1_config()
    config.model.update(fields)
    config.optimizer.muon_lr_multiplier = 0.0
    task = VQGANTask(config, num_steps=100)
    assert task.vqgan.bits_per_image == bits
    batch = tiny.records(20)
    state = jax.jit(task.init)(jax.random.key(0), batch)
    new, metrics = jax.jit(task.step)(state, {}, batch, jax.random.key(1))
    assert np.isfinite(metrics["loss"]) and differs(
        new.variables["codebooks"], state.variables["codebooks"]
    )
    image = pixels.to_float(batch["image"])
    codes = task.vqgan.encode(task.export(new), image)
    assert codes.shape == (20, 4, 4, 2)
    if "scales" in fields:
        np.testing.assert_array_equal(codes[:, ::2, ::2, 0], codes[:, 1::2, 1::2, 0])
    assert task.vqgan.decode(task.export(new), codes).shape == image.shape


@pytest.mark.parametrize("scales", [(4,), (3, 4), (0, 4), (8, 4)])
def test_scales_that_do_not_divide_the_grid_are_refused(scales):
    with pytest.raises(ValueError, match=r"model.scales=.*2 sides.*grid of 4"):
        VQGAN(**tiny.VQGAN_FIELDS | {"scales": scales})


# --- The linear start ----------------------------------------------------------------------------


def test_principal_components_are_orthonormal_and_the_best_of_their_number():
    images = pixels.to_float(tiny.images(30))
    mean, basis = principal_components(images, factor=4, components=8)
    np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-5)
    centred = np.asarray(space_to_depth(images, 4) - mean).reshape(-1, 48)
    np.testing.assert_allclose(centred.mean(0), 0, atol=1e-5)
    # The variance outside is the sum of the smallest eigenvalues, which no other basis beats.
    outside = np.square(centred - centred @ basis @ basis.T).sum()
    singular = np.linalg.svd(centred, compute_uv=False)
    assert outside == pytest.approx(np.square(singular[8:]).sum(), rel=1e-3)


def test_principal_components_beyond_the_pixels_are_zero():
    _, basis = principal_components(pixels.to_float(tiny.images(9)), factor=1, components=5)
    np.testing.assert_allclose(basis[:, :3].T @ basis[:, :3], np.eye(3), atol=1e-5)
    assert not np.asarray(basis[:, 3:]).any()


def test_untrained_network_is_the_linear_projection():
    _, state, _ = started()
    vqgan, weights = VQGAN(**tiny.VQGAN_FIELDS), weights_of(state)
    image = pixels.to_float(tiny.images(20))

    @jax.jit
    def unquantised(params):
        z = vqgan.encoder.apply({"params": params["encoder"]}, image)
        return vqgan.decoder.apply({"params": params["decoder"]}, z)

    mean, basis = principal_components(image, factor=4, components=8)
    centred = space_to_depth(image, 4) - mean
    projected = depth_to_space(centred @ basis @ basis.T + mean, 4)
    np.testing.assert_allclose(unquantised(weights["params"]), projected, atol=1e-3)


# --- The step ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_loss_falls_on_a_fixed_batch():
    task, state, step = started()
    batch = {name: value[:1].repeat(8, axis=0) for name, value in tiny.records(1).items()}
    values = []
    for number in range(30):
        state, metrics = step(state, {}, batch, jax.random.key(number))
        values.append(float(metrics["loss"]))
    assert int(state.step) == 30
    assert np.mean(values[-3:]) < 0.75 * values[0]
    c = task.config.loss
    parts = sum(c[name] * metrics[f"loss/{name}"] for name in ("recon", "l2", "gradient", "commit"))
    assert metrics["loss"] == pytest.approx(float(parts), rel=1e-5)
    assert differs(state.ema_params, state.params["generator"])


@pytest.mark.slow
def test_discriminator_does_not_train_before_its_start_step():
    task, state, resting = started()
    batch, key = tiny.records(8), jax.random.key(0)
    names = [task.step_fn(number).__name__ for number in (1, START_STEP, START_STEP + 1)]
    assert names == ["step_before_adversary", "step_before_adversary", "step"]
    before, metrics = resting(state, {}, batch, key)
    assert_same(before.params["discriminator"], state.params["discriminator"])
    assert_same(before.opt_state["discriminator"], state.opt_state["discriminator"])
    assert not {"loss/adversarial", "loss/discriminator"} & set(metrics)

    # The first rate of the warm-up is 0: the second update is the first to move anything.
    working = jax.jit(task.step)
    after, metrics = working(working(before, {}, batch, key)[0], {}, batch, key)
    assert differs(after.params["discriminator"], state.params["discriminator"])
    assert metrics["loss/adversarial_weight"] > 0 and metrics["loss/discriminator"] > 0


@pytest.mark.slow
def test_generator_gradient_is_of_pixel_and_weighted_adversarial_losses(monkeypatch):
    # An optimiser that moves nothing and keeps the gradient.
    keep = lambda *_: optax.chain(optax.trace(0.0), optax.scale(0.0))  # noqa: E731
    monkeypatch.setattr(vqgan_task, "optimizer", keep)
    task = task_of(start_step=0)
    image = pixels.to_float(tiny.images(8))
    state = tiny.awake(tiny.stage1_state(), task)
    generator = state.params["generator"]
    state, metrics = jax.jit(task.step)(state, {}, tiny.records(8), jax.random.key(1))
    found = state.opt_state["generator"][0].trace
    weight = metrics["loss/adversarial_weight"]

    # `reconstruct` is what the step does, straight through; the losses are added up plainly.
    vqgan, c = task.vqgan, task.config.loss
    codebooks = started()[1].variables["codebooks"]

    def reconstruct(params):
        z = vqgan.encoder.apply({"params": params["encoder"]}, image)
        _, partial = quantizer.quantize(codebooks, z)
        z_q = quantizer.straight_through(z, partial[-1])
        return vqgan.decoder.apply({"params": params["decoder"]}, z_q), z, partial

    def pixel_loss(params):
        made, _, _ = reconstruct(params)
        return (
            c.recon * reconstruction.reconstruction_l1(image, made)
            + c.l2 * reconstruction.reconstruction_l2(image, made)
            + c.gradient * reconstruction.image_gradient(image, made)
        )

    def adversarial(params):
        made, _, _ = reconstruct(params)
        logits = task.discriminator.apply({"params": state.params["discriminator"]}, made)
        return adversarial_generator(logits)

    def total(params, weight):
        _, z, partial = reconstruct(params)
        commit = c.commit * quantizer.commitment_loss(z, partial)
        return pixel_loss(params) + commit + weight * adversarial(params)

    wanted, of_pixels, of_adversarial = jax.jit(
        lambda p, w: (jax.grad(total)(p, w), jax.grad(pixel_loss)(p), jax.grad(adversarial)(p))
    )(generator, weight)
    size = float(optax.tree.norm(wanted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * size), found, wanted)
    ratio = optax.tree.norm(of_pixels["decoder"]["conv_out"]) / (
        optax.tree.norm(of_adversarial["decoder"]["conv_out"]) + 1e-4
    )
    assert weight == pytest.approx(0.5 * float(ratio), rel=1e-3)
    # The adversarial share is no rounding error of this comparison.
    share = float(weight * optax.tree.norm(of_adversarial)) / size
    assert share > 0.01


@pytest.mark.slow
def test_exported_weights_reconstruct_images():
    task, state, _ = started()
    weights = task.export(state)
    assert_same(weights["params"], state.params["generator"])  # averages start at the weights
    splits = {"test": tiny.records(6) | {"subjects": list("abcdef")}}
    evaluation = task.evaluate(state, {}, splits)
    image = pixels.to_float(tiny.images(6))
    made = task.vqgan.decode(weights, task.vqgan.encode(weights, image))
    want = float(pixels.psnr(image, made).mean())
    assert evaluation.figures["psnr"] == pytest.approx(want, rel=1e-4)
    assert evaluation.figures["images"] == 6
    assert evaluation.figures["bits_per_image"] == task.vqgan.bits_per_image
    assert 0 < evaluation.figures["usage_level0"] <= 1
    assert evaluation.pictures
