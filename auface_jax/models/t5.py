"""The encoder of T5 (Raffel et al. 2020) and of T5 v1.1, which Flan-T5 shares: any size.

It differs from an ordinary Transformer encoder in four ways:
- positions enter only as a learned bias on the attention scores, one table for all layers, indexed
  by the bucketed distance between key and query;
- scores are not divided by sqrt(d_kv): the initial values of the query have that scale;
- norms have neither mean nor bias, and linear layers have no bias;
- v1.1 gates its feed-forward layer with a GELU where T5 has a plain ReLU.
"""

import einops
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.models.layers import RMSNorm
from auface_jax.ops.fused_linear import Dense

FEED_FORWARDS = ("relu", "gated-gelu")


def relative_buckets(
    relative_positions: Int[np.ndarray, "..."], num_buckets: int = 32, max_distance: int = 128
) -> Int[np.ndarray, "..."]:
    """Returns the buckets, int32 in [0, num_buckets), of the offsets key - query.

    Keys after the query take the upper half of the buckets. The first half of each half holds one
    distance a bucket; the other buckets grow geometrically up to `max_distance`, and the last holds
    all larger distances.

    Args:
      relative_positions: offsets.
      num_buckets: number of buckets.
      max_distance: smallest distance of the last bucket.
    """
    half = num_buckets // 2
    exact = half // 2
    distances = np.abs(relative_positions)
    growth = np.log(np.maximum(distances, 1) / exact) / np.log(max_distance / exact)
    far = np.minimum(exact + (growth * (half - exact)).astype(np.int32), half - 1)
    within_half = np.where(distances < exact, distances, far)
    return (within_half + half * (relative_positions > 0)).astype(np.int32)


class RelativeBias(nn.Module, kw_only=True):
    """Learned bias on the attention scores, for each bucketed offset and head."""

    num_heads: int
    d_model: int
    num_buckets: int = 32
    max_distance: int = 128

    @nn.compact
    def __call__(self, length: int) -> Float[Array, "1 heads L L"]:
        """Returns the bias of a text of `length` tokens."""
        table = self.param(
            "table", nn.initializers.normal(self.d_model**-0.5), (self.num_buckets, self.num_heads)
        )
        # Row q of the bias holds the offsets from -q on. When the list of all offsets is repeated,
        # and is one entry longer than a row, each row begins one entry before the last one: there
        # is no gather, whose gradient would be a scatter of L x L.
        offsets = np.concatenate([np.arange(length + 1), np.arange(1 - length, 0)])
        buckets = relative_buckets(offsets, self.num_buckets, self.max_distance)
        repeated = jnp.tile(table[buckets].T, length)  # [heads, 2 L L]
        rows = repeated[:, : length * (2 * length - 1)].reshape(self.num_heads, length, -1)
        return rows[None, :, :, :length]


class Attention(nn.Module, kw_only=True):
    """Multi-head self-attention without scaling of the scores; scores and softmax in float32."""

    num_heads: int
    d_kv: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B L"],
        bias: Float[Array, "1 heads L L"],
    ) -> Float[Array, "B L D"]:
        d_model = x.shape[-1]
        inner = self.num_heads * self.d_kv

        def heads(name, scale):  # [B, L, heads, d_kv]
            y = _dense(inner, scale, self.dtype, name)(x)
            return einops.rearrange(y, "b l (h k) -> b l h k", h=self.num_heads)

        q = heads("query", (d_model * self.d_kv) ** -0.5)
        k = heads("key", d_model**-0.5)
        v = heads("value", d_model**-0.5)
        y = jax.nn.dot_product_attention(q, k, v, bias=bias, mask=mask[:, None, None], scale=1.0)
        y = einops.rearrange(y, "b l h k -> b l (h k)")
        return _dense(d_model, inner**-0.5, self.dtype, "out")(y)


class FeedForward(nn.Module, kw_only=True):
    """Feed-forward layer: ReLU(x W) V, or (GELU(x G) * x W) V for `gated-gelu`, by tanh-GELU."""

    d_ff: int
    feed_forward: str
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        d_model = x.shape[-1]
        hidden = _dense(self.d_ff, d_model**-0.5, self.dtype, "hidden")(x)
        if self.feed_forward == "relu":
            hidden = nn.relu(hidden)
        elif self.feed_forward == "gated-gelu":
            gate = _dense(self.d_ff, d_model**-0.5, self.dtype, "gate")(x)
            hidden = nn.gelu(gate, approximate=True) * hidden
        else:
            raise ValueError(
                f"feed_forward is {self.feed_forward!r}; it must be one of {FEED_FORWARDS}: 'relu' "
                "for T5, 'gated-gelu' for T5 v1.1 and Flan-T5."
            )
        return _dense(d_model, self.d_ff**-0.5, self.dtype, "out")(hidden)


