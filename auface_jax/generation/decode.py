"""Iterative parallel decoding with guidance (MaskGIT, Chang et al. 2022, section 3.2).

Decoding starts from a fully masked image, or a partly given one, and
  1. computes the context, and its keys and values, once (`guided_network`).
Each of `steps` iterations (`decode_step`, one turn of a `lax.scan`) then
  2. runs the transformer over the visible tokens (`GuidedNetwork.hidden`),
  3. samples a token wherever one is masked, quantizer levels coarse to fine (`sample_levels`),
  4. gives each masked token a priority (`unmasking_priority`),
  5. keeps the sampled tokens of the highest priority and masks the others again: the cosine
     schedule says how many (`remask`).

The priority depends on the unmasking order. By `confidence` it is the log-probability of the
sampled token plus Gumbel noise that fades to nothing over the iterations. By `halton` it is the
position's place in a fixed order, and positions that will be masked again are not sampled at all.
In the `depth` layout the levels of a position are sampled from one pass and masked together; in the
`flat` layout `level_steps` can give each level its own iterations.

Guidance (Ho & Salimans 2022): logits = null + scale · (full - null), where null has the learned
null text and the same reference. Both halves go through the transformer as one batch.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from auface_jax.generation.decode_options import DecodeOptions
from auface_jax.generation.unmasking import (
    coarse_levels_first,
    halton_ranks,
    keep_masked,
    max_unmasked,
    num_masked_after,
    num_masked_after_by_level,
)
from auface_jax.models.transformer import Context
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.ops.sampling import argmax, inverse_cdf_sample, top_k_top_p_filter


@struct.dataclass
class DecodeState:
    """Tokens of a batch of images between two iterations.

    Attributes:
      tokens: every token; masked ones hold what was sampled there last.
      masked: True where a token is still to be decided.
    """

    tokens: Int[Array, "B N Q"]
    masked: Bool[Array, "B N Q"]


@dataclasses.dataclass(frozen=True)
class GuidedNetwork:
    """The transformer with its context, for the full and, with guidance, the null half.

    Attributes:
      apply: `VQAUFace.apply` with its parameters.
      guided: whether there is a null half.
      context: context of both halves.
      keys_values: its keys and values in every block.
    """

    apply: Callable
    guided: bool
    context: Context
    keys_values: list | tuple

    def both_halves(self, x: Array) -> Array:
        """Repeats a batch for the null half."""
        return jnp.concatenate([x, x]) if self.guided else x

    def hidden(self, state: DecodeState) -> Float[Array, "halves T D"]:
        """Runs the transformer over the visible tokens."""
        tokens, masked = self.both_halves(state.tokens), self.both_halves(state.masked)
        return self.apply(tokens, masked, self.context, self.keys_values, method="trunk")

    def logits(
        self,
        hidden: Float[Array, "halves T D"],
        tokens: Int[Array, "B M Q"],
        level: int,
        scale: float | Float[Array, ""],
    ) -> Float[Array, "B M K"]:
        """Returns the guided logits of one quantizer level, given the tokens of coarser levels."""
        features = self.apply(hidden, self.both_halves(tokens), level, method="level_features")
        if self.guided:
            # On features rather than logits, which are linear in them: half the largest product.
            full, null = jnp.split(features.astype(jnp.float32), 2)
            features = null + scale * (full - null)
        return self.apply(features, level, method="code_logits")


@dataclasses.dataclass(frozen=True)
class DecodePlan:
    """Constants of all iterations.

    Attributes:
      options: see `DecodeOptions`.
      depth: whether the levels of a position are masked together.
      ranks: [N] unmasking order of the positions; None orders them by confidence.
      num_sampled: number of positions that are sampled in an iteration; None samples all.
    """

    options: DecodeOptions
    depth: bool
    ranks: Int[np.ndarray, " N"] | None
    num_sampled: int | None

    def sequence(self, x: Array) -> Array:
        """Reshapes [B, N, Q] to [B, T], one entry for each token that is masked by itself."""
        return x[:, :, 0] if self.depth else x.reshape(len(x), -1)


@functools.partial(jax.jit, static_argnums=(0, 5), static_argnames="history")
def decode(
    model: VQAUFace,
    params: dict,
    inputs: dict[str, Array],
    given: tuple[Int[Array, "B N Q"], Bool[Array, "B N Q"]],
    keys: jax.Array,
    options: DecodeOptions,
    *,
    history: bool = False,
) -> Int[Array, "B N Q"] | tuple[Int[Array, "B N Q"], tuple[Array, Array]]:
    """Decodes the tokens of an image for each example of `inputs`.

    Args:
      model: the network, which fixes layout and sizes.
      params: its parameters.
      inputs: arguments of `VQAUFace.context`; nothing is dropped but the text of the null half.
      given: tokens, and True where a token is to be decoded (everywhere for a new image). Tokens
        that are not masked never change. In the `depth` layout the levels of a position are masked
        together.
      keys: one PRNG key an example [B]; the result of an example does not depend on the others.
      options: see `DecodeOptions`.
      history: also return every iteration.

    Returns:
      The tokens; with `history` also the tokens [steps, B, N, Q] after each iteration, including
      those that were sampled and masked again, and the masks [steps, B, N, Q].

    Raises:
      ValueError: `level_steps` do not fit the model.
    """
    start = DecodeState(*given)
    positions, levels = start.tokens.shape[1:]
    layout = model.transformer["layout"]
    options.check_levels(layout, levels)
    network = guided_network(model, params, inputs, len(keys), guided=options.guidance != 1.0)
    by_halton = options.order == "halton"
    # The history shows a sample everywhere, and in the flat layout tokens are not positions.
    few = by_halton and not history and (layout == "depth" or levels == 1)
    plan = DecodePlan(
        options,
        depth=layout == "depth",
        ranks=halton_ranks(model.transformer["grid"]) if by_halton else None,
        num_sampled=max_unmasked(options.steps, positions) if few else None,
    )

    def iteration(state, step):
        state = decode_step(network, plan, keys, start.masked, state, step)
        return state, (state.tokens, state.masked) if history else None

    end, steps = jax.lax.scan(iteration, start, jnp.arange(options.steps))
    return (end.tokens, steps) if history else end.tokens


def guided_network(
    model: VQAUFace, params: dict, inputs: dict[str, Array], batch: int, *, guided: bool
) -> GuidedNetwork:
    """Computes the context, and its keys and values, for one half or both."""
    apply = functools.partial(model.apply, {"params": params})
    size = 2 * batch if guided else batch
    if guided:
        inputs = {name: jnp.concatenate([value, value]) for name, value in inputs.items()}
    context, _ = apply(
        **inputs,
        drop_text=jnp.arange(size) >= batch,
        drop_reference=jnp.zeros(size, bool),
        method="context",
    )
    return GuidedNetwork(apply, guided, context, apply(context, method="keys_values"))


def decode_step(
    network: GuidedNetwork,
    plan: DecodePlan,
    keys: jax.Array,
    start_masked: Bool[Array, "B N Q"],
    state: DecodeState,
    step: Int[Array, ""],
) -> DecodeState:
    """Runs one iteration, steps 2 to 5 of the module's docstring."""
    batch, positions, _ = state.tokens.shape
    hidden = network.hidden(state)
    keys = _fold_in(keys, step)
    scale = plan.options.guidance_at(step)
    if plan.num_sampled is None:
        sampled_at = jnp.broadcast_to(jnp.arange(positions), (batch, positions))
        tokens, log_p = sample_levels(network, plan.options, keys, hidden, state, sampled_at, scale)
    else:
        ranks = jnp.where(state.masked[..., 0], plan.ranks, positions)
        sampled_at = jnp.argsort(ranks, axis=-1)[:, : plan.num_sampled]
        hidden = _take(hidden, network.both_halves(sampled_at))
        part = jax.tree.map(lambda x: _take(x, sampled_at), state)
        sampled, log_p = sample_levels(network, plan.options, keys, hidden, part, sampled_at, scale)
        tokens = state.tokens.at[jnp.arange(batch)[:, None], sampled_at].set(sampled)
    priority = unmasking_priority(plan, keys, log_p, state, step)
    return DecodeState(tokens, remask(plan, priority, start_masked, state, step))


