"""The encoder of BERT (Devlin et al. 2019), which MiniLM, E5 and most sentence encoders share.

It differs from a present-day Transformer encoder in three ways:
- positions are learned vectors that are added to the tokens, so that a text has a largest length;
- norms come after the residual sums, and after the sum of the embeddings;
- every token belongs to a segment; a single text is segment 0.
"""

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from auface_jax.ops.fused_linear import Dense

EPSILON = 1e-12  # of the layer norms
SEGMENTS = 2


class Attention(nn.Module, kw_only=True):
    """Multi-head self-attention with biases; scores and softmax in float32."""

    num_heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B L D"]:
        width = x.shape[-1]

        def heads(name):  # [B, L, heads, D / heads]
            y = _dense(width, self.dtype, name)(x)
            return einops.rearrange(y, "b l (h c) -> b l h c", h=self.num_heads)

        q, k, v = heads("query"), heads("key"), heads("value")
        y = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None, None])
        return _dense(width, self.dtype, "out")(einops.rearrange(y, "b l h c -> b l (h c)"))


class Block(nn.Module, kw_only=True):
    """Transformer block: self-attention and a feed-forward layer, each normalised with its skip."""

    num_heads: int
    d_ff: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Float[Array, "B L D"]:
        attention = Attention(num_heads=self.num_heads, dtype=self.dtype, name="attention")
        x = _norm(self.dtype, "attention_norm")(x + attention(x, mask))
        hidden = nn.gelu(_dense(self.d_ff, self.dtype, "hidden")(x), approximate=False)
        y = x + _dense(x.shape[-1], self.dtype, "out")(hidden)
        return _norm(self.dtype, "feed_forward_norm")(y)


class BertEncoder(nn.Module, kw_only=True):
    """BERT encoder: tokens -> one vector a token.

    Attributes:
      vocab_size: tokens are in [0, vocab_size); others give NaN.
      d_model: width D of the output.
      d_ff: width of the feed-forward layers.
      num_layers: number of blocks.
      num_heads: attention heads.
      max_length: number of learned positions, the largest L.
      dtype: of the computation; parameters, softmax, norms and the output are float32.
    """

    vocab_size: int
    d_model: int
    d_ff: int
    num_layers: int
    num_heads: int
    max_length: int = 512
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
    ) -> Float[Array, "B L D"]:
        """Encodes a batch of texts.

        Args:
          tokens: int32, a text with its first and last token ([CLS] and [SEP]), padded to a common
            length by any id.
          mask: True at tokens, False at padding, which no position attends to.

        Returns:
          Vectors, float32; those at padding are finite but mean nothing.

        Raises:
          ValueError: the texts are longer than `max_length`.
        """
        length = tokens.shape[1]
        if length > self.max_length:
            raise ValueError(
                f"texts are padded to {length} tokens, and the encoder has {self.max_length} "
                "learned positions; give data.buckets no larger length"
            )
        normal = nn.initializers.normal(0.02)
        words = nn.Embed(self.vocab_size, self.d_model, embedding_init=normal, name="embedding")
        positions = self.param("position", normal, (self.max_length, self.d_model))
        segments = self.param("segment", normal, (SEGMENTS, self.d_model))
        x = words(tokens) + positions[:length] + segments[0]
        x = _norm(self.dtype, "embedding_norm")(x)
        for layer in range(self.num_layers):
            x = Block(
                num_heads=self.num_heads, d_ff=self.d_ff, dtype=self.dtype, name=f"block_{layer}"
            )(x, mask)
        return x.astype(jnp.float32)


def _dense(features: int, dtype: jnp.dtype, name: str) -> nn.Dense:
    """Creates a linear layer with BERT's initial values."""
    return Dense(features, dtype=dtype, kernel_init=nn.initializers.normal(0.02), name=name)


def _norm(dtype: jnp.dtype, name: str) -> nn.LayerNorm:
    """Creates a layer norm."""
    return nn.LayerNorm(epsilon=EPSILON, dtype=dtype, name=name)
