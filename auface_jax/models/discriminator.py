"""Patch discriminator of VQGAN (Isola et al. 2017; Esser et al. 2021)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.ops.group_norm import GroupNorm


class PatchDiscriminator(nn.Module):
    """Patch discriminator: image -> logits, each of one of many overlapping patches being real.

    It has group instead of batch normalisation, which carries no running statistics and gives the
    same result on one device and on many.

    Attributes:
      channels: width after the first layer; it doubles with each layer, up to eight times.
      num_layers: number of stride-2 layers.
      dtype: of the computation; the logits are float32.
    """

    channels: int = 64
    num_layers: int = 3
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B h w"]:
        """Computes the logits of the patches of an image in [-1, 1]."""
        x = nn.Conv(self.channels, (4, 4), strides=(2, 2), dtype=self.dtype)(
            image.astype(self.dtype)
        )
        x = nn.leaky_relu(x, 0.2)
        for layer in range(1, self.num_layers + 1):
            stride = 2 if layer < self.num_layers else 1
            width = self.channels * min(2**layer, 8)
            x = nn.Conv(width, (4, 4), strides=(stride, stride), dtype=self.dtype)(x)
            x = nn.leaky_relu(GroupNorm(dtype=self.dtype)(x), 0.2)
        return nn.Conv(1, (4, 4), dtype=self.dtype)(x)[..., 0].astype(jnp.float32)
