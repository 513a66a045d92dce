"""LPIPS (Zhang et al. 2018), version 0.1: a perceptual distance between two images.

A backbone's activations at five depths are scaled to unit length at every position. Their squared
differences are weighted by channel with trained weights (the heads), summed over channels, averaged
over positions and summed over depths. Backbone and heads are converted separately, as they are
published: the backbone by torchvision, the heads inside the package lpips.

    python -m auface_jax.pretrained.convert alexnet alexnet-owt-7be5be79.pth weights/alexnet
    python -m auface_jax.pretrained.convert lpips lpips/weights/v0.1/alex.pth weights/lpips-alexnet
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.pretrained import alexnet, vgg
from auface_jax.pretrained.convert import load
from auface_jax.pretrained.tables import Network, Rule, squeeze
from auface_jax.pretrained.weight_files import Source

PyTree = Any

# Channels of the five activations of each backbone.
WIDTHS = {"alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}
TAPS = {"alexnet": alexnet.TAPS, "vgg16": vgg.TAPS}


def normalize(image: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Normalizes images in [-1, 1] for LPIPS' backbones; the constants are LPIPS' own."""
    shift, scale = jnp.array([-0.030, -0.088, -0.188]), jnp.array([0.458, 0.448, 0.450])
    return (image - shift) / scale


def unit_length(feature: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
    """Scales each position's vector to unit length; zero stays zero, with a finite gradient."""
    square = jnp.square(feature).sum(-1, keepdims=True)
    return feature / (jnp.sqrt(jnp.maximum(square, 1e-20)) + 1e-10)


class Heads(nn.Module):
    """Distances of images from their activations at five depths.

    Attributes:
      backbone: key of `WIDTHS`.
    """

    backbone: str

    @nn.compact
    def __call__(
        self, features: list[Float[Array, "B h w C"]], others: list[Float[Array, "B h w C"]]
    ) -> Float[Array, " B"]:
        """Computes the distance of each pair from the activations of both pictures."""
        total = 0.0
        widths = WIDTHS[self.backbone]
        for depth, (width, one, other) in enumerate(zip(widths, features, others, strict=True)):
            weight = self.param(f"weight_{depth}", nn.initializers.ones, (width,))
            difference = jnp.square(unit_length(one) - unit_length(other))
            total += (difference @ weight).mean((1, 2))
        return total


class LPIPS(nn.Module):
    """Distances of pairs of images; 0 for equal images.

    Attributes:
      backbone: key of `WIDTHS`. Published figures use "alexnet" unless they say "vgg16".
      dtype: dtype of the backbone's computation.
    """

    backbone: str
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        network = {"alexnet": alexnet.AlexNet, "vgg16": vgg.VGG16}[self.backbone]
        self.network = network(dtype=self.dtype)
        self.heads = Heads(self.backbone)

    def __call__(
        self, image: Float[Array, "B H W 3"], other: Float[Array, "B H W 3"]
    ) -> Float[Array, " B"]:
        """Computes distances of images in [-1, 1], at least 35 pixels a side (16 for "vgg16")."""
        both = normalize(jnp.concatenate([image, other]))
        options = {"fully_connected": False} if self.backbone == "vgg16" else {}
        features = self.network(both, **options)
        halves = [jnp.split(features[tap], 2) for tap in TAPS[self.backbone]]
        return self.heads([one for one, _ in halves], [two for _, two in halves])


def load_lpips(backbone: str | Path, heads: str | Path) -> tuple[LPIPS, PyTree]:
    """Loads LPIPS and its variables from two converted folders.

    Args:
      backbone: folder of the converted backbone.
      heads: folder of the converted heads.

    Raises:
      ValueError: the heads were trained on another backbone.
      ConversionError: a folder holds no such network, or is damaged; see `convert.load`.
    """
    network, weights = load(backbone), load(heads, "lpips")
    if network.network != weights.module.backbone:
        raise ValueError(
            f"{heads} holds heads for the backbone {weights.module.backbone!r}, and {backbone} the "
            f"network {network.network!r}"
        )
    return combine(network.network, network.variables, weights.variables)


def combine(backbone: str, network: PyTree, heads: PyTree) -> tuple[LPIPS, PyTree]:
    """Joins the variables of a backbone, without its dense layers, and of heads."""
    convolutions = {
        name: leaves for name, leaves in network["params"].items() if name.startswith("conv")
    }
    params = {"network": convolutions, "heads": heads["params"]}
    return LPIPS(backbone), {"params": params}


def _fields(source: Source) -> dict[str, str]:
    """Reads the backbone off the widths of the heads."""
    widths = tuple(source.shape(f"lin{depth}.model.1.weight")[1] for depth in range(5))
    for backbone, ours in WIDTHS.items():
        if widths == ours:
            return {"backbone": backbone}
    raise ValueError(
        f"{source.name} has heads for activations of widths {widths}; known are {WIDTHS}"
    )


def _inputs(module: Heads) -> tuple[list[jax.ShapeDtypeStruct], list[jax.ShapeDtypeStruct]]:
    """Returns shapes and dtypes of the activations."""
    taps = [
        jax.ShapeDtypeStruct((1, 1, 1, width), jnp.float32) for width in WIDTHS[module.backbone]
    ]
    return taps, taps


# Keys of the package lpips: those of its heads file, or of a whole LPIPS, which also holds the
# backbone, the heads under a second name, and the constants of `normalize`.
NETWORK = Network(
    module=Heads,
    inputs=_inputs,
    fields=_fields,
    rules=(Rule(r"lin(\d)\.model\.1\.weight", r"params/weight_\1", squeeze),),
    ignored=(r"net\..*", r"lins\..*", r"scaling_layer\..*"),
)
