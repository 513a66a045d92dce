"""Convolutions of AlexNet (one column, Krizhevsky 2014) with torchvision's ImageNet weights.

It is the faster of LPIPS' two backbones. Its inputs are normalised by `vgg.normalize`, or by LPIPS.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from auface_jax.pretrained.tables import Network, conv_rules

# (width, kernel size, stride, padding, whether a 3 x 3 maximum of stride 2 comes first)
CONVOLUTIONS = (
    (64, 11, 4, 2, False),
    (192, 5, 1, 2, True),
    (384, 3, 1, 1, True),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, False),
)
TAPS = tuple(f"relu{number}" for number in range(1, 6))


class AlexNet(nn.Module, kw_only=True):
    """AlexNet: normalised images -> the features named in `TAPS`.

    Attributes:
      dtype: of the computation; parameters and outputs are float32.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"]) -> dict[str, Float[Array, "B h w C"]]:
        """Computes the five activations, after ReLU.

        Args:
          x: normalised images; at least 35 pixels a side.

        Returns:
          `TAPS`: float32 maps, C of 64, 192, 384, 256, 256.
        """
        features = {}
        for name, (width, size, stride, padding, pooled) in zip(TAPS, CONVOLUTIONS, strict=True):
            if pooled:
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
            x = nn.Conv(
                width,
                (size, size),
                strides=(stride, stride),
                padding=padding,
                dtype=self.dtype,
                name=name.replace("relu", "conv"),
            )(x)
            x = nn.relu(x)
            features[name] = x.astype(jnp.float32)
        return features


# Keys of torchvision's alexnet, in which the five convolutions have these numbers. The fully
# connected layers are not used.
NETWORK = Network(
    module=AlexNet,
    inputs=(jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32),),
    fields=lambda source: {},
    rules=tuple(
        rule
        for number, key in enumerate((0, 3, 6, 8, 10), start=1)
        for rule in conv_rules(rf"features\.{key}", f"conv{number}")
    ),
    ignored=(r"classifier\..*",),
)
