"""Cross-entropy of a large vocabulary, with a gradient that is computed in one pass."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def cross_entropy(
    logits: Float[Array, "*n K"], codes: Int[Array, "*n"], label_smoothing: float = 0.0
) -> Float[Array, "*n"]:
    """Cross-entropy in nats, of targets (1 - e) one-hot + e / K.

    Nothing as large as the logits is kept for the gradient but these, and it is computed in one
    go: with a large vocabulary each pass over them takes as long as a layer's norm.
    """
    return _cross_entropy_forward(logits, codes, label_smoothing)[0]


def _cross_entropy_forward(logits, codes, label_smoothing):
    by_code = _codes_first(logits).astype(jnp.float32)  # [K, n]
    log_sum = jax.nn.logsumexp(by_code, axis=0)
    chosen = jnp.take_along_axis(by_code, codes.reshape(1, -1), axis=0)[0]
    losses = log_sum - (1 - label_smoothing) * chosen
    if label_smoothing:
        losses -= label_smoothing * by_code.mean(0)
    return losses.reshape(codes.shape), (logits, codes, log_sum)


def _cross_entropy_backward(label_smoothing, kept, at_losses):
    logits, codes, log_sum = kept
    by_code = _codes_first(logits).astype(jnp.float32)
    p = jnp.exp(by_code - log_sum)
    is_code = jnp.arange(len(p))[:, None] == codes.reshape(-1)
    target = jnp.where(is_code, 1 - label_smoothing, 0.0) + label_smoothing / len(p)
    at_logits = ((p - target) * at_losses.reshape(-1)).astype(logits.dtype)
    return at_logits.T.reshape(logits.shape), None


def _codes_first(logits: Float[Array, "*n K"]) -> Float[Array, "K n"]:
    """As `MaskGIT` computes them: what it turned is turned back, and nothing is moved."""
    return logits.reshape(-1, logits.shape[-1]).T


cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)
