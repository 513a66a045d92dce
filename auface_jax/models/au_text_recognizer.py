"""Text AU recogniser: description -> the action units that it states, and their degrees.

Two heads read the features of a text encoder:
- `AUTextHead`, the paper's (AAAD): a four-layer perceptron on the mean of the features of a frozen
  T5-large;
- `AUQueryHead`: for each unit, attention of one learned query to the features. A long text says
  little about each unit, and a mean over all tokens dilutes it.

Both return unit logits, from whose sigmoid a unit is read, and logits of what is said of its
degree: nothing, or A to E.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from auface_jax.facs import AU_NUMBERS
from auface_jax.facs.degrees import DEGREES

LAYERS = 4
DEGREE_CLASSES = 1 + len(DEGREES)  # no degree, A, B, C, D, E


class Reading(NamedTuple):
    """Logits that a recogniser reads in a batch of texts.

    Attributes:
      units: logit that each unit is stated.
      degrees: logits of each unit's degree: none is stated, or A to E.
      features: vector of what the text says of each unit; None where the head has none.
    """

    units: Float[Array, "B A"]
    degrees: Float[Array, "B A 6"]
    features: Float[Array, "B A D"] | None = None


class AUTextHead(nn.Module):
    """Perceptron of four layers on the mean of token features.

    Attributes:
      width: width of the three hidden layers.
      dtype: of the computation; the logits are float32.
    """

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, features: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Reading:
        """Computes the logits; `mask` is True at tokens and False at padding."""
        kept = mask[..., None].astype(features.dtype)
        # Features at padding mean nothing; the mean of a text without tokens is the zero vector.
        x = (features * kept).sum(1) / jnp.maximum(kept.sum(1), 1.0)
        for _ in range(LAYERS - 1):
            x = nn.relu(nn.Dense(self.width, dtype=self.dtype)(x))
        x = x.astype(jnp.float32)
        units, degrees = len(AU_NUMBERS), DEGREE_CLASSES
        of_units = nn.Dense(units)(x)
        return Reading(of_units, nn.Dense(units * degrees)(x).reshape(-1, units, degrees))


class AUQueryHead(nn.Module):
    """One attention query a unit, and a perceptron that all units share.

    Attributes:
      width: width of the perceptron.
      dtype: of the computation; attention and logits are float32.
    """

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, features: Float[Array, "B L D"], mask: Bool[Array, "B L"]) -> Reading:
        """Computes the logits; `mask` is True at tokens, of which every text has one."""
        units, width = len(AU_NUMBERS), features.shape[-1]
        normal = nn.initializers.normal
        # Scaled so that queries learn at the pace of the layers.
        queries = 8 * self.param("queries", normal(0.02), (units, width))
        keys = nn.Dense(width, dtype=self.dtype, name="key")(features).astype(jnp.float32)
        scores = jnp.einsum("bld,ad->bal", keys, queries) * width**-0.5
        weights = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e9))
        values = nn.Dense(width, dtype=self.dtype, name="value")(features).astype(jnp.float32)
        read = jnp.einsum("bal,bld->bad", weights, values)  # what the text says of each unit
        direct = self.param("direct", normal(0.02), (units, width))
        x = read + self.param("unit", normal(1.0), (units, width))
        x = nn.gelu(nn.Dense(self.width, dtype=self.dtype, name="hidden")(x)).astype(jnp.float32)
        of_units = nn.Dense(1, name="out")(x)[..., 0] + jnp.einsum("bad,ad->ba", read, direct)
        return Reading(of_units, nn.Dense(DEGREE_CLASSES, name="degree")(x), read)


HEADS = {"mean": AUTextHead, "queries": AUQueryHead}


class AUTextRecognizer(nn.Module):
    """Text encoder and the head on it.

    Attributes:
      encoder: module (tokens, mask) -> features [B, L, D], such as `t5.T5Encoder`.
      head: one of `HEADS`.
    """

    encoder: nn.Module
    head: nn.Module

    def __call__(self, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]) -> Reading:
        """Computes the logits; `mask` is True at tokens and False at padding."""
        return self.head(self.encoder(tokens, mask), mask)


class UnitTokens(nn.Module):
    """Text encoder whose tokens are followed by twelve more, what the text says of each unit.

    A reader of a long text then finds each unit at a place of its own.

    Attributes:
      encoder: module (tokens, mask) -> features [B, L, D].
      head: an `AUQueryHead`.
    """

    encoder: nn.Module
    head: AUQueryHead

    @property
    def vocab_size(self) -> int:
        """Vocabulary of the encoder."""
        return self.encoder.vocab_size

    def __call__(
        self, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
    ) -> tuple[Float[Array, "B N D"], Bool[Array, "B N"]]:
        """Returns features and mask of the N = L + 12 tokens."""
        features = self.encoder(tokens, mask)
        of_units = self.head(features, mask).features
        everywhere = jnp.ones(of_units.shape[:2], bool)
        return (
            jnp.concatenate([features, of_units], axis=1),
            jnp.concatenate([mask, everywhere], axis=1),
        )
