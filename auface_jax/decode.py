"""Iterative parallel decoding with guidance (MaskGIT, Chang et al. 2022, section 3.2).

Starting from a fully masked image, or a partly given one, each of `steps` iterations
  1. runs the transformer once over the visible tokens,
  2. draws a code for every masked token,
  3. keeps the surest draws, as many as the cosine schedule says, and masks the others again.

Sureness is the log-probability of the draw plus Gumbel noise that fades to nothing over the
iterations. In the `depth` layout a position's levels are drawn coarse to fine from one pass and
kept or masked together.

Guidance (Ho & Salimans 2022): logits = null + scale · (full - null), null having the learned null
text and the same reference. Both halves go through as one batch. The whole is one `lax.scan`, and
the context's keys and values are computed once, before it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from auface_jax.masking import cosine_schedule
from auface_jax.models.vq_auface import VQAUFace


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """How to decode; hashable, a static argument of jitted programs.

    Attributes:
      steps: iterations, at least 1.
      guidance: scale; 1 is none and runs half the batch, 0 ignores the text.
      temperature: of the draws; 0 takes the likeliest code.
      choice_temperature: of the noise on sureness in the first iteration.
    """

    steps: int
    guidance: float
    temperature: float
    choice_temperature: float

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"decode.steps={self.steps}; it needs at least 1 iteration")
        if self.temperature < 0 or self.choice_temperature < 0:
            raise ValueError(
                f"decode temperatures are {self.temperature} and {self.choice_temperature}; "
                "they must be 0 or more"
            )


@functools.partial(jax.jit, static_argnums=(0, 5))
def decode(
    model: VQAUFace,
    params: dict,
    inputs: dict[str, Array],
    given: tuple[Int[Array, "B N Q"], Bool[Array, "B N Q"]],
    keys: jax.Array,
    options: DecodeOptions,
) -> Int[Array, "B N Q"]:
    """Codes of an image for each row of `inputs`.

    Args:
      model: gives the layout and the sizes.
      params: its parameters.
      inputs: `text_tokens`, `text_mask`, `reference`, `reference_latents`, as `VQAUFace.context`
        takes them; nothing is dropped but the text of the unguided half.
      given: codes, and True where a code is to be decoded (everywhere for a new image). A code
        that is not masked is never changed. In the `depth` layout a position's levels are masked
        together.
      keys: one PRNG key a row [B]: a row's result does not depend on its neighbours.
      options: see `DecodeOptions`.
    """
    apply = functools.partial(model.apply, {"params": params})
    depth_layout = model.transformer["layout"] == "depth"
    guided = options.guidance != 1.0
    batch = keys.shape[0]

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

    def guided_logits(hidden, codes, level) -> Float[Array, "B N K"]:
        logits = apply(hidden, doubled(codes), level, method="level_logits")
        if not guided:
            return logits
        full, null = logits[:batch], logits[batch:]
        return null + options.guidance * (full - null)

    def draw(key, logits):
        """Codes [B, N] and their log-probabilities, at temperature 1."""
        noise = jax.vmap(lambda k: jax.random.gumbel(k, logits.shape[1:]))(key)
        code = jnp.argmax(logits + options.temperature * noise, axis=-1)
        log_p = jax.nn.log_softmax(logits)
        return code, jnp.take_along_axis(log_p, code[..., None], axis=-1)[..., 0]

    def by_token(x):  # [B, N, Q] -> one column for each token that is masked by itself
        return x[:, :, 0] if depth_layout else x.reshape(batch, -1)

    def iteration(carry, step):
        codes, masked = carry
        hidden = apply(doubled(codes), doubled(masked), context, keys_values, method="trunk")
        step_keys = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
        log_ps = []
        for level in range(codes.shape[-1]):
            level_keys = jax.vmap(lambda key: jax.random.fold_in(key, level))(step_keys)  # noqa: B023
            drawn, log_p = draw(level_keys, guided_logits(hidden, codes, level))
            codes = codes.at[..., level].set(
                jnp.where(masked[..., level], drawn, codes[..., level])
            )
            log_ps.append(log_p)
        log_p = jnp.stack(log_ps, axis=-1)  # [B, N, Q]
        log_p = log_p.sum(-1) if depth_layout else log_p.reshape(batch, -1)

        # The number after the levels': a key that no draw has used.
        noise_keys = jax.vmap(lambda key: jax.random.fold_in(key, codes.shape[-1]))(step_keys)
        noise = jax.vmap(lambda key: jax.random.gumbel(key, log_p.shape[1:]))(noise_keys)
        fade = options.choice_temperature * (1.0 - (step + 1) / options.steps)
        was_masked = by_token(masked)
        sureness = jnp.where(was_masked, log_p + fade * noise, jnp.inf)
        share = cosine_schedule((step + 1) / options.steps)
        left = jnp.floor(share * total + 1e-4).astype(jnp.int32)
        left = jnp.where(step + 1 == options.steps, 0, left)
        left = jnp.minimum(left, jnp.maximum(was_masked.sum(-1, keepdims=True) - 1, 0))
        ranks = jnp.argsort(jnp.argsort(sureness, axis=-1), axis=-1)
        masked_tokens = (ranks < left) & was_masked
        masked = (
            jnp.broadcast_to(masked_tokens[..., None], codes.shape)
            if depth_layout
            else masked_tokens.reshape(codes.shape)
        )
        return (codes, masked), None

    codes, masked = given
    total = by_token(masked).sum(-1, keepdims=True)  # [B, 1]
    (codes, _), _ = jax.lax.scan(iteration, (codes, masked), jnp.arange(options.steps))
    return codes


def everything_masked(batch: int, positions: int, levels: int):
    """`given` for a new image: no code is known."""
    shape = (batch, positions, levels)
    return jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool)
