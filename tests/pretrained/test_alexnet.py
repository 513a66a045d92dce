"""Parity of AlexNet's convolutions with torchvision's."""

import jax
import numpy as np
import pytest

from auface_jax.pretrained import alexnet, convert, weight_files
from tests.helpers.parity import assert_parity, import_torch, redraw


def test_smallest_image_has_a_position_at_every_layer():
    module = alexnet.AlexNet()
    image = jax.ShapeDtypeStruct((1, 35, 35, 3), np.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    shapes = jax.eval_shape(module.apply, variables, image)
    assert [shapes[tap].shape[1:] for tap in alexnet.TAPS] == [
        (8, 8, 64),
        (3, 3, 192),
        (1, 1, 384),
        (1, 1, 256),
        (1, 1, 256),
    ]


@pytest.mark.parity
def test_parity_with_torchvision(record_property):
    torch = import_torch()
    models = pytest.importorskip("torchvision.models")
    theirs = models.alexnet(weights=None).eval()
    state = redraw(theirs)
    ours, variables = convert.to_variables(alexnet.NETWORK, weight_files.from_arrays(state))
    image = np.random.default_rng(1).normal(size=(2, 100, 131, 3)).astype(np.float32)
    x, expected = torch.from_numpy(image.transpose(0, 3, 1, 2)), {}
    with torch.no_grad():
        for number, layer in enumerate(theirs.features):
            x = layer(x)
            if number in (1, 4, 7, 9, 11):
                expected[f"relu{len(expected) + 1}"] = x.numpy().transpose(0, 2, 3, 1).copy()
    with jax.default_matmul_precision("highest"):
        features = jax.jit(ours.apply)(variables, image)
    assert features.keys() == expected.keys() == set(alexnet.TAPS)
    for name in alexnet.TAPS:
        assert_parity(record_property, "AlexNet", name, features[name], expected[name])
