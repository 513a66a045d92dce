"""The text AU recogniser: which units a description states (paper, AAAD).

Features of a T5 encoder, averaged over the text's tokens, and a four-layer perceptron. The paper's
encoder is a frozen T5-large; the small presets train a small one along.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from auface_jax.facs import AU_NUMBERS

LAYERS = 4


class AUTextHead(nn.Module):
    """Token features -> logits [B, 12] of the units: a perceptron of four layers on their mean.

    Attributes:
      width: of its three hidden layers.
    """

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, features: Float[Array, "B L D"], mask: Bool[Array, "B L"]
    ) -> Float[Array, "B A"]:
        kept = mask[..., None].astype(features.dtype)
        # At padding features mean nothing; a text without a token has the zero vector.
        x = (features * kept).sum(1) / jnp.maximum(kept.sum(1), 1.0)
        for _ in range(LAYERS - 1):
            x = nn.relu(nn.Dense(self.width, dtype=self.dtype)(x))
        return nn.Dense(len(AU_NUMBERS))(x.astype(jnp.float32))


class AUTextRecognizer(nn.Module):
    """Tokens -> logits [B, 12]: an encoder and the head on it.

    Attributes:
      encoder: module (tokens, mask) -> features [B, L, D], such as `pretrained.t5.T5Encoder`.
      head: the perceptron.
    """

    encoder: nn.Module
    head: AUTextHead

    def __call__(self, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]) -> Float[Array, "B A"]:
        return self.head(self.encoder(tokens, mask), mask)
