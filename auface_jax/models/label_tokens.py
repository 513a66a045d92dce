"""Action unit labels in place of a text: as many tokens of the same width (paper, label
ablation)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from auface_jax.ops.fused_linear import Dense


class LabelTokens(nn.Module):
    """Labels -> tokens through a perceptron: each token has an offset of its own in its hidden
    layer and shares all other weights.

    A plain perceptron's last layer would have `tokens * width` outputs: at the paper's size a
    billion weights where T5, which it stands in for, has a third of that.

    Attributes:
      tokens: L, the text's length.
      width: E of the text encoder that it stands in for.
    """

    tokens: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, labels: Int[Array, "B A"]) -> Float[Array, "B L E"]:
        """Labels in {0, 1}; -1, not coded, counts as absent, which is what a text says of it."""
        present = (labels > 0).astype(self.dtype)
        hidden = Dense(2 * self.width, dtype=self.dtype, name="labels")(present)
        hidden = Dense(2 * self.width, dtype=self.dtype, name="hidden")(nn.gelu(hidden))
        place = self.param("place", nn.initializers.normal(1.0), (self.tokens, 2 * self.width))
        hidden = nn.gelu(hidden[:, None] + place.astype(self.dtype))
        return Dense(self.width, dtype=self.dtype, name="out")(hidden)