class Block(nn.Module, kw_only=True):
    """Transformer block: pre-norm self-attention and feed-forward layer, each with a residual."""

    num_heads: int
    d_kv: int
    d_ff: int
    feed_forward: str
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B L D"],
        mask: Bool[Array, "B L"],
        bias: Float[Array, "1 heads L L"],
    ) -> Float[Array, "B L D"]:
        attention = Attention(
            num_heads=self.num_heads, d_kv=self.d_kv, dtype=self.dtype, name="attention"
        )
        feed_forward = FeedForward(
            d_ff=self.d_ff, feed_forward=self.feed_forward, dtype=self.dtype, name="feed_forward"
        )
        x = x + attention(RMSNorm(dtype=self.dtype, name="attention_norm")(x), mask, bias)
        return x + feed_forward(RMSNorm(dtype=self.dtype, name="feed_forward_norm")(x))


class T5Encoder(nn.Module, kw_only=True):
    """T5 encoder: tokens -> one vector a token; `SIZES` holds the fields of the published models.

    Attributes:
      vocab_size: tokens are in [0, vocab_size); others give NaN.
      d_model: width D of the output.
      d_kv: width of a head; num_heads * d_kv need not be D.
      d_ff: width of the feed-forward layers.
      num_layers: number of blocks.
      num_heads: attention heads.
      feed_forward: "relu" (T5) or "gated-gelu" (T5 v1.1, Flan-T5).
      dtype: of the computation; parameters, softmax, norms and the output are float32.
    """

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    feed_forward: str = "gated-gelu"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
    ) -> Float[Array, "B L D"]:
        """Encodes a batch of texts.

        Args:
          tokens: int32, padded to a common length by any id.
          mask: True at tokens, False at padding, which no position attends to.

        Returns:
          Vectors, float32; those at padding are finite but mean nothing.

        Raises:
          ValueError: `feed_forward` is not one of `FEED_FORWARDS`.
        """
        x = nn.Embed(
            self.vocab_size,
            self.d_model,
            embedding_init=nn.initializers.normal(1.0),
            dtype=self.dtype,
            name="embedding",
        )(tokens)
        bias = RelativeBias(num_heads=self.num_heads, d_model=self.d_model, name="relative_bias")(
            tokens.shape[1]
        )
        for layer in range(self.num_layers):
            x = Block(
                num_heads=self.num_heads,
                d_kv=self.d_kv,
                d_ff=self.d_ff,
                feed_forward=self.feed_forward,
                dtype=self.dtype,
                name=f"block_{layer}",
            )(x, mask, bias)
        return RMSNorm(dtype=jnp.float32, name="final_norm")(x)


def _dense(features: int, scale: float, dtype: jnp.dtype, name: str) -> nn.Dense:
    """Creates a linear layer without bias and with normal initial values of that scale."""
    return Dense(
        features,
        use_bias=False,
        dtype=dtype,
        kernel_init=nn.initializers.normal(scale),
        name=name,
    )


def _size(feed_forward, d_model, d_kv, d_ff, num_layers, num_heads):
    """Returns the fields of a published model."""
    return {
        "vocab_size": 32_128,
        "d_model": d_model,
        "d_kv": d_kv,
        "d_ff": d_ff,
        "num_layers": num_layers,
        "num_heads": num_heads,
        "feed_forward": feed_forward,
    }


_SIZES_V1_1 = {
    "small": _size("gated-gelu", 512, 64, 1024, 8, 6),
    "base": _size("gated-gelu", 768, 64, 2048, 12, 12),
    "large": _size("gated-gelu", 1024, 64, 2816, 24, 16),
    "xl": _size("gated-gelu", 2048, 64, 5120, 24, 32),
    "xxl": _size("gated-gelu", 4096, 64, 10240, 24, 64),
}

# The fields of `T5Encoder` for each published model.
SIZES: dict[str, dict[str, int | str]] = {
    "t5-small": _size("relu", 512, 64, 2048, 6, 8),
    "t5-base": _size("relu", 768, 64, 3072, 12, 12),
    "t5-large": _size("relu", 1024, 64, 4096, 24, 16),
    "t5-3b": _size("relu", 1024, 128, 16384, 24, 32),
    "t5-11b": _size("relu", 1024, 128, 65536, 24, 128),
    **{f"t5-v1_1-{size}": fields for size, fields in _SIZES_V1_1.items()},
    **{f"flan-t5-{size}": fields for size, fields in _SIZES_V1_1.items()},
}