def sample_levels(
    network: GuidedNetwork,
    options: DecodeOptions,
    keys: jax.Array,
    hidden: Float[Array, "halves T D"],
    state: DecodeState,
    positions: Int[Array, "B M"],
    scale: float | Float[Array, ""],
) -> tuple[Int[Array, "B M Q"], list[Float[Array, "B M"]]]:
    """Samples the masked tokens of all quantizer levels, coarse to fine.

    Args:
      network: the network.
      options: see `DecodeOptions`.
      keys: one key an example [B], of this iteration.
      hidden: output of the transformer at the positions.
      state: tokens and mask at the positions.
      positions: numbers of the positions in the image.
      scale: guidance scale.

    Returns:
      The tokens [B, M, Q], and for each level the log-probability of what was sampled.
    """
    tokens, log_ps = state.tokens, []
    for level in range(tokens.shape[-1]):
        logits = network.logits(hidden, tokens, level, scale)
        sampled, log_p = sample_tokens(_fold_in(keys, level), positions, logits, options)
        tokens = tokens.at[..., level].set(
            jnp.where(state.masked[..., level], sampled, tokens[..., level])
        )
        log_ps.append(log_p)
    return tokens, log_ps


def sample_tokens(
    keys: jax.Array,
    positions: Int[Array, "B M"],
    logits: Float[Array, "B M K"],
    options: DecodeOptions,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"]]:
    """Samples a token at each position.

    Each position has its own key, so that its sample does not depend on which others are sampled.

    Returns:
      The tokens, and their log-probabilities at temperature 1.
    """
    filtered = top_k_top_p_filter(logits, options.top_k, options.top_p)
    if options.temperature == 0:
        token = argmax(filtered)
    else:
        by_position = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(keys, positions)
        u = jax.vmap(jax.vmap(jax.random.uniform))(by_position)
        token = inverse_cdf_sample(filtered / options.temperature, u)
    chosen = jnp.take_along_axis(logits, token[..., None], axis=-1)[..., 0]
    return token, chosen - jax.nn.logsumexp(logits, axis=-1)


def unmasking_priority(
    plan: DecodePlan,
    keys: jax.Array,
    log_p: list[Float[Array, "B N"]],
    state: DecodeState,
    step: Int[Array, ""],
) -> Float[Array, "B T"]:
    """Returns the priority of each token: its noisy confidence, or its place in a fixed order."""
    batch, _, levels = state.tokens.shape
    if plan.ranks is None:
        confidence = jnp.stack(log_p, axis=-1)  # [B, N, Q]
        confidence = confidence.sum(-1) if plan.depth else confidence.reshape(batch, -1)
        # The number after the levels' numbers: a key that no sample has used.
        noise_keys = _fold_in(keys, levels)
        noise = jax.vmap(lambda key: jax.random.gumbel(key, confidence.shape[1:]))(noise_keys)
        fade = plan.options.choice_temperature * (1.0 - (step + 1) / plan.options.steps)
        return confidence + fade * noise
    ranks = plan.ranks if plan.depth else plan.ranks.repeat(levels)
    return jnp.broadcast_to(-ranks.astype(np.float32), (batch, len(ranks)))


def remask(
    plan: DecodePlan,
    priority: Float[Array, "B T"],
    start_masked: Bool[Array, "B N Q"],
    state: DecodeState,
    step: Int[Array, ""],
) -> Bool[Array, "B N Q"]:
    """Masks the tokens of the lowest priority again, as many as the schedule says."""
    positions, levels = state.tokens.shape[1:]
    masked = plan.sequence(state.masked)
    if plan.options.level_steps:
        count = num_masked_after_by_level(step, plan.options.level_steps, start_masked.sum(1))
        priority = coarse_levels_first(priority, positions, levels)
    else:
        total = plan.sequence(start_masked).sum(-1, keepdims=True)
        count = num_masked_after(step, plan.options.steps, total, masked)
    masked = keep_masked(priority, masked, count)
    if plan.depth:
        return jnp.broadcast_to(masked[..., None], state.masked.shape)
    return masked.reshape(state.masked.shape)


def _fold_in(keys: jax.Array, number: int | Int[Array, ""]) -> jax.Array:
    """Folds a number into each of a batch of keys."""
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _take(x: Array, positions: Int[Array, "B M"]) -> Array:
    """Returns [B, M, ...], the entries of `x` [B, N, ...] at some positions of each example."""
    return jnp.take_along_axis(x, positions[..., None], axis=1)


def fully_masked(
    batch: int, positions: int, levels: int
) -> tuple[Int[Array, "B N Q"], Bool[Array, "B N Q"]]:
    """Returns `given` of a new image: no token is known."""
    shape = (batch, positions, levels)
    return jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool)
