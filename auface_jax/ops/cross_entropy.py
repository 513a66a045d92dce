"""Cross-entropy over a large vocabulary, with a gradient that is computed in one pass."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def cross_entropy(
    logits: Float[Array, "*n K"], labels: Int[Array, "*n"], label_smoothing: float = 0.0
) -> Float[Array, "*n"]:
    """Cross-entropy: -Σ t log softmax(logits), with targets t = (1 - e) one_hot(labels) + e / K.

    Equals `optax.softmax_cross_entropy` with `optax.smooth_labels`. For its gradient, nothing as
    large as the logits is stored but the logits themselves, and the gradient is computed in one
    pass: with a large vocabulary, each pass over the logits takes as long as a layer's norm.

    Args:
      logits: unnormalised log-probabilities of K tokens; sums are in float32.
      labels: token of each position, in [0, K).
      label_smoothing: e, in [0, 1].

    Returns:
      Loss of each position in nats, float32.
    """
    return _cross_entropy_forward(logits, labels, label_smoothing)[0]


def _cross_entropy_forward(logits, labels, label_smoothing):
    by_token = _tokens_first(logits).astype(jnp.float32)  # [K, n]
    log_sum = jax.nn.logsumexp(by_token, axis=0)
    chosen = jnp.take_along_axis(by_token, labels.reshape(1, -1), axis=0)[0]
    losses = log_sum - (1 - label_smoothing) * chosen
    if label_smoothing:
        losses -= label_smoothing * by_token.mean(0)
    return losses.reshape(labels.shape), (logits, labels, log_sum)


def _cross_entropy_backward(label_smoothing, residuals, at_losses):
    logits, labels, log_sum = residuals
    by_token = _tokens_first(logits).astype(jnp.float32)
    p = jnp.exp(by_token - log_sum)
    is_label = jnp.arange(len(p))[:, None] == labels.reshape(-1)
    target = jnp.where(is_label, 1 - label_smoothing, 0.0) + label_smoothing / len(p)
    at_logits = ((p - target) * at_losses.reshape(-1)).astype(logits.dtype)
    return at_logits.T.reshape(logits.shape), None


def _tokens_first(logits: Float[Array, "*n K"]) -> Float[Array, "K n"]:
    """Transposes logits to the layout in which `MaskGIT` computes them.

    `MaskGIT` transposes its product; XLA cancels the two transpositions and moves no data.
    """
    return logits.reshape(-1, logits.shape[-1]).T


cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)
