"""AU cross-attention from the text to the structure of the reference face (paper, Stage II)."""

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from auface_jax.models.layers import RMSNorm
from auface_jax.ops.fused_linear import Dense, FusedDense


class AUCrossAttention(nn.Module):
    """AU cross-attention: T_AU = T_T + attention(query T_T, key and value T_S).

    Attributes:
      heads: attention heads.
      dtype: of the computation.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        text: Float[Array, "B L D"],
        structure: Float[Array, "B S D"],
        structure_mask: Bool[Array, "B S"],
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B heads L S"]]:
        """Computes T_AU.

        Args:
          text: text tokens T_T.
          structure: structure tokens T_S of the reference.
          structure_mask: True at the structure tokens that exist.

        Returns:
          T_AU, and the attention maps, which sum to 1 over S.
        """
        width = text.shape[-1]
        query = Dense(width, use_bias=False, dtype=self.dtype, name="query")(
            RMSNorm(dtype=self.dtype, name="text_norm")(text)
        )
        structure = RMSNorm(dtype=self.dtype, name="structure_norm")(structure)
        key_value = FusedDense(2, width, axis="heads", dtype=self.dtype, name="key_value")(
            structure
        )
        q = einops.rearrange(query, "b l (h c) -> b l h c", h=self.heads)
        k, v = einops.rearrange(key_value, "b s t (h c) -> t b s h c", h=self.heads)
        # Written out, because the maps themselves are an output (drawn over the face).
        scores = jnp.einsum("blhc,bshc->bhls", q, k, preferred_element_type=jnp.float32)
        scores = jnp.where(structure_mask[:, None, None], scores * q.shape[-1] ** -0.5, -1e9)
        maps = jax.nn.softmax(scores)  # [B, heads, L, S]
        y = jnp.einsum("bhls,bshc->blhc", maps.astype(v.dtype), v)
        y = einops.rearrange(y, "b l h c -> b l (h c)")
        return text + Dense(width, use_bias=False, dtype=self.dtype, name="out")(y), maps
