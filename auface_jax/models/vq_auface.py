"""VQ-AUFace (paper, Stage II): text and reference face -> context -> image tokens.

    T_T   text tokens, a T5 encoder                      [B, L, D]
    T_A   appearance, a face recognition embedding       [B, 512]  -> one D-wide vector
    T_S   structure, image patch tokens                  [B, S, D]
    T_V   Stage I vectors of the reference face          [B, N, C] -> D
    T_AU  = AU cross-attention(T_T, T_S)                 [B, L, D]
    context = [w·T_A + (1 - w)·T_AU ; T_V], w a sigmoid for each channel, 1/2 at the start

Null inputs are learned: one learned token replaces a dropped text, learned T_A, T_S and T_V replace
a dropped reference.

Text and reference are encoded by small networks that are trained along, or by pre-trained networks,
whose features are inputs then (`generation.encoders`). For the paper's ablations a model can do
without T_A, T_S or T_V, or read AU labels in place of a text.
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
from auface_jax.models.maskgit import MaskGIT
from auface_jax.models.t5 import T5Encoder
from auface_jax.models.transformer import Context
from auface_jax.ops.fused_linear import Dense

# Tokens that describe the reference face: T_A, T_S and T_V.
FACE_TOKENS = ("appearance", "structure", "reference")


class VQAUFace(nn.Module):
    """The network of Stage II, see the module's docstring.

    Attributes:
      text_encoder: fields of `T5Encoder`.
      face_encoder: fields of `SmallFaceEncoder` without `width` and `outputs`.
      transformer: fields of `MaskGIT` without `reference`.
      tokens: the `FACE_TOKENS` that the model reads; without T_S, T_AU is T_T.
      features: inputs that come from pre-trained encoders: "text", "structure", "appearance".
      label_tokens: L of a model that reads labels, as L tokens of the text encoder's width; 0 for a
        model that reads texts.
      dtype: of the computation; parameters and logits are float32.
    """

    text_encoder: FrozenDict[str, Any]
    face_encoder: FrozenDict[str, Any]
    transformer: FrozenDict[str, Any]
    tokens: tuple[str, ...] = FACE_TOKENS
    features: tuple[str, ...] = ()
    label_tokens: int = 0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self._setup_text()
        self._setup_face()
        width, normal = self.transformer["d_model"], nn.initializers.normal(0.02)
        for name in ("text", *self.tokens):
            setattr(self, f"null_{name}", self.param(f"null_{name}", normal, (width,)))
        self.units = Dense(len(AU_NUMBERS))
        has_reference = "reference" in self.tokens
        self.maskgit = MaskGIT(**self.transformer, reference=has_reference, dtype=self.dtype)

    def _setup_text(self):
        """Creates the layers from a text, or labels, to T_T."""
        if self.label_tokens:
            self.labels = LabelTokens(
                self.label_tokens, self.text_encoder["d_model"], dtype=self.dtype
            )
        elif "text" in self.features:
            self.text_norm = RMSNorm(dtype=self.dtype)
        else:
            self.text = T5Encoder(**self.text_encoder, dtype=self.dtype)
        self.text_in = Dense(self.transformer["d_model"], dtype=self.dtype)

    def _setup_face(self):
        """Creates the layers from a reference to T_A, T_S and T_V, and those that fuse them."""
        width = self.transformer["d_model"]
        if self._small_encoder_outputs:
            self.face = SmallFaceEncoder(
                **self.face_encoder,
                width=width,
                outputs=self._small_encoder_outputs,
                dtype=self.dtype,
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

    @property
    def _small_encoder_outputs(self) -> tuple[str, ...]:
        """T_A and T_S, unless they are left out or come from a pre-trained encoder."""
        return tuple(
            name
            for name in ("appearance", "structure")
            if name in self.tokens and name not in self.features
        )

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
        """Encodes text and reference into the context of the transformer.

        The inputs that the model's fields do not ask for are ignored.

        Args:
          drop_text: examples whose text is replaced by the learned null.
          drop_reference: examples whose reference is replaced by the learned null.
          text_tokens: text tokens for the small text encoder; with text_mask.
          text_features: features of T5; with text_mask.
          text_mask: True at tokens, False at padding.
          labels: AU labels in {0, 1}, or -1.
          reference: reference image in [-1, 1], for the small face encoder.
          appearance: feature of ArcFace.
          structure: features of CLIP.
          reference_latents: Stage I vectors of the reference, summed over the quantizer levels.

        Returns:
          The context, and a dictionary with `T_AU` [B, L, D], the `au_attention` maps
          [B, heads, L, S] (for a model with T_S) and `unit_logits` [B, 12], the action units as
          read from the pooled text. A text encoder that is trained from scratch learns the meaning
          of words from the latter, long before images could teach it.
        """
        # T_T, T_A, T_S and T_V; None for those that the model does not have.
        text, text_mask = self._text(drop_text, text_tokens, text_features, text_mask, labels)
        if self._small_encoder_outputs:
            small_appearance, small_structure = self.face(reference)
            if "appearance" not in self.features:
                appearance = small_appearance
            if "structure" not in self.features:
                structure = small_structure
        drop = drop_reference[:, None, None]
        appearance = self._appearance(appearance, drop)
        structure = self._structure(structure, drop)
        reference = self._reference(reference_latents, drop)

        fused, out = text, {}
        if structure is not None:
            everywhere = jnp.ones(structure.shape[:2], bool)
            fused, out["au_attention"] = self.au_attention(text, structure, everywhere)
        out["T_AU"] = fused
        if appearance is not None:
            weight = jax.nn.sigmoid(self.fusion).astype(self.dtype)
            fused = weight * appearance + (1 - weight) * fused
        count = text_mask.sum(-1, keepdims=True)
        pooled = jnp.where(text_mask[..., None], fused, 0).sum(1) / count.astype(self.dtype)
        out["unit_logits"] = self.units(pooled.astype(jnp.float32))
        return Context(text=fused, text_mask=text_mask, reference=reference, pooled=pooled), out

    def _text(
        self, drop, tokens, features, mask, labels
    ) -> tuple[Float[Array, "B L D"], Bool[Array, "B L"]]:
        """Returns T_T and its mask; a dropped text is one learned token."""
        if self.label_tokens:
            text = self.labels(labels)
            mask = jnp.ones(text.shape[:2], bool)
        elif "text" in self.features:
            text = self.text_norm(features)
        else:
            text = self.text(tokens, mask)
        text = self._or_null(self.text_in(text), drop[:, None, None], self.null_text)
        first_only = jnp.arange(text.shape[1]) == 0
        return text, jnp.where(drop[:, None], first_only, mask)

    def _appearance(self, feature, drop) -> Float[Array, "B 1 D"] | None:
        """Returns T_A, or None for a model without it."""
        if "appearance" not in self.tokens:
            return None
        return self._or_null(self.appearance_in(feature)[:, None], drop, self.null_appearance)

    def _structure(self, features, drop) -> Float[Array, "B S D"] | None:
        """Returns T_S, or None for a model without it."""
        if "structure" not in self.tokens:
            return None
        if "structure" in self.features:
            features = self.structure_in(self.structure_norm(features))
        return self._or_null(features, drop, self.null_structure)

    def _reference(self, latents, drop) -> Float[Array, "B N D"] | None:
        """Returns T_V, or None for a model without it."""
        if "reference" not in self.tokens:
            return None
        tokens = self.reference_in(latents.astype(self.dtype))
        return self._or_null(tokens, drop, self.null_reference)

    def _or_null(
        self, tokens: Float[Array, "B n D"], drop: Bool[Array, "B 1 1"], null: Float[Array, " D"]
    ) -> Float[Array, "B n D"]:
        """Replaces the tokens of dropped examples by the learned null."""
        return jnp.where(drop, null.astype(self.dtype), tokens)

    def __call__(
        self, tokens: Int[Array, "B N Q"], masked: Bool[Array, "B N Q"], **inputs: Array
    ) -> Float[Array, "B N Q K"]:
        """Returns the logits of every image token.

        Args:
          tokens: image tokens.
          masked: True where a token is hidden from the network.
          **inputs: arguments of `context`.
        """
        context, _ = self.context(**inputs)
        return self.maskgit(tokens, masked, context)

    def logits(self, tokens, masked, context: Context) -> Float[Array, "B N Q K"]:
        """Calls `MaskGIT` with a context that is computed already."""
        return self.maskgit(tokens, masked, context)

    def logits_at(self, tokens, masked, context: Context, indices=None) -> tuple[list, Array]:
        """Calls `MaskGIT.logits_at`."""
        return self.maskgit.logits_at(tokens, masked, context, indices)

    def keys_values(self, context: Context) -> list | tuple:
        """Calls `MaskGIT.keys_values`."""
        return self.maskgit.keys_values(context)

    def trunk(self, tokens, masked, context: Context, keys_values) -> Float[Array, "B T D"]:
        """Calls `MaskGIT.trunk`."""
        return self.maskgit.trunk(tokens, masked, context, keys_values)

    def level_features(self, hidden, tokens, level: int) -> Float[Array, "B N D"]:
        """Calls `MaskGIT.level_features`."""
        return self.maskgit.level_features(hidden, tokens, level)

    def code_logits(self, features, level: int) -> Float[Array, "B N K"]:
        """Calls `MaskGIT.code_logits`."""
        return self.maskgit.code_logits(features, level)
