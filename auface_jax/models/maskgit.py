"""The masked transformer over image tokens (MaskGIT, Chang et al. 2022) in two token layouts.

An image is N positions x Q residual levels of codes in [0, K). Some are masked; the transformer
reads the others and the context and gives logits over K for every one.

`flat`: the sequence has N * Q places. Place n * Q + q holds the code of level q at position n; the
  id space is Q * K codes and one mask id. A place's logits cover its own level's K codes and no
  others, so an impossible id cannot be drawn. The paper's layout.
`depth`: the sequence has N places, each the sum of its levels' embeddings, masked together. One
  pass of the trunk serves all levels: level q's logits come from the trunk's output and the codes
  of the levels above it at the same position, coarse to fine (the depth order of RQ-Transformer,
  Lee et al. 2022, with a small network in place of its depth transformer). Q times shorter.
"""

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from auface_jax.models.layers import CrossAttention, GatedMLP, RMSNorm, SelfAttention
from auface_jax.models.token_layout import check_layout
from auface_jax.ops.fused_linear import Dense


@struct.dataclass
class Context:
    """What the transformer is told: [weighted sum of T_A and T_AU ; T_V].

    Attributes:
      text: float [B, L, D], the fused text tokens.
      text_mask: bool [B, L], at least one True a row.
      reference: float [B, N, D], the reference's image tokens T_V, on the grid of the image tokens;
        None for a model that is not given them.
      pooled: float [B, D], the masked mean of `text`.
    """

    text: Float[Array, "B L D"]
    text_mask: Bool[Array, "B L"]
    reference: Float[Array, "B N D"] | None
    pooled: Float[Array, "B D"]


