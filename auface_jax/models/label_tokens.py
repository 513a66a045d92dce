"""Action unit labels in place of a text, as tokens of the same width (paper, label ablation)."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from auface_jax.ops.fused_linear import Dense


class LabelTokens(nn.Module):
    """Perceptron from AU labels to L tokens.

    Each token has its own offset in the hidden layer, and the tokens share all other weights. A
    plain perceptron would end with `tokens * width` outputs: at the paper's size a billion weights,
    three times as many as the T5 encoder that it replaces.

    Attributes:
      tokens: number of tokens L.
      width: width E of the text encoder that it replaces.
      dtype: of the computation.
    """

    tokens: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, labels: Int[Array, "B A"]) -> Float[Array, "B L E"]:
        """Encodes labels in {0, 1} or -1, not coded, which counts as absent as it does in texts."""
        present = (labels > 0).astype(self.dtype)
        hidden = Dense(2 * self.width, dtype=self.dtype, name="labels")(present)
        hidden = Dense(2 * self.width, dtype=self.dtype, name="hidden")(nn.gelu(hidden))
        position = self.param("place", nn.initializers.normal(1.0), (self.tokens, 2 * self.width))
        hidden = nn.gelu(hidden[:, None] + position.astype(self.dtype))
        return Dense(self.width, dtype=self.dtype, name="out")(hidden)
