"""Small network that reads action units in an image beside the person's reference face."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.facs import AU_NUMBERS
from auface_jax.models.layers import ResidualBlock, space_to_depth
from auface_jax.ops.group_norm import GroupNorm


class AUProbe(nn.Module):
    """Classifier and regressor of action units: image and reference in [-1, 1] -> 12 units.

    Attributes:
      patch: space-to-depth factor before the first convolution.
      channels: width at each resolution; each step after the first halves the resolution.
      dtype: of the computation; the logits are float32.
    """

    patch: int
    channels: tuple[int, ...]
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], reference: Float[Array, "B H W 3"]
    ) -> tuple[Float[Array, "B A"], Float[Array, "B A"]]:
        """Computes the logit and the intensity of each unit; an absent unit has intensity 0."""
        x = jnp.concatenate([image, reference], axis=-1).astype(self.dtype)
        x = space_to_depth(x, self.patch)
        x = nn.Conv(self.channels[0], (3, 3), dtype=self.dtype)(x)
        for level, channels in enumerate(self.channels):
            if level > 0:
                x = nn.Conv(channels, (3, 3), strides=(2, 2), dtype=self.dtype)(x)
            x = ResidualBlock(channels, dtype=self.dtype)(x)
        x = nn.silu(GroupNorm(dtype=self.dtype)(x))
        # The position of a movement tells which muscle moved: positions are kept, not averaged.
        x = nn.Dense(32, dtype=self.dtype)(x).reshape(x.shape[0], -1)
        x = nn.silu(nn.Dense(128, dtype=self.dtype)(x))
        x = x.astype(jnp.float32)
        return nn.Dense(len(AU_NUMBERS))(x), nn.Dense(len(AU_NUMBERS), name="intensity")(x)
