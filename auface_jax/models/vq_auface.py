"""VQ-AUFace (paper, Stage II): text and reference face -> context -> image tokens.

    T_T   text tokens, a T5 encoder                      [B, L, D]
    T_A   appearance, a face recognition embedding       [B, 512]  -> one D-wide vector
    T_S   structure, image patch tokens                  [B, S, D]
    T_V   the reference's Stage I vectors                [B, N, C] -> D
    T_AU  = AU cross-attention(T_T, T_S)                 [B, L, D]
    context = [w·T_A + (1 - w)·T_AU ; T_V], w a sigmoid a channel, 1/2 at the start

Null inputs are learned: a dropped text is one learned token, a dropped reference learned T_A, T_S
and T_V.

The encoders of text and reference are small networks trained along, or pre-trained ones, whose
features then come as inputs (`generation.encoders`). For the paper's ablations a model can be left
without T_A, T_S or T_V, or read labels in place of a text.
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
from auface_jax.models.label_tokens import LabelTokens
from auface_jax.models.layers import RMSNorm
from auface_jax.models.maskgit import Context, MaskGIT
from auface_jax.models.t5 import T5Encoder
from auface_jax.ops.fused_linear import Dense

# What tells of the reference face: T_A, T_S and T_V.
FACE_TOKENS = ("appearance", "structure", "reference")


class VQAUFace(nn.Module):
    """See the module's docstring.

    Attributes:
      text_encoder: fields of `T5Encoder`.
      face_encoder: fields of `SmallFaceEncoder`, `width` and `outputs` aside.
      transformer: fields of `MaskGIT`, `reference` aside.
      tokens: those of `FACE_TOKENS` that it is given; without T_S, T_AU is T_T itself.
      features: inputs that come from pre-trained encoders: "text", "structure", "appearance".
      label_tokens: 0 reads texts; L reads labels, as L tokens of the text encoder's width.
    """

    text_encoder: FrozenDict[str, Any]
    face_encoder: FrozenDict[str, Any]
    transformer: FrozenDict[str, Any]
    tokens: tuple[str, ...] = FACE_TOKENS
    features: tuple[str, ...] = ()
    label_tokens: int = 0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        width, normal = self.transformer["d_model"], nn.initializers.normal(0.02)
        if self.label_tokens:
            self.labels = LabelTokens(
                self.label_tokens, self.text_encoder["d_model"], dtype=self.dtype
            )
        elif "text" in self.features:
            self.text_norm = RMSNorm(dtype=self.dtype)
        else:
            self.text = T5Encoder(**self.text_encoder, dtype=self.dtype)
        self.text_in = Dense(width, dtype=self.dtype)
        trained = tuple(
            name
            for name in ("appearance", "structure")
            if name in self.tokens and name not in self.features
        )
        if trained:
            self.face = SmallFaceEncoder(
                **self.face_encoder, width=width, outputs=trained, dtype=self.dtype
            )
        if "appearance" in self.tokens:
            self.appearance_in = Dense(width, dtype=self.dtype)
            self.fusion = self.param("fusion", nn.initializers.zeros, (width,))
        if "structure" in self.tokens:
            if "structure" in self.features:
                self.structure_norm = RMSNorm(dtype=self.dtype)
                self.structure_in = Dense(width, dtype=self.dtype)
            self.au_attention = AUCrossAttention(self.transformer["num_heads"], dtype=self.dtype)
        if "reference" in self.tokens:
            self.reference_in = Dense(width, dtype=self.dtype)
        for name in ("text", *self.tokens):
            setattr(self, f"null_{name}", self.param(f"null_{name}", normal, (width,)))
        self.units = Dense(len(AU_NUMBERS))
        has_reference = "reference" in self.tokens
        self.maskgit = MaskGIT(**self.transformer, reference=has_reference, dtype=self.dtype)

    def context(
        self,
        *,
        drop_text: Bool[Array, " B"],
        drop_reference: Bool[Array, " B"],
        text_tokens: Int[Array, "B L"] | None = None,
        text_features: Float[Array, "B L E"] | None = None,
        text_mask: Bool[Array, "B L"] | None = None,
        labels: Int[Array, "B A"] | None = None,
        reference: Float[Array, "B H W 3"] | None = None,
        appearance: Float[Array, "B 512"] | None = None,
        structure: Float[Array, "B S F"] | None = None,
        reference_latents: Float[Array, "B N C"] | None = None,
    ) -> tuple[Context, dict[str, Array]]:
        """The context, and what belongs to it.

        Beside it come `T_AU` [B, L, D], the `au_attention` maps [B, heads, L, S] (where there is
        T_S) and `unit_logits` [B, 12], the action units as the pooled text tells them. A text
        encoder that starts from nothing learns what the words mean from these, long before the
        pictures could teach it.

        Only the inputs that the model's fields ask for are read.

        Args:
          drop_text, drop_reference: rows whose text or reference is replaced by the learned null.
          text_tokens: for the small text encoder; with text_mask.
          text_features: T5's; with text_mask.
          labels: in {0, 1}, or -1.
          reference: image in [-1, 1], for the small face encoder.
          appearance, structure: ArcFace's and CLIP's features of the reference.
          reference_latents: its Stage I vectors, the sum of the levels' codes.
        """
        if self.label_tokens:
            text = self.labels(labels)
            text_mask = jnp.ones(text.shape[:2], bool)
        elif "text" in self.features:
            text = self.text_norm(text_features)
        else:
            text = self.text(text_tokens, text_mask)
        text = self.text_in(text)  # T_T [B, L, D]
        no_text, no_reference = drop_text[:, None, None], drop_reference[:, None, None]
        text = jnp.where(no_text, self.null_text.astype(self.dtype), text)
        first_only = jnp.arange(text.shape[1]) == 0
        text_mask = jnp.where(drop_text[:, None], first_only, text_mask)

        if hasattr(self, "face"):
            small = self.face(reference)
            appearance, structure = (
                given if name in self.features else made
                for name, given, made in zip(
                    ("appearance", "structure"), (appearance, structure), small, strict=True
                )
            )
        fused, out, tokens = text, {}, None
        if "appearance" in self.tokens:
            appearance = self.appearance_in(appearance)[:, None]  # T_A [B, 1, D]
            null = self.null_appearance.astype(self.dtype)
            appearance = jnp.where(no_reference, null, appearance)
        if "structure" in self.tokens:
            if "structure" in self.features:
                structure = self.structure_in(self.structure_norm(structure))
            null = self.null_structure.astype(self.dtype)
            structure = jnp.where(no_reference, null, structure)
        if "reference" in self.tokens:
            tokens = self.reference_in(reference_latents.astype(self.dtype))  # T_V [B, N, D]
            null = self.null_reference.astype(self.dtype)
            tokens = jnp.where(no_reference, null, tokens)

        if "structure" in self.tokens:
            everywhere = jnp.ones(structure.shape[:2], bool)
            fused, out["au_attention"] = self.au_attention(text, structure, everywhere)
        out["T_AU"] = fused
        if "appearance" in self.tokens:
            weight = jax.nn.sigmoid(self.fusion).astype(self.dtype)
            fused = weight * appearance + (1 - weight) * fused
        count = text_mask.sum(-1, keepdims=True)
        pooled = jnp.where(text_mask[..., None], fused, 0).sum(1) / count.astype(self.dtype)
        context = Context(text=fused, text_mask=text_mask, reference=tokens, pooled=pooled)
        out["unit_logits"] = self.units(pooled.astype(jnp.float32))
        return context, out

    def __call__(
        self, codes: Int[Array, "B N Q"], masked: Bool[Array, "B N Q"], **inputs: Array
    ) -> Float[Array, "B N Q K"]:
        """Logits of every image token; `inputs` as `context` takes them."""
        context, _ = self.context(**inputs)
        return self.maskgit(codes, masked, context)

    def logits(self, codes, masked, context: Context) -> Float[Array, "B N Q K"]:
        """See `MaskGIT`, for a context at hand."""
        return self.maskgit(codes, masked, context)

    def logits_at(self, codes, masked, context: Context, places=None) -> tuple[list, Array]:
        """See `MaskGIT.logits_at`."""
        return self.maskgit.logits_at(codes, masked, context, places)

    def keys_values(self, context: Context) -> list | tuple:
        """See `MaskGIT.keys_values`."""
        return self.maskgit.keys_values(context)

    def trunk(self, codes, masked, context: Context, keys_values) -> Float[Array, "B T D"]:
        """See `MaskGIT.trunk`."""
        return self.maskgit.trunk(codes, masked, context, keys_values)

    def level_features(self, hidden, codes, level: int) -> Float[Array, "B N D"]:
        """See `MaskGIT.level_features`."""
        return self.maskgit.level_features(hidden, codes, level)

    def code_logits(self, features, level: int) -> Float[Array, "B N K"]:
        """See `MaskGIT.code_logits`."""
        return self.maskgit.code_logits(features, level)
