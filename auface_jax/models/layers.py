"""Layers that several networks share: residual blocks, space-to-depth, attention, gated MLP."""

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from auface_jax.ops.attention import attention
from auface_jax.ops.fused_linear import Dense, FusedDense
from auface_jax.ops.group_norm import GroupNorm


def space_to_depth(x: Float[Array, "B H W C"], factor: int) -> Float[Array, "B h w P"]:
    """Folds each `factor` x `factor` patch into channels; P = factor² C, H = h factor."""
    return einops.rearrange(x, "b (h i) (w j) c -> b h w (i j c)", i=factor, j=factor)


def depth_to_space(x: Float[Array, "B h w P"], factor: int) -> Float[Array, "B H W C"]:
    """Unfolds channels into patches, the inverse of `space_to_depth`."""
    return einops.rearrange(x, "b h w (i j c) -> b (h i) (w j) c", i=factor, j=factor)


class ResidualBlock(nn.Module):
    """Residual block of VQGAN (Esser et al. 2021): twice norm, SiLU and convolution, and a skip.

    Attributes:
      channels: width of the output; the skip is projected where it differs from the input's.
      dtype: of the computation.
    """

    channels: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        h = nn.silu(GroupNorm(dtype=self.dtype)(x))
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(h)
        h = nn.silu(GroupNorm(dtype=self.dtype)(h))
        h = nn.Conv(self.channels, (3, 3), dtype=self.dtype)(h)
        if x.shape[-1] != self.channels:
            x = nn.Dense(self.channels, use_bias=False, dtype=self.dtype)(x)
        return x + h


class SpatialAttention(nn.Module):
    """One-head self-attention over positions, at the lowest resolution of an autoencoder."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        height, channels = x.shape[1], x.shape[-1]
        h = GroupNorm(dtype=self.dtype)(x)
        qkv = nn.Dense(3 * channels, dtype=self.dtype)(h)
        q, k, v = einops.rearrange(qkv, "b h w (s c) -> s b (h w) 1 c", s=3)
        y = jax.nn.dot_product_attention(q, k, v)  # [B, N, 1, C]
        y = einops.rearrange(y, "b (h w) 1 c -> b h w c", h=height)
        return x + nn.Dense(channels, kernel_init=nn.initializers.zeros, dtype=self.dtype)(y)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (Zhang & Sennrich 2019) with statistics in float32."""

    epsilon: float = 1e-6
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        x32 = x.astype(jnp.float32)
        mean_square = jnp.square(x32).mean(-1, keepdims=True)
        return (x32 * jax.lax.rsqrt(mean_square + self.epsilon) * scale).astype(self.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection and normalised queries and keys.

    Attributes:
      heads: attention heads.
      heads_per_step: heads computed at a time, see `attention`.
      dtype: of the computation.
    """

    heads: int
    heads_per_step: int = 0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        width = x.shape[-1]
        qkv = FusedDense(3, width, axis="heads", dtype=self.dtype, name="qkv")(x)
        q, k, v = einops.rearrange(qkv, "b n s (h c) -> s b n h c", h=self.heads)
        q = RMSNorm(dtype=self.dtype, name="q_norm")(q)
        k = RMSNorm(dtype=self.dtype, name="k_norm")(k)
        y = attention(q, k, v, heads_per_step=self.heads_per_step)  # [B, N, heads, D / heads]
        y = einops.rearrange(y, "b n h c -> b n (h c)")
        return Dense(width, use_bias=False, dtype=self.dtype, name="out")(y)


class CrossAttention(nn.Module):
    """Multi-head attention from a sequence to a context, with normalised queries and keys.

    `keys_values` is a method of its own, so that iterative decoding computes it once.

    Attributes:
      width: width D of queries and output.
      heads: attention heads.
      dtype: of the computation.
    """

    width: int
    heads: int
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        dense = lambda features: Dense(features, use_bias=False, dtype=self.dtype)  # noqa: E731
        self.query = dense(self.width)
        self.key_value = FusedDense(2, self.width, axis="heads", dtype=self.dtype)
        self.out = dense(self.width)
        self.q_norm = RMSNorm(dtype=self.dtype)
        self.k_norm = RMSNorm(dtype=self.dtype)

    def keys_values(self, context: Float[Array, "B S E"]) -> tuple[Array, Array]:
        """Computes keys and values of the context, each [B, S, heads, D / heads]."""
        k, v = einops.rearrange(self.key_value(context), "b s t (h c) -> t b s h c", h=self.heads)
        return self.k_norm(k), v

    def __call__(
        self,
        x: Float[Array, "B N D"],
        keys_values: tuple[Array, Array],
        context_mask: Bool[Array, "B S"] | None = None,
    ) -> Float[Array, "B N D"]:
        """Attends to the context; each example needs at least one True in `context_mask`."""
        q = self.q_norm(einops.rearrange(self.query(x), "b n (h c) -> b n h c", h=self.heads))
        k, v = keys_values
        y = attention(q, k, v, context_mask)
        return self.out(einops.rearrange(y, "b n h c -> b n (h c)"))


class GatedMLP(nn.Module):
    """Feed-forward layer with a GELU gate (GEGLU, Shazeer 2020).

    Attributes:
      hidden: width of gate and value.
      dtype: of the computation.
    """

    hidden: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        in_ = FusedDense(2, self.hidden, axis="mlp", dtype=self.dtype, name="in")(x)
        gate, value = einops.rearrange(in_, "... s f -> s ... f")
        y = nn.gelu(gate) * value
        return Dense(x.shape[-1], use_bias=False, dtype=self.dtype, name="out")(y)
