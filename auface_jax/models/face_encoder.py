"""Small encoder of the reference face, for runs without pre-trained weights.

The paper takes appearance (T_A) from a face recognition network and structure (T_S) from CLIP. A
run without their weights trains this network from scratch with the rest of Stage II. Its outputs
have the shapes of the originals: T_A is one 512-wide vector, T_S a grid of patch tokens.
"""

import einops
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.models.layers import ResidualBlock, space_to_depth
from auface_jax.ops.fused_linear import Dense


class SmallFaceEncoder(nn.Module):
    """Small face encoder: image in [-1, 1] -> T_A and T_S.

    Attributes:
      patch: pixels along one side of a patch; S = (H / (2 patch))².
      channels: width of the convolutions.
      width: D of the structure tokens.
      outputs: "appearance", "structure" or both; the other is None and has no parameters.
      dtype: of the computation.
    """

    patch: int
    channels: int
    width: int
    outputs: tuple[str, ...] = ("appearance", "structure")
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"]
    ) -> tuple[Float[Array, "B 512"] | None, Float[Array, "B S D"] | None]:
        """Returns T_A and T_S."""
        x = space_to_depth(image.astype(self.dtype), self.patch)
        x = nn.Conv(self.channels, (3, 3), strides=(2, 2), dtype=self.dtype, name="stem")(x)
        x = ResidualBlock(self.channels, dtype=self.dtype)(x)
        x = einops.rearrange(x, "b h w c -> b (h w) c")
        appearance = structure = None
        if "structure" in self.outputs:
            structure = Dense(self.width, dtype=self.dtype, name="structure")(x)
            position = self.param(
                "position", nn.initializers.normal(0.02), (x.shape[1], self.width), jnp.float32
            )
            structure = structure + position.astype(self.dtype)
        if "appearance" in self.outputs:
            appearance = Dense(512, dtype=self.dtype, name="appearance")(x.mean(1))
        return appearance, structure
