"""LPIPS with random weights."""

import functools

import jax
import numpy as np

from auface_jax.pretrained import alexnet, lpips


@functools.cache
def untrained():
    """Builds LPIPS on an AlexNet with random weights; returns the module and its variables."""
    network = alexnet.AlexNet()
    image = np.zeros((1, 40, 40, 3), np.float32)
    variables = jax.jit(network.init)(jax.random.key(0), image)
    heads = {
        f"weight_{depth}": np.random.default_rng(depth).uniform(0, 1, width).astype(np.float32)
        for depth, width in enumerate(lpips.WIDTHS["alexnet"])
    }
    return lpips.combine("alexnet", variables, {"params": heads})
