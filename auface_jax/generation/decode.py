"""Iterative parallel decoding with guidance (MaskGIT, Chang et al. 2022, section 3.2).

Starting from a fully masked image, or a partly given one, each of `steps` iterations
  1. runs the transformer once over the visible tokens,
  2. draws a code for every masked token,
  3. keeps some of the draws, as many as the cosine schedule says, and masks the others again.

Which are kept is a matter of `order`: the surest, or those whose turn it is, and then no others are
drawn. Sureness is the log-probability of the draw plus Gumbel noise that fades to nothing over the
iterations. In the `depth` layout a position's levels are drawn coarse to fine from one pass and
kept or masked together; in the `flat` layout `level_steps` can give each level iterations of its
own.

Guidance (Ho & Salimans 2022): logits = null + scale · (full - null), null having the learned null
text and the same reference. Both halves go through as one batch. The whole is one `lax.scan`, and
the context's keys and values are computed once, before it.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.generation.masking import cosine_schedule
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.ops.sampling import code_at, likeliest, likeliest_code

ORDERS = ("confidence", "halton")
GUIDANCE_SCHEDULES = ("constant", "linear", "cosine")


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """How to decode; hashable, a static argument of jitted programs.

    Attributes:
      steps: iterations, at least 1.
      guidance: scale; 1 is none and runs half the batch, 0 ignores the text.
      temperature: of the draws; 0 takes the likeliest code.
      choice_temperature: of the noise on sureness in the first iteration.
      order: `confidence` keeps the surest draws; `halton` takes positions in the order of a Halton
        sequence (Besnier et al. 2025), each far from those before it, whatever is drawn there.
      guidance_schedule: `constant`, or from 1 in the first iteration up to `guidance` in the last,
        `linear` or by a `cosine`.
      top_k: draw among so many of the likeliest codes; 0 is all.
      top_p: draw among the likeliest codes that together have this probability; 1 is all.
      level_steps: `flat` layout alone: iterations of each level, coarse to fine, whose sum is
        `steps`; () decodes all levels together.
    """

    steps: int
    guidance: float
    temperature: float
    choice_temperature: float
    order: str = "confidence"
    guidance_schedule: str = "constant"
    top_k: int = 0
    top_p: float = 1.0
    level_steps: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "level_steps", tuple(self.level_steps))  # a list, from JSON
        faults = []
        if self.steps < 1:
            faults.append(f"decode.steps={self.steps}; it needs at least 1 iteration")
        if self.temperature < 0 or self.choice_temperature < 0:
            faults.append(
                f"decode temperatures are {self.temperature} and {self.choice_temperature}; "
                "they must be 0 or more"
            )
        if self.order not in ORDERS:
            faults.append(f"decode.order={self.order!r} is not one of {', '.join(ORDERS)}")
        if self.guidance_schedule not in GUIDANCE_SCHEDULES:
            legal = ", ".join(GUIDANCE_SCHEDULES)
            faults.append(
                f"decode.guidance_schedule={self.guidance_schedule!r} is not one of {legal}"
            )
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            faults.append(
                f"decode.top_k={self.top_k} and top_p={self.top_p}; legal are 0 (all codes) or "
                "more, and more than 0 up to 1 (all codes)"
            )
        if self.level_steps and (
            sum(self.level_steps) != self.steps or any(count < 1 for count in self.level_steps)
        ):
            faults.append(
                f"decode.level_steps={self.level_steps}; each level needs 1 or more, and their sum "
                f"must be decode.steps={self.steps}"
            )
        if faults:
            raise ValueError("; ".join(faults))

    def guidance_at(self, step: Int[Array, ""]) -> float | Float[Array, ""]:
        """The scale in iteration `step`, counted from 0."""
        if self.guidance_schedule == "constant" or self.steps == 1:
            return self.guidance
        share = step / (self.steps - 1)
        if self.guidance_schedule == "cosine":
            share = (1.0 - jnp.cos(jnp.pi * share)) / 2.0
        return 1.0 + (self.guidance - 1.0) * share


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
    """Codes of an image for each row of `inputs`.

    Args:
      model: gives the layout and the sizes.
      params: its parameters.
      inputs: as `VQAUFace.context` takes them; nothing is dropped but the text of the unguided
        half.
      given: codes, and True where a code is to be decoded (everywhere for a new image). A code
        that is not masked is never changed. In the `depth` layout a position's levels are masked
        together.
      keys: one PRNG key a row [B]: a row's result does not depend on its neighbours.
      options: see `DecodeOptions`.
      history: also return how it came about: the codes [steps, B, N, Q] after each iteration,
        those drawn and masked again among them, and which are masked [steps, B, N, Q].

    Raises:
      ValueError: `level_steps` that do not fit the model.
    """
    apply = functools.partial(model.apply, {"params": params})
    depth_layout = model.transformer["layout"] == "depth"
    guided = options.guidance != 1.0
    batch = keys.shape[0]
    codes, masked = given
    positions, levels = codes.shape[1:]
    if options.level_steps and (depth_layout or len(options.level_steps) != levels):
        raise ValueError(
            f"decode.level_steps={options.level_steps}: "
            + (
                "in the depth layout the levels of a position are decoded together"
                if depth_layout
                else f"the model has {levels} levels"
            )
        )

    def doubled(x):
        return jnp.concatenate([x, x]) if guided else x

    halves = {name: doubled(value) for name, value in inputs.items()}
    rows = 2 * batch if guided else batch
    context, _ = apply(
        **halves,
        drop_text=jnp.arange(rows) >= batch,
        drop_reference=jnp.zeros(rows, bool),
        method="context",
    )
    keys_values = apply(context, method="keys_values")

    def guided_logits(hidden, codes, level, scale) -> Float[Array, "B M K"]:
        features = apply(hidden, doubled(codes), level, method="level_features")
        if guided:
            # Of features and not of logits, which are linear in them: half the largest product.
            full, null = jnp.split(features.astype(jnp.float32), 2)
            features = null + scale * (full - null)
        return apply(features, level, method="code_logits")

    def draw(key, places, logits):
        """Codes [B, M] and their log-probabilities, at temperature 1. A place has a key of its
        own: what is drawn there does not depend on which others are drawn."""
        likely = likeliest(logits, options.top_k, options.top_p)
        if options.temperature == 0:
            code = likeliest_code(likely)
        else:
            of_place = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)))(key, places)
            uniform = jax.vmap(jax.vmap(jax.random.uniform))(of_place)
            code = code_at(likely / options.temperature, uniform)
        chosen = jnp.take_along_axis(logits, code[..., None], axis=-1)[..., 0]
        return code, chosen - jax.nn.logsumexp(logits, axis=-1)

    def by_token(x):  # [B, N, Q] -> one column for each token that is masked by itself
        return x[:, :, 0] if depth_layout else x.reshape(batch, -1)

    # Whose turn it is does not depend on what is drawn: only those places need logits. Whoever
    # looks on sees a draw everywhere, and the flat layout's tokens are not places.
    few = options.order == "halton" and not history and (depth_layout or levels == 1)
    most = most_decided(options.steps, positions) if few else positions
    turns = halton_ranks(model.transformer["grid"]) if options.order == "halton" else None

    def iteration(carry, step):
        codes, masked = carry
        hidden = apply(doubled(codes), doubled(masked), context, keys_values, method="trunk")
        step_keys = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
        scale = options.guidance_at(step)
        places = jnp.broadcast_to(jnp.arange(positions), (batch, positions))
        drawn_codes, to_draw = codes, masked
        if few:
            places = jnp.argsort(jnp.where(masked[..., 0], turns, positions), axis=-1)[:, :most]
            hidden, drawn_codes, to_draw = (
                jnp.take_along_axis(x, of_x[..., None], axis=1)
                for x, of_x in ((hidden, doubled(places)), (codes, places), (masked, places))
            )
        log_ps = []
        for level in range(levels):
            level_keys = jax.vmap(lambda key: jax.random.fold_in(key, level))(step_keys)  # noqa: B023
            logits = guided_logits(hidden, drawn_codes, level, scale)
            drawn, log_p = draw(level_keys, places, logits)
            drawn_codes = drawn_codes.at[..., level].set(
                jnp.where(to_draw[..., level], drawn, drawn_codes[..., level])
            )
            log_ps.append(log_p)
        codes = drawn_codes
        if few:
            at = jnp.arange(batch)[:, None], places
            codes = carry[0].at[at].set(drawn_codes)

        was_masked = by_token(masked)
        if turns is None:
            log_p = jnp.stack(log_ps, axis=-1)  # [B, N, Q]
            log_p = log_p.sum(-1) if depth_layout else log_p.reshape(batch, -1)
            # The number after the levels': a key that no draw has used.
            noise_keys = jax.vmap(lambda key: jax.random.fold_in(key, levels))(step_keys)
            noise = jax.vmap(lambda key: jax.random.gumbel(key, log_p.shape[1:]))(noise_keys)
            fade = options.choice_temperature * (1.0 - (step + 1) / options.steps)
            sureness = log_p + fade * noise
        else:
            of_token = turns if depth_layout else turns.repeat(levels)
            sureness = jnp.broadcast_to(-of_token.astype(np.float32), was_masked.shape)
        left = left_after(step, was_masked)
        if options.level_steps:
            # A coarser token comes before any finer one, however sure that is.
            level_of = np.tile(np.arange(levels), positions)
            ranks = jnp.argsort(jnp.argsort(sureness, axis=-1), axis=-1)
            sureness = ranks + (levels - level_of) * ranks.shape[-1]
        sureness = jnp.where(was_masked, sureness, jnp.inf)
        ranks = jnp.argsort(jnp.argsort(sureness, axis=-1), axis=-1)
        masked_tokens = (ranks < left) & was_masked
        masked = (
            jnp.broadcast_to(masked_tokens[..., None], codes.shape)
            if depth_layout
            else masked_tokens.reshape(codes.shape)
        )
        return (codes, masked), (codes, masked) if history else None

    def left_after(step, was_masked) -> Int[Array, "B 1"]:
        """How many tokens are masked after `step`."""
        if options.level_steps:
            shares = jnp.asarray(level_shares(options.level_steps), jnp.float32)[step]  # [Q]
            of_level = jnp.floor(shares * total_of_level + 1e-4).astype(jnp.int32)
            return of_level.sum(-1, keepdims=True)
        share = cosine_schedule((step + 1) / options.steps)
        left = jnp.floor(share * total + 1e-4).astype(jnp.int32)
        left = jnp.where(step + 1 == options.steps, 0, left)
        return jnp.minimum(left, jnp.maximum(was_masked.sum(-1, keepdims=True) - 1, 0))

    total = by_token(masked).sum(-1, keepdims=True)  # [B, 1]
    total_of_level = masked.sum(1)  # [B, Q]
    (codes, _), steps = jax.lax.scan(iteration, (codes, masked), jnp.arange(options.steps))
    return (codes, steps) if history else codes


def most_decided(steps: int, positions: int) -> int:
    """The most positions that an iteration decides, whatever was given."""
    left = np.cos(np.pi / 2 * np.arange(steps + 1) / steps)  # as `masking.cosine_schedule`
    return min(positions, math.ceil(positions * np.max(left[:-1] - left[1:])) + 1)


@functools.cache
def halton_ranks(grid: int) -> Int[np.ndarray, " N"]:
    """Whose turn it is: the place of each position, row by row, in the Halton order of the grid.

    The points of the sequence with the bases 2 and 3 fall into the grid's cells; a cell's turn is
    when it is first hit.
    """
    from scipy.stats import qmc  # as slow to import as jax, and only this order needs it

    order: dict[int, None] = {}
    points = qmc.Halton(d=2, scramble=False)
    while len(order) < grid**2:
        column, row = np.floor(points.random(grid**2) * grid).astype(int).T
        order |= dict.fromkeys((row * grid + column).tolist())
    ranks = np.empty(grid**2, np.int32)
    ranks[list(order)] = np.arange(grid**2)
    ranks.setflags(write=False)
    return ranks


def level_shares(level_steps: tuple[int, ...]) -> Float[np.ndarray, "steps Q"]:
    """Share of each level's tokens still masked after each iteration, one level after the other."""
    shares = []
    for level, count in enumerate(level_steps):
        for step in range(1, count + 1):
            row = np.zeros(len(level_steps))
            row[level] = np.cos(np.pi / 2 * step / count) if step < count else 0.0
            row[level + 1 :] = 1.0
            shares.append(row)
    return np.array(shares)


def everything_masked(batch: int, positions: int, levels: int):
    """`given` for a new image: no code is known."""
    shape = (batch, positions, levels)
    return jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool)
