"""VGG16 (Simonyan & Zisserman 2015) with torchvision's ImageNet weights, without classifier.

LPIPS compares the last activation of each of its five groups, and Stage I's perceptual loss the
second of the two 4096-wide layers.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from auface_jax.pretrained.tables import Network, Rule, conv_rules, linear_over, linear_rules

# Widths of the convolutions of each group; a 2 x 2 maximum halves the map between groups.
GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# The last activation of each group, which LPIPS compares.
TAPS = tuple(f"relu{group}_{len(widths)}" for group, widths in enumerate(GROUPS, start=1))
POOLED = 7  # height and width of the map that the fully connected layers read
FULLY_CONNECTED = 4096

# Mean and standard deviation of ImageNet's pixels in [0, 1], as torchvision's weights expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalize(image: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Normalises images in [-1, 1] for torchvision's ImageNet networks."""
    return ((image + 1.0) / 2.0 - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)


def adaptive_average_pool(x: Float[Array, "B H W C"], size: int) -> Float[Array, "B size size C"]:
    """Averages over size x size nearly equal windows, which overlap if `size` does not divide.

    Window i of n over a length L is [floor(i L / n), ceil((i + 1) L / n)), as in torch.
    """

    def windows(length):  # [size, length], each row a window's mean
        start = np.arange(size) * length // size
        stop = -(-(np.arange(size) + 1) * length // size)
        position = np.arange(length)
        inside = (position >= start[:, None]) & (position < stop[:, None])
        return (inside / inside.sum(1, keepdims=True)).astype(np.float32)

    rows, columns = windows(x.shape[1]), windows(x.shape[2])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns)


class VGG16(nn.Module, kw_only=True):
    """VGG16: normalised images -> the features named in `TAPS`, "fc1" and "fc2".

    Attributes:
      dtype: of the computation; parameters and outputs are float32.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W 3"], *, fully_connected: bool = True
    ) -> dict[str, Float[Array, "B ..."]]:
        """Computes features after their ReLU.

        Args:
          x: images from `normalize`; at least 16 pixels a side (32 for "fc1" and "fc2").
          fully_connected: whether "fc1" and "fc2" are computed; LPIPS does not need them.

        Returns:
          `TAPS`: float32 [B, H / 2^i, W / 2^i, C] for i = 0..4, C of 64, 128, 256, 512, 512.
          "fc1", "fc2": float32 [B, 4096]. The dropout between them is off.
        """
        features = {}
        for group, widths in enumerate(GROUPS, start=1):
            for index, width in enumerate(widths, start=1):
                conv = nn.Conv(width, (3, 3), dtype=self.dtype, name=f"conv{group}_{index}")
                x = nn.relu(conv(x))
            features[TAPS[group - 1]] = x.astype(jnp.float32)
            if group < len(GROUPS) or fully_connected:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
        if fully_connected:
            x = adaptive_average_pool(x, POOLED).reshape(x.shape[0], -1)
            for name in ("fc1", "fc2"):
                x = nn.relu(nn.Dense(FULLY_CONNECTED, dtype=self.dtype, name=name)(x))
                features[name] = x.astype(jnp.float32)
        return features


def _torchvision_conv_rules() -> tuple[Rule, ...]:
    """Returns the rules of the convolutions.

    torchvision numbers convolutions, activations and poolings in one list.
    """
    rules, number = [], 0
    for group, widths in enumerate(GROUPS, start=1):
        for index in range(1, len(widths) + 1):
            rules += conv_rules(rf"features\.{number}", f"conv{group}_{index}")
            number += 2
        number += 1
    return tuple(rules)


# Keys of torchvision's vgg16. Its last layer, the ImageNet classes, is not used.
NETWORK = Network(
    module=VGG16,
    inputs=(jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32),),
    fields=lambda source: {},
    rules=(
        *_torchvision_conv_rules(),
        Rule(r"classifier\.0\.weight", "params/fc1/kernel", linear_over(POOLED, POOLED)),
        Rule(r"classifier\.0\.bias", "params/fc1/bias"),
        *linear_rules(r"classifier\.3", "fc2"),
    ),
    ignored=(r"classifier\.6\..*",),
)
