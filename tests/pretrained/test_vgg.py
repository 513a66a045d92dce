"""VGG16: laws of its pooling, and parity with torchvision's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.pretrained import convert, vgg, weight_files
from tests.helpers.parity import assert_parity, import_torch, redraw


def test_adaptive_pooling_covers_every_pixel_and_keeps_equal_sizes():
    x = np.random.default_rng(0).normal(size=(1, 7, 14, 3)).astype(np.float32)
    pooled = vgg.adaptive_average_pool(jnp.asarray(x), 7)
    np.testing.assert_allclose(pooled, x.reshape(1, 7, 7, 2, 3).mean(3), rtol=1e-5, atol=1e-6)
    one = vgg.adaptive_average_pool(jnp.full((1, 1, 2, 1), 3.0), 7)
    np.testing.assert_allclose(one, 3.0)
    gradient = jax.grad(lambda y: vgg.adaptive_average_pool(y, 7).sum())(jnp.ones((1, 10, 9, 1)))
    assert (gradient > 0).all() and gradient.sum() == pytest.approx(49, rel=1e-5)


def test_normalize_applies_imagenet_statistics():
    black, white = (
        vgg.normalize(jnp.full((1, 1, 1, 3), -1.0)),
        vgg.normalize(jnp.ones((1, 1, 1, 3))),
    )
    np.testing.assert_allclose(black.ravel(), [-2.1179, -2.0357, -1.8044], atol=1e-4)
    np.testing.assert_allclose(white.ravel(), [2.2489, 2.4286, 2.64], atol=1e-4)


def test_taps_do_not_depend_on_the_fully_connected_layers():
    module = vgg.VGG16()
    image = jax.ShapeDtypeStruct((2, 40, 48, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    shapes = jax.eval_shape(module.apply, variables, image)
    assert shapes["relu1_2"].shape == (2, 40, 48, 64)
    assert shapes["relu5_3"].shape == (2, 2, 3, 512)
    assert shapes["fc1"].shape == shapes["fc2"].shape == (2, 4096)
    only = jax.eval_shape(lambda v, x: module.apply(v, x, fully_connected=False), variables, image)
    assert only == {tap: shapes[tap] for tap in vgg.TAPS}


@pytest.mark.parity
def test_parity_with_torchvision(record_property):
    torch = import_torch()
    models = pytest.importorskip("torchvision.models")
    theirs = models.vgg16(weights=None).eval()
    state = redraw(theirs)
    ours, variables = convert.to_variables(vgg.NETWORK, weight_files.from_arrays(state))

    number, stages = -1, {}
    for tap, widths in zip(vgg.TAPS, vgg.GROUPS, strict=True):
        number += 2 * len(widths) + 1
        stages[tap] = theirs.features[number - 1]
    stages |= {"fc1": theirs.classifier[1], "fc2": theirs.classifier[4]}
    seen = {}
    for name, layer in stages.items():
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.clone()}))
    # 72 x 100 becomes 2 x 3 before the pooling to 7 x 7, 240 x 224 becomes 7 x 7.
    rng = np.random.default_rng(1)
    for size in ((72, 100), (240, 224)):
        image = rng.normal(size=(1, *size, 3)).astype(np.float32)
        with torch.no_grad():
            theirs(torch.from_numpy(image.transpose(0, 3, 1, 2)))
        with jax.default_matmul_precision("highest"):
            features = jax.jit(ours.apply)(variables, image)
        assert features.keys() == stages.keys()
        for name, ours_there in features.items():
            there = seen[name].numpy()
            there = there.transpose(0, 2, 3, 1) if there.ndim == 4 else there
            assert_parity(
                record_property, "VGG16", f"{name}, {size[0]} x {size[1]}", ours_there, there
            )
