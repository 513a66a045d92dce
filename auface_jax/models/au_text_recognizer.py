"""Text AU recogniser: description -> the action units that it states (paper, AAAD).

A four-layer perceptron reads the features of a T5 encoder, averaged over the tokens of the text.
The paper's encoder is a frozen T5-large; the small presets train a small encoder along.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from auface_jax.facs import AU_NUMBERS

LAYERS = 4


class AUTextHead(nn.Module):
    """Perceptron of four layers on the mean of token features -> logits of 12 units.

    Attributes:
      width: width of the three hidden layers.
      dtype: of the computation; the logits are float32.
    """

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, features: Float[Array, "B L D"], mask: Bool[Array, "B L"]
    ) -> Float[Array, "B A"]:
        """Computes the logits; `mask` is True at tokens and False at padding."""
        kept = mask[..., None].astype(features.dtype)
        # Features at padding mean nothing; the mean of a text without tokens is the zero vector.
        x = (features * kept).sum(1) / jnp.maximum(kept.sum(1), 1.0)
        for _ in range(LAYERS - 1):
            x = nn.relu(nn.Dense(self.width, dtype=self.dtype)(x))
        return nn.Dense(len(AU_NUMBERS))(x.astype(jnp.float32))


class AUTextRecognizer(nn.Module):
    """Text encoder and the head on it: tokens -> logits of 12 units.

    Attributes:
      encoder: module (tokens, mask) -> features [B, L, D], such as `t5.T5Encoder`.
      head: the perceptron.
    """

    encoder: nn.Module
    head: AUTextHead

    def __call__(self, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]) -> Float[Array, "B A"]:
        """Computes the logits; `mask` is True at tokens and False at padding."""
        return self.head(self.encoder(tokens, mask), mask)