class Block(nn.Module):
    """Pre-norm self-attention, attention to the context, gated feed-forward.

    Text and reference are attended to apart, each with its own softmax: in one softmax over both, N
    reference tokens drown a text in early training.
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

    def keys_values(self, context: Context):
        """Keys and values of text and reference, None for one that is not there."""
        text = self.text_attention.keys_values(context.text)
        if not self.reference:
            return text, None
        return text, self.reference_attention.keys_values(context.reference)

    def __call__(self, x: Float[Array, "B T D"], keys_values, context: Context):
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
    """A block in the form that `nn.scan` wants: what is carried comes first and goes out first."""

    def scan_keys_values(self, carry, nothing, context: Context):
        return carry, self.keys_values(context)

    def scan_block(self, x, keys_values, context: Context):
        return self(x, keys_values, context), None


# What of a block's activations is kept for the gradient; the rest is computed again. "" keeps all.
REMAT_POLICIES = {
    "": None,
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "products": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


class MaskGIT(nn.Module):
    """Logits for every image token from the visible ones and a `Context`.

    Attributes:
      layout: `flat` or `depth`.
      grid: positions along one side; N = grid².
      num_quantizers, codebook_size: Q and K.
      d_model, num_layers, num_heads: D, number of blocks, attention heads.
      mlp_ratio: hidden width of the gated feed-forward over D.
      num_text_maps: number of learned maps over the grid that the pooled text mixes, as blendshapes
        mix a face; 0 has none. On aligned faces a word then acts at its own places from the start.
      reference: whether the context has T_V.
      scan: one block in a loop over stacked parameters, `blocks`, and not `num_layers` blocks one
        after the other, `blocks_0` and so on: the same function in a far shorter program.
      remat: a key of `REMAT_POLICIES`.
      heads_per_step: of the self-attention, see `attention`.
    """

    layout: str
    grid: int
    num_quantizers: int
    codebook_size: int
    d_model: int
    num_layers: int
    num_heads: int
    mlp_ratio: float
    num_text_maps: int = 0
    reference: bool = True
    scan: bool = False
    remat: str = ""
    heads_per_step: int = 0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        check_layout(self.layout)
        if self.remat not in REMAT_POLICIES:
            raise ValueError(
                f"transformer.remat={self.remat!r} is not one of "
                + ", ".join(map(repr, REMAT_POLICIES))
            )
        normal = nn.initializers.normal(0.02)
        shape = (self.num_quantizers, self.codebook_size, self.d_model)
        self.code_embedding = self.param("code_embedding", normal, shape)
        self.mask_embedding = self.param(
            "mask_embedding", normal, (self.num_quantizers, self.d_model)
        )
        self.position = self.param("position", normal, (self.grid**2, self.d_model))
        if self.reference:
            self.reference_in = Dense(self.d_model, dtype=self.dtype)
        if self.num_text_maps:
            self.field_weights = Dense(self.num_text_maps, dtype=self.dtype)
            shape_of_fields = (self.num_text_maps, self.grid**2, self.d_model)
            self.text_fields = self.param("text_fields", normal, shape_of_fields)
        hidden = int(self.mlp_ratio * self.d_model)
        block, method = (ScannedBlock, "scan_block") if self.scan else (Block, "__call__")
        if self.remat:
            policy = REMAT_POLICIES[self.remat]
            block = nn.remat(block, policy=policy, prevent_cse=not self.scan, methods=[method])
        shared = {
            "reference": self.reference,
            "heads_per_step": self.heads_per_step,
            "dtype": self.dtype,
        }
        if self.scan:
            block = nn.scan(
                block,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                in_axes=(0, nn.broadcast),
                length=self.num_layers,
                methods=["scan_block", "scan_keys_values"],
            )
            self.blocks = block(self.d_model, self.num_heads, hidden, **shared)
        else:
            self.blocks = [
                block(self.d_model, self.num_heads, hidden, **shared)
                for _ in range(self.num_layers)
            ]
        self.out_norm = RMSNorm(dtype=self.dtype)
        self.heads_out = self.param("head", normal, shape)
        self.heads_bias = self.param(
            "head_bias", nn.initializers.zeros, (self.num_quantizers, self.codebook_size)
        )
        if self.layout == "depth":
            self.level_embedding = self.param("level_embedding", normal, shape)
            self.level_norms = [RMSNorm(dtype=self.dtype) for _ in range(self.num_quantizers)]
            self.level_mlps = [
                GatedMLP(2 * self.d_model, dtype=self.dtype) for _ in range(self.num_quantizers)
            ]

    def keys_values(self, context: Context) -> list | tuple:
        """The context's keys and values for every block: once for all decoding iterations."""
        context = self._placed(context)
        if self.scan:
            return self.blocks.scan_keys_values(None, None, context)[1]
        return [block.keys_values(context) for block in self.blocks]

    def trunk(
        self,
        codes: Int[Array, "B N Q"],
        masked: Bool[Array, "B N Q"],
        context: Context,
        keys_values: list | tuple,
    ) -> Float[Array, "B T D"]:
        """The transformer's output; T = N * Q (`flat`) or N (`depth`)."""
        embedding = self._embed(self.code_embedding, codes)  # [B, N, Q, D]
        x = jnp.where(masked[..., None], self.mask_embedding, embedding)
        if self.reference:
            # T_V lies on the same grid as the image tokens: each also receives its own place's.
            place = self.position + self.reference_in(context.reference)  # [B, N, D]
        else:
            place = jnp.broadcast_to(self.position, (codes.shape[0], *self.position.shape))
        if self.num_text_maps:
            weights = self.field_weights(context.pooled)  # [B, fields]
            place += jnp.einsum("bf,fnd->bnd", weights, self.text_fields.astype(self.dtype))
        if self.layout == "depth":
            x = x.sum(2) + place
        else:
            x = einops.rearrange(x + place[:, :, None], "b n q d -> b (n q) d")
        x = x.astype(self.dtype)
        if self.scan:
            x, _ = self.blocks.scan_block(x, keys_values, context)
        else:
            for block, kv in zip(self.blocks, keys_values, strict=True):
                x = block(x, kv, context)
        return self.out_norm(x)

    def level_features(
        self, hidden: Float[Array, "B T D"], codes: Int[Array, "B N Q"], level: int
    ) -> Float[Array, "B N D"]:
        """What the logits of one level are a linear function of, `code_logits`; in the `depth`
        layout it comes of `codes` of the levels above it too."""
        if self.layout == "flat":
            return hidden[:, level :: self.num_quantizers]
        above = self._embed(self.level_embedding, codes[..., :level]).sum(2) if level else None
        return self._features(hidden, above, level)

    def code_logits(self, features: Float[Array, "B N D"], level: int) -> Float[Array, "B N K"]:
        """Logits of one level from its features."""
        return self._logits(features, level, self.heads_out[level])

    def __call__(
        self, codes: Int[Array, "B N Q"], masked: Bool[Array, "B N Q"], context: Context
    ) -> Float[Array, "B N Q K"]:
        """Logits of all levels, those above a level given by `codes` (teacher forcing, `depth`)."""
        return jnp.stack(self.logits_at(codes, masked, context)[0], axis=2)

    def logits_at(
        self,
        codes: Int[Array, "B N Q"],
        masked: Bool[Array, "B N Q"],
        context: Context,
        places: Int[Array, "G M q"] | None = None,
    ) -> tuple[list[Float[Array, "G M K"]], Int[Array, "G M Q"]]:
        """Logits of every level, and the codes there, at some places: the heads are spared what no
        loss reads.

        Args:
          places: from `masking.masked_places`: of each of G groups of neighbouring rows, M tokens
            of each level, as row * N + position within the group; q is Q, or 1 where all levels
            have the same places. None is every place, with G = B and M = N.
        """
        hidden = self.trunk(codes, masked, context, self.keys_values(context))
        groups = len(hidden) if places is None else len(places)
        of_level = self.num_quantizers if self.layout == "flat" else 1
        hidden = einops.rearrange(hidden, "(g r) (n q) d -> g (r n) q d", g=groups, q=of_level)
        codes = einops.rearrange(codes, "(g r) n q -> g (r n) q", g=groups)
        if places is not None and places.shape[-1] == 1:
            hidden, codes = (_at(x, places) for x in (hidden, codes))
            places = None
        # Each table is taken apart once: a slice of it has a gradient as large as all of it.
        heads, hidden = jnp.unstack(self.heads_out), jnp.unstack(hidden, axis=2)
        sums = self._sums_above(codes)
        logits, targets = [], []
        for level in range(self.num_quantizers):
            x, known, above = hidden[level % of_level], codes[..., level], sums[level]
            if places is not None:
                x, known, above = (_at(part, places[..., level]) for part in (x, known, above))
            logits.append(self._logits(self._features(x, above, level), level, heads[level]))
            targets.append(known)
        return logits, jnp.stack(targets, axis=2)

    def _sums_above(self, codes: Int[Array, "B N Q"]) -> list[Float[Array, "B N D"] | None]:
        """For each level what its head is told of the levels above it: nothing at the first, and
        in the `flat` layout."""
        if self.layout == "flat":
            return [None] * self.num_quantizers
        embedded = self._embed(self.level_embedding, codes[..., : self.num_quantizers - 1])
        sums = [None]
        for part in jnp.unstack(embedded, axis=2):
            sums.append(part if sums[-1] is None else sums[-1] + part)
        return sums

    def _features(
        self, x: Float[Array, "B N D"], above: Float[Array, "B N D"] | None, level: int
    ) -> Float[Array, "B N D"]:
        """A level's features from the trunk's output at its places."""
        if self.layout == "flat":
            return x
        x = x if above is None else x + above.astype(self.dtype)
        return x + self.level_mlps[level](self.level_norms[level](x))

    def _logits(
        self, features: Float[Array, "B N D"], level: int, head: Float[Array, "K D"]
    ) -> Float[Array, "B N K"]:
        """Computed with codes before places, as `losses.cross_entropy` reads them: rows as long as
        a vocabulary of a power of two are what `row_padding.py` warns of."""
        x = features.astype(self.dtype)
        head = nn.with_logical_constraint(head.astype(self.dtype), ("vocab", None))
        logits = jax.lax.dot_general(
            head,
            x.reshape(-1, x.shape[-1]),
            (((1,), (1,)), ((), ())),
            preferred_element_type=jnp.float32,
        )
        logits = logits + self.heads_bias[level][:, None]
        return logits.T.reshape(*x.shape[:-1], self.codebook_size)

    def _placed(self, context: Context) -> Context:
        """Reference tokens with the image tokens' own position embeddings."""
        if not self.reference:
            return context
        return context.replace(reference=context.reference + self.position.astype(self.dtype))

    def _embed(self, table: Float[Array, "Q K D"], codes: Int[Array, "B N q"]):
        """Of the first q levels, the vectors of `codes` in `table`."""
        table = nn.with_logical_constraint(table, (None, "vocab", None))
        quantizers = jnp.arange(codes.shape[-1])
        return nn.with_logical_constraint(table[quantizers, codes], ("batch", None, None, None))


def _at(x: Array | None, places: Int[Array, "G M *q"]) -> Array | None:
    """`x` [G, N, ...] at places of its second axis; one place is that of everything there."""
    if x is None:
        return None
    places = places.reshape(*places.shape[:2], *[1] * (x.ndim - 2))
    return jnp.take_along_axis(x, places, axis=1)
