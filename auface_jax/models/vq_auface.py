"""VQ-AUFace (paper, Stage II): text and reference face -> context -> image tokens.

    T_T   text tokens, a T5 encoder                      [B, L, D]
    T_A   appearance, a face recognition embedding       [B, 512]  -> one D-wide vector
    T_S   structure, image patch tokens                  [B, S, D]
    T_V   the reference's Stage I vectors                [B, N, C] -> D
    T_AU  = AU cross-attention(T_T, T_S)                 [B, L, D]
    context = [w·T_A + (1 - w)·T_AU ; T_V], w a sigmoid a channel, 1/2 at the start

Null inputs are learned: a dropped text is one learned token, a dropped reference learned T_A, T_S
and T_V.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float, Int

from auface_jax.facs import AU_NUMBERS
from auface_jax.models.au_attention import AUCrossAttention
from auface_jax.models.face_encoder import SmallFaceEncoder
from auface_jax.models.layers import Dtype
from auface_jax.models.maskgit import Context, MaskGIT
from auface_jax.pretrained.t5 import T5Encoder


class VQAUFace(nn.Module):
    """See the module's docstring.

    Attributes:
      text_encoder: fields of `T5Encoder`.
      face_encoder: fields of `SmallFaceEncoder`, `width` aside.
      transformer: fields of `MaskGIT`.
    """

    text_encoder: FrozenDict[str, Any]
    face_encoder: FrozenDict[str, Any]
    transformer: FrozenDict[str, Any]
    dtype: Dtype = jnp.float32

    def setup(self):
        width, normal = self.transformer["width"], nn.initializers.normal(0.02)
        self.text = T5Encoder(**self.text_encoder, dtype=self.dtype)
        self.text_in = nn.Dense(width, dtype=self.dtype)
        self.face = SmallFaceEncoder(**self.face_encoder, width=width, dtype=self.dtype)
        self.appearance_in = nn.Dense(width, dtype=self.dtype)
        self.au_attention = AUCrossAttention(self.transformer["heads"], dtype=self.dtype)
        self.fusion = self.param("fusion", nn.initializers.zeros, (width,))
        self.reference_in = nn.Dense(width, dtype=self.dtype)
        self.null_text = self.param("null_text", normal, (width,))
        self.null_appearance = self.param("null_appearance", normal, (width,))
        self.null_structure = self.param("null_structure", normal, (width,))
        self.null_reference = self.param("null_reference", normal, (width,))
        self.units = nn.Dense(len(AU_NUMBERS))
        self.maskgit = MaskGIT(**self.transformer, dtype=self.dtype)

    def context(
        self,
        text_tokens: Int[Array, "B L"],
        text_mask: Bool[Array, "B L"],
        reference: Float[Array, "B H W 3"],
        reference_latents: Float[Array, "B N C"],
        drop_text: Bool[Array, " B"],
        drop_reference: Bool[Array, " B"],
    ) -> tuple[Context, dict[str, Array]]:
        """The context, and what belongs to it.

        Beside it come `T_AU` [B, L, D], the `au_attention` maps [B, heads, L, S] and `unit_logits`
        [B, 12], the action units as the pooled text tells them. A text encoder that starts from
        nothing learns what the words mean from these, long before the pictures could teach it.

        Args:
          reference: image in [-1, 1].
          reference_latents: its Stage I vectors, the sum of the levels' codes.
          drop_text, drop_reference: rows whose text or reference is replaced by the learned null.
        """
        text = self.text_in(self.text(text_tokens, text_mask))  # T_T [B, L, D]
        no_text, no_reference = drop_text[:, None, None], drop_reference[:, None, None]
        text = jnp.where(no_text, self.null_text.astype(self.dtype), text)
        first_only = jnp.arange(text.shape[1]) == 0
        text_mask = jnp.where(drop_text[:, None], first_only, text_mask)

        appearance, structure = self.face(reference)
        appearance = self.appearance_in(appearance)[:, None]  # T_A [B, 1, D]
        appearance = jnp.where(no_reference, self.null_appearance.astype(self.dtype), appearance)
        structure = jnp.where(no_reference, self.null_structure.astype(self.dtype), structure)
        tokens = self.reference_in(reference_latents.astype(self.dtype))  # T_V [B, N, D]
        tokens = jnp.where(no_reference, self.null_reference.astype(self.dtype), tokens)

        au_text, maps = self.au_attention(text, structure, jnp.ones(structure.shape[:2], bool))
        weight = jax.nn.sigmoid(self.fusion).astype(self.dtype)
        fused = weight * appearance + (1 - weight) * au_text
        count = text_mask.sum(-1, keepdims=True)
        pooled = jnp.where(text_mask[..., None], fused, 0).sum(1) / count.astype(self.dtype)
        context = Context(text=fused, text_mask=text_mask, reference=tokens, pooled=pooled)
        unit_logits = self.units(pooled.astype(jnp.float32))
        return context, {"T_AU": au_text, "au_attention": maps, "unit_logits": unit_logits}

    def __call__(
        self, codes: Int[Array, "B N Q"], masked: Bool[Array, "B N Q"], **inputs: Array
    ) -> Float[Array, "B N Q K"]:
        """Logits of every image token; `inputs` as `context` takes them."""
        context, _ = self.context(**inputs)
        return self.maskgit(codes, masked, context)

    def logits(self, codes, masked, context: Context) -> Float[Array, "B N Q K"]:
        """See `MaskGIT`, for a context at hand."""
        return self.maskgit(codes, masked, context)

    def keys_values(self, context: Context) -> list:
        """See `MaskGIT.keys_values`."""
        return self.maskgit.keys_values(context)

    def trunk(self, codes, masked, context: Context, keys_values: list) -> Float[Array, "B T D"]:
        """See `MaskGIT.trunk`."""
        return self.maskgit.trunk(codes, masked, context, keys_values)

    def level_logits(self, hidden, codes, level: int) -> Float[Array, "B N K"]:
        """See `MaskGIT.level_logits`."""
        return self.maskgit.level_logits(hidden, codes, level)
