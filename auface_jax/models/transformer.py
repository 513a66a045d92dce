"""Transformer blocks over image tokens, conditioned on text and reference face.

A block reads in three hops: `Block`, then `layers.SelfAttention` or `layers.CrossAttention`, which
project, then `ops.attention`, which attends.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Bool, Float

from auface_jax.models.layers import CrossAttention, GatedMLP, RMSNorm, SelfAttention
from auface_jax.ops.fused_linear import Dense


@struct.dataclass
class Context:
    """Conditioning of the transformer: [weighted sum of T_A and T_AU ; T_V].

    Attributes:
      text: fused text tokens.
      text_mask: True at tokens, at least one True an example.
      reference: tokens T_V of the reference, on the grid of the image tokens; None for a model
        without them.
      pooled: masked mean of `text`.
    """

    text: Float[Array, "B L D"]
    text_mask: Bool[Array, "B L"]
    reference: Float[Array, "B N D"] | None
    pooled: Float[Array, "B D"]


class Block(nn.Module):
    """Transformer block: pre-norm self-attention, cross-attention to the context, gated MLP.

    Text and reference each have their own cross-attention: in one softmax over both, N reference
    tokens drown the text in early training.

    Attributes:
      d_model: width D.
      num_heads: attention heads.
      hidden: width of the gated MLP.
      reference: whether the context has T_V.
      heads_per_step: heads of the self-attention computed at a time, see `attention`.
      dtype: of the computation.
    """

    d_model: int
    num_heads: int
    hidden: int
    reference: bool = True
    heads_per_step: int = 0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.self_norm = RMSNorm(dtype=self.dtype)
        self.self_attention = SelfAttention(self.num_heads, self.heads_per_step, dtype=self.dtype)
        self.cross_norm = RMSNorm(dtype=self.dtype)
        self.text_attention = CrossAttention(self.d_model, self.num_heads, dtype=self.dtype)
        if self.reference:
            self.reference_attention = CrossAttention(
                self.d_model, self.num_heads, dtype=self.dtype
            )
        self.mlp_norm = RMSNorm(dtype=self.dtype)
        self.pooled = Dense(self.d_model, dtype=self.dtype)
        self.mlp = GatedMLP(self.hidden, dtype=self.dtype)

    def keys_values(self, context: Context) -> tuple[tuple, tuple | None]:
        """Computes keys and values of the text, and of the reference or None."""
        text = self.text_attention.keys_values(context.text)
        if not self.reference:
            return text, None
        return text, self.reference_attention.keys_values(context.reference)

    def __call__(
        self, x: Float[Array, "B T D"], keys_values: tuple, context: Context
    ) -> Float[Array, "B T D"]:
        """Updates the sequence; `keys_values` are those of this block's method."""
        x = nn.with_logical_constraint(x, ("batch", None, None))
        x = x + self.self_attention(self.self_norm(x))
        text, reference = keys_values
        h = self.cross_norm(x)
        x = x + self.text_attention(h, text, context.text_mask)
        if self.reference:
            x = x + self.reference_attention(h, reference)
        h = self.mlp_norm(x + self.pooled(context.pooled)[:, None])
        return x + self.mlp(h)


class ScannedBlock(Block):
    """A block with the methods that `nn.scan` needs: the carry is first in and first out."""

    def scan_keys_values(self, carry, nothing, context: Context):
        """Computes the block's keys and values; the carry passes through."""
        return carry, self.keys_values(context)

    def scan_block(self, x, keys_values, context: Context):
        """Updates the sequence, which is the carry."""
        return self(x, keys_values, context), None


# Activations of a block that are stored for the gradient; the others are recomputed. "" stores all.
REMAT_POLICIES = {
    "": None,
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}
