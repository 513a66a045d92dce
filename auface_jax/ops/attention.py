"""Attention, by the implementation that is best where a program runs.

On CUDA it is cuDNN's kernel, elsewhere XLA's operations, or, to save memory, an implementation that
takes a few heads at a time.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import einops
import jax
import jax.extend.backend
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from auface_jax.ops.partitioning import is_split
from auface_jax.ops.row_padding import row_padding

_cudnn_is_off = contextvars.ContextVar("cudnn_is_off", default=False)


def attention(
    q: Float[Array, "B T heads C"],
    k: Float[Array, "B S heads C"],
    v: Float[Array, "B S heads C"],
    mask: Bool[Array, "B S"] | None = None,
    *,
    heads_per_step: int = 0,
) -> Float[Array, "B T heads C"]:
    """Attention: softmax(q kᵀ / √C) v over the keys where `mask` is True.

    A process that runs on CUDA leaves the choice of implementation to the lowering of the program,
    so that a traced program can be lowered for a CPU too; for several platforms at once only
    within `without_cudnn`. Any other process traces XLA's operations, whatever it lowers for.

    Args:
      q: queries.
      k: keys.
      v: values.
      mask: True at the keys to attend to, with at least one True an example (an example without any
        would attend to all keys alike); None attends to all keys.
      heads_per_step: number of heads computed at a time where cuDNN is not used. Only their scores
        are in memory at once, and they are recomputed for the gradient. 0, a number that does not
        divide the heads, and a mesh that splits the heads compute all heads at once.
    """

    def by_xla(q, k, v, mask):
        heads = q.shape[2]
        if 0 < heads_per_step < heads and heads % heads_per_step == 0 and not is_split("heads"):
            return _by_head_groups(q, k, v, mask, heads_per_step)
        mask = None if mask is None else mask[:, None, None, :]
        return jax.nn.dot_product_attention(q, k, v, mask=mask)

    def by_cudnn(q, k, v, mask):
        if mask is not None:  # cuDNN needs a mask as large as the scores
            shape = (q.shape[0], 1, q.shape[1], k.shape[1])
            mask = jnp.broadcast_to(mask[:, None, None, :], shape)
        return jax.nn.dot_product_attention(q, k, v, mask=mask, implementation="cudnn")

    if _cudnn_is_off.get() or not (cudnn_supports(q, k, mask) and has_cudnn()):
        return by_xla(q, k, v, mask)
    return jax.lax.platform_dependent(q, k, v, mask, cuda=by_cudnn, default=by_xla)


def cudnn_supports(
    q: Float[Array, "B T heads C"],
    k: Float[Array, "B S heads C"],
    mask: Bool[Array, "B S"] | None,
) -> bool:
    """Returns True if cuDNN has a kernel for these shapes and this dtype, on Ampere or newer."""
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    even = mask is None or (q.shape[1] % 2 == 0 and k.shape[1] % 2 == 0)
    return half and even and q.shape[-1] <= 128 and q.shape[-1] % 8 == 0


def has_cudnn() -> bool:
    """Returns True if this process runs on CUDA; JAX looks for cuDNN when attention is traced."""
    return "cuda" in jax.extend.backend.get_backend().platform_version


@contextlib.contextmanager
def without_cudnn() -> Iterator[None]:
    """Makes `attention` trace XLA's operations alone within the block.

    JAX cannot lower a program with cuDNN's kernel for several platforms at once.
    """
    token = _cudnn_is_off.set(True)
    try:
        yield
    finally:
        _cudnn_is_off.reset(token)


def _by_head_groups(q, k, v, mask, count: int):
    """Computes attention for `count` heads after the other."""
    # Heads before positions, which is faster on a CPU.
    parts = tuple(einops.rearrange(x, "b t (n h) c -> n b h t c", h=count) for x in (q, k, v))
    y = jax.lax.map(lambda part: _head_group(*part, mask), parts)
    return einops.rearrange(y, "n b h t c -> b t (n h) c")


_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _head_group(
    q: Float[Array, "B h T C"],
    k: Float[Array, "B h S C"],
    v: Float[Array, "B h S C"],
    mask: Bool[Array, "B S"] | None,
) -> Float[Array, "B h T C"]:
    """Attention whose gradient stores its result and the log-sum-exp of each query's scores alone.

    Each pass over the scores is a pass over memory, and there are as few as possible (Dao et al.
    2022): the result is normalised after the product with v, which a column of ones extends by the
    sums of the weights, and the gradient's correction term comes from the result. The rows of the
    scores may be padded by repeated keys with values of 0, so that no mask is needed for them.
    """
    return _head_group_forward(q, k, v, mask)[0]


def _padded(x: Float[Array, "B h S C"]) -> Float[Array, "B h R C"]:
    """Appends zeros to `x` for the keys that pad the rows of the scores."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, row_padding(x.shape[2])), (0, 0)))


def _scores(q, k, mask):
    """Computes the scores, whose rows are padded by the scores of the first keys."""
    extra = row_padding(k.shape[2])
    k = jnp.concatenate([k, k[:, :, :extra]], axis=2)
    scores = _product("bhtc,bhsc->bhts", q, k) * q.shape[-1] ** -0.5
    if mask is None:
        return scores
    mask = jnp.concatenate([mask, mask[:, :extra]], axis=1)
    return jnp.where(mask[:, None, None, :], scores, jnp.finfo(jnp.float32).min)


def _head_group_forward(q, k, v, mask):
    scores = _scores(q, k, mask)
    largest = scores.max(-1, keepdims=True)
    weights = jnp.exp(scores - largest).astype(v.dtype)
    with_ones = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
    y = _product("bhts,bhsc->bhtc", weights, _padded(with_ones))
    y, total = y[..., :-1], y[..., -1:]
    y = (y / total).astype(v.dtype)
    return y, (q, k, v, mask, y, largest + jnp.log(total))


def _head_group_backward(residuals, at_y):
    q, k, v, mask, y, log_sum = residuals
    weights = jnp.exp(_scores(q, k, mask) - log_sum)
    correction = (at_y * y).astype(jnp.float32).sum(-1, keepdims=True)
    at_scores = weights * (_product("bhtc,bhsc->bhts", at_y, _padded(v)) - correction)
    at_scores = (at_scores * q.shape[-1] ** -0.5).astype(q.dtype)
    at_v = _product("bhts,bhtc->bhsc", weights.astype(v.dtype), at_y)
    at_q = _product("bhts,bhsc->bhtc", at_scores, _padded(k))
    at_k = _product("bhts,bhtc->bhsc", at_scores, q)
    keys = slice(k.shape[2])
    at_k, at_v = at_k[:, :, keys].astype(k.dtype), at_v[:, :, keys].astype(v.dtype)
    return at_q.astype(q.dtype), at_k, at_v, None


_head_group.defvjp(_head_group_forward, _head_group_backward)
