"""The masked transformer over image tokens (MaskGIT, Chang et al. 2022) in two token layouts.

An image is N positions x Q quantizer levels of tokens in [0, K). Some are masked; the transformer
reads the others and the context and returns logits over K for each of them.

`flat`: the sequence has N * Q entries; entry n * Q + q is the token of level q at position n. The
  vocabulary is Q * K tokens and a mask token for each level. The logits of an entry cover the K
  tokens of its own level alone, so an impossible token cannot be sampled. The paper's layout.
`depth`: the sequence has N entries, each the sum of the embeddings of its levels, which are masked
  together. One pass of the trunk serves all levels: the logits of level q come from the trunk's
  output and the tokens of the coarser levels at the same position, coarse to fine (the depth order
  of RQ-Transformer, Lee et al. 2022, with a small network in place of its depth transformer). The
  sequence is Q times shorter.

The blocks of the trunk are `transformer.Block`.
"""

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from auface_jax.models.layers import GatedMLP, RMSNorm
from auface_jax.models.token_layout import check_layout
from auface_jax.models.transformer import REMAT_POLICIES, Block, Context, ScannedBlock
from auface_jax.ops.fused_linear import Dense


class MaskGIT(nn.Module):
    """Logits for every image token from the visible ones and a `Context`.

    Attributes:
      layout: `flat` or `depth`.
      grid: positions along one side; N = grid².
      num_quantizers: Q.
      codebook_size: K.
      d_model: width D.
      num_layers: number of blocks.
      num_heads: attention heads.
      mlp_ratio: hidden width of the gated MLP divided by D.
      num_text_maps: number of learned maps over the grid that the pooled text mixes, as blendshapes
        mix a face; 0 has none. On aligned faces, a word acts at its own positions from the start.
      reference: whether the context has T_V.
      scan: run one block in a loop over stacked parameters, `blocks`, in place of `num_layers`
        blocks, `blocks_0` and so on: the same function in a far shorter program.
      remat: a key of `REMAT_POLICIES`.
      heads_per_step: heads of the self-attention computed at a time, see `attention`.
      dtype: of the computation; parameters and logits are float32.
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
        """Computes the context's keys and values for every block.

        Decoding computes them once for all of its iterations.
        """
        context = self._with_positions(context)
        if self.scan:
            return self.blocks.scan_keys_values(None, None, context)[1]
        return [block.keys_values(context) for block in self.blocks]

    def trunk(
        self,
        tokens: Int[Array, "B N Q"],
        masked: Bool[Array, "B N Q"],
        context: Context,
        keys_values: list | tuple,
    ) -> Float[Array, "B T D"]:
        """Runs the transformer over the visible tokens.

        Args:
          tokens: image tokens.
          masked: True where a token is hidden from the network.
          context: the conditioning.
          keys_values: from the method `keys_values`.

        Returns:
          Hidden states [B, T, D]; T = N * Q (`flat`) or N (`depth`).
        """
        embedding = self._embed(self.code_embedding, tokens)  # [B, N, Q, D]
        x = jnp.where(masked[..., None], self.mask_embedding, embedding)
        if self.reference:
            # T_V lies on the same grid as the image tokens: each position also receives its own.
            position = self.position + self.reference_in(context.reference)  # [B, N, D]
        else:
            position = jnp.broadcast_to(self.position, (tokens.shape[0], *self.position.shape))
        if self.num_text_maps:
            weights = self.field_weights(context.pooled)  # [B, maps]
            position += jnp.einsum("bf,fnd->bnd", weights, self.text_fields.astype(self.dtype))
        if self.layout == "depth":
            x = x.sum(2) + position
        else:
            x = einops.rearrange(x + position[:, :, None], "b n q d -> b (n q) d")
        x = x.astype(self.dtype)
        if self.scan:
            x, _ = self.blocks.scan_block(x, keys_values, context)
        else:
            for block, kv in zip(self.blocks, keys_values, strict=True):
                x = block(x, kv, context)
        return self.out_norm(x)

    def level_features(
        self, hidden: Float[Array, "B T D"], tokens: Int[Array, "B N Q"], level: int
    ) -> Float[Array, "B N D"]:
        """Computes the features of one level, of which `code_logits` is a linear function.

        Args:
          hidden: from `trunk`.
          tokens: image tokens, read at the coarser levels alone, and in the `depth` layout alone.
          level: number of the quantizer level, from 0.
        """
        if self.layout == "flat":
            return hidden[:, level :: self.num_quantizers]
        coarser = self._embed(self.level_embedding, tokens[..., :level]).sum(2) if level else None
        return self._features(hidden, coarser, level)

    def code_logits(self, features: Float[Array, "B N D"], level: int) -> Float[Array, "B N K"]:
        """Computes the logits of one level from its features."""
        return self._logits(features, level, self.heads_out[level])

    def __call__(
        self, tokens: Int[Array, "B N Q"], masked: Bool[Array, "B N Q"], context: Context
    ) -> Float[Array, "B N Q K"]:
        """Computes the logits of every token.

        In the `depth` layout each level reads the true tokens of the coarser levels in `tokens`
        (teacher forcing).
        """
        return jnp.stack(self.logits_at(tokens, masked, context)[0], axis=2)

    def logits_at(
        self,
        tokens: Int[Array, "B N Q"],
        masked: Bool[Array, "B N Q"],
        context: Context,
        indices: Int[Array, "G M q"] | None = None,
    ) -> tuple[list[Float[Array, "G M K"]], Int[Array, "G M Q"]]:
        """Computes the logits of every level at some token indices alone.

        The output heads are then spared the tokens that no loss reads.

        Args:
          tokens: image tokens.
          masked: True where a token is hidden from the network.
          context: the conditioning.
          indices: from `masking.masked_token_indices`: for each of G groups of consecutive
            examples, M tokens of each level, as example * N + position within the group; q is Q, or
            1 where all levels share their indices. None is every token, with G = B and M = N.

        Returns:
          Logits of each level, and the tokens at these indices.
        """
        hidden = self.trunk(tokens, masked, context, self.keys_values(context))
        groups = len(hidden) if indices is None else len(indices)
        entries = self.num_quantizers if self.layout == "flat" else 1  # of a position
        hidden = einops.rearrange(hidden, "(g r) (n q) d -> g (r n) q d", g=groups, q=entries)
        tokens = einops.rearrange(tokens, "(g r) n q -> g (r n) q", g=groups)
        if indices is not None and indices.shape[-1] == 1:
            hidden, tokens = (_take(x, indices) for x in (hidden, tokens))
            indices = None
        # Each table is split once: a slice of it has a gradient as large as the table.
        heads, hidden = jnp.unstack(self.heads_out), jnp.unstack(hidden, axis=2)
        sums = self._coarser_sums(tokens)
        logits, targets = [], []
        for level in range(self.num_quantizers):
            x, target, coarser = hidden[level % entries], tokens[..., level], sums[level]
            if indices is not None:
                x, target, coarser = (
                    _take(part, indices[..., level]) for part in (x, target, coarser)
                )
            logits.append(self._logits(self._features(x, coarser, level), level, heads[level]))
            targets.append(target)
        return logits, jnp.stack(targets, axis=2)

    def _coarser_sums(self, tokens: Int[Array, "B N Q"]) -> list[Float[Array, "B N D"] | None]:
        """Sums, for each level, the embeddings of the coarser levels that its head reads.

        The sum is None at the first level, and at all levels in the `flat` layout.
        """
        if self.layout == "flat":
            return [None] * self.num_quantizers
        embedded = self._embed(self.level_embedding, tokens[..., : self.num_quantizers - 1])
        sums = [None]
        for part in jnp.unstack(embedded, axis=2):
            sums.append(part if sums[-1] is None else sums[-1] + part)
        return sums

    def _features(
        self, x: Float[Array, "B N D"], coarser: Float[Array, "B N D"] | None, level: int
    ) -> Float[Array, "B N D"]:
        """Computes the features of a level from the trunk's output at its tokens."""
        if self.layout == "flat":
            return x
        x = x if coarser is None else x + coarser.astype(self.dtype)
        return x + self.level_mlps[level](self.level_norms[level](x))

    def _logits(
        self, features: Float[Array, "B N D"], level: int, head: Float[Array, "K D"]
    ) -> Float[Array, "B N K"]:
        """Computes logits as [K, tokens], transposed, which is how `ops.cross_entropy` reads them.

        Rows as long as a vocabulary of a power of two are slow on a CPU (`ops/row_padding.py`).
        """
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

    def _with_positions(self, context: Context) -> Context:
        """Adds the position embeddings of the image tokens to the reference tokens."""
        if not self.reference:
            return context
        return context.replace(reference=context.reference + self.position.astype(self.dtype))

    def _embed(self, table: Float[Array, "Q K D"], tokens: Int[Array, "B N q"]):
        """Looks up the embeddings of the first q levels in `table`."""
        table = nn.with_logical_constraint(table, (None, "vocab", None))
        quantizers = jnp.arange(tokens.shape[-1])
        return nn.with_logical_constraint(table[quantizers, tokens], ("batch", None, None, None))


def _take(x: Array | None, indices: Int[Array, "G M *q"]) -> Array | None:
    """Returns the entries of `x` [G, N, ...] at some indices of its second axis."""
    if x is None:
        return None
    indices = indices.reshape(*indices.shape[:2], *[1] * (x.ndim - 2))
    return jnp.take_along_axis(x, indices, axis=1)
