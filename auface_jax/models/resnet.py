"""ResNet (He et al. 2016) as a backbone: image -> map of features, without classifier.

Convolutions pad equally on all sides and batch normalisation has epsilon 1e-5, so that published
torch weights fit. The collection `batch_stats` holds the batch statistics; in training they are
over the whole batch, across all devices.
"""

import functools

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.models.layers import space_to_depth

# Fields of `ResNet` by published name.
SIZES = {
    "resnet18": {"bottleneck": False, "depths": (2, 2, 2, 2)},
    "resnet50": {"bottleneck": True, "depths": (3, 4, 6, 3)},
    "resnet101": {"bottleneck": True, "depths": (3, 4, 23, 3)},
}

BatchNorm = functools.partial(nn.BatchNorm, momentum=0.9, epsilon=1e-5)
# Initial values of He et al. 2015 by the number of outputs, as the authors of ResNet have them.
_Conv = functools.partial(
    nn.Conv, use_bias=False, kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal")
)


class ResidualUnit(nn.Module):
    """Residual block: convolutions, each with batch normalisation, beside a skip.

    Attributes:
      channels: width of the 3 x 3 convolutions.
      bottleneck: whether the convolutions are 1 x 1, 3 x 3 and 1 x 1 to four times the width, in
        place of two of 3 x 3.
      stride: stride of the first 3 x 3 convolution and of the skip.
      dtype: of the computation.
    """

    channels: int
    bottleneck: bool
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w D"]:
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        if self.bottleneck:
            convolutions = ((self.channels, 1), (self.channels, 3), (4 * self.channels, 1))
        else:
            convolutions = ((self.channels, 3), (self.channels, 3))
        strided = [kernel for _, kernel in convolutions].index(3)
        h = x
        for index, (channels, kernel) in enumerate(convolutions):
            stride = self.stride if index == strided else 1
            h = _Conv(
                channels,
                (kernel, kernel),
                strides=stride,
                padding=kernel // 2,
                dtype=self.dtype,
                name=f"conv{index + 1}",
            )(h)
            h = norm(name=f"bn{index + 1}")(h)
            if index < len(convolutions) - 1:
                h = nn.relu(h)
        if self.stride > 1 or x.shape[-1] != h.shape[-1]:
            x = _Conv(h.shape[-1], (1, 1), strides=self.stride, dtype=self.dtype, name="skip_conv")(
                x
            )
            x = norm(name="skip_bn")(x)
        return nn.relu(x + h)


class ResNet(nn.Module):
    """ResNet: images -> features [B, H / r, W / r, D]; r = 32 with the published stem.

    Attributes:
      bottleneck: whether the blocks are those of ResNet-50 and larger.
      depths: number of blocks at each resolution.
      channels: width at each resolution; D is the last, or four times it with bottlenecks.
      patch: 0 is the published stem, a 7 x 7 convolution and a maximum to a quarter of the size;
        otherwise `patch` x `patch` pixels are folded into channels before a 3 x 3 convolution,
        which keeps more of a small image with less arithmetic.
      dtype: of the computation.
    """

    bottleneck: bool
    depths: tuple[int, ...]
    channels: tuple[int, ...] = (64, 128, 256, 512)
    patch: int = 0
    dtype: jnp.dtype = jnp.float32

    @property
    def features(self) -> int:
        """Number D of output channels."""
        return self.channels[-1] * (4 if self.bottleneck else 1)

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 3"], *, train: bool) -> Float[Array, "B h w D"]:
        """Computes the features; with `train`, batch statistics are used and updated."""
        x = x.astype(self.dtype)
        stem = functools.partial(_Conv, self.channels[0], dtype=self.dtype, name="conv1")
        if self.patch:
            x = stem(kernel_size=(3, 3))(space_to_depth(x, self.patch))
        else:
            x = stem(kernel_size=(7, 7), strides=2, padding=3)(x)
        x = nn.relu(BatchNorm(use_running_average=not train, dtype=self.dtype, name="bn1")(x))
        if not self.patch:
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for level, (depth, channels) in enumerate(zip(self.depths, self.channels, strict=True), 1):
            for index in range(depth):
                x = ResidualUnit(
                    channels,
                    bottleneck=self.bottleneck,
                    stride=2 if level > 1 and index == 0 else 1,
                    dtype=self.dtype,
                    name=f"layer{level}_{index}",
                )(x, train=train)
        return x
