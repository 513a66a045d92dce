"""Attention by what a program runs on: cuDNN's kernel, XLA's operations, or these in parts."""

import contextlib
import contextvars
import functools

import einops
import jax
import jax.extend.backend
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from auface_jax.ops.partitioning import is_split
from auface_jax.ops.row_padding import row_padding

_xla_alone = contextvars.ContextVar("xla_alone", default=False)


def attention(
    q: Float[Array, "B T heads C"],
    k: Float[Array, "B S heads C"],
    v: Float[Array, "B S heads C"],
    mask: Bool[Array, "B S"] | None = None,
    *,
    heads_per_step: int = 0,
) -> Float[Array, "B T heads C"]:
    """softmax(q kᵀ / √C) v, over the keys where `mask` is True.

    A process that runs on CUDA leaves the choice to the program's lowering, so that what it traces
    can be lowered for a CPU too, but for several at once only within `xla_alone`. Any other process
    traces XLA's operations alone, whatever it lowers for.

    Args:
      mask: a row without any True would attend to everything alike; None is True everywhere.
      heads_per_step: without cuDNN, so many heads (of all rows) at a time, whose scores alone are
        in memory, and are computed again for the gradient; 0, or one that does not divide the
        number of heads, takes all at once, and so does a mesh that splits them.
    """

    def by_xla(q, k, v, mask):
        heads = q.shape[2]
        if 0 < heads_per_step < heads and heads % heads_per_step == 0 and not is_split("heads"):
            return _in_parts(q, k, v, mask, heads_per_step)
        mask = None if mask is None else mask[:, None, None, :]
        return jax.nn.dot_product_attention(q, k, v, mask=mask)

    def by_cudnn(q, k, v, mask):
        if mask is not None:  # it wants a bias of the scores' own size
            shape = (q.shape[0], 1, q.shape[1], k.shape[1])
            mask = jnp.broadcast_to(mask[:, None, None, :], shape)
        return jax.nn.dot_product_attention(q, k, v, mask=mask, implementation="cudnn")

    if _xla_alone.get() or not (cudnn_takes(q, k, mask) and has_cudnn()):
        return by_xla(q, k, v, mask)
    return jax.lax.platform_dependent(q, k, v, mask, cuda=by_cudnn, default=by_xla)


def cudnn_takes(q, k, mask) -> bool:
    """Whether cuDNN's kernel has these shapes and this dtype, on GPUs from Ampere on."""
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    even = mask is None or (q.shape[1] % 2 == 0 and k.shape[1] % 2 == 0)
    return half and even and q.shape[-1] <= 128 and q.shape[-1] % 8 == 0


def has_cudnn() -> bool:
    """Whether this process runs on CUDA: JAX asks for cuDNN when its attention is traced."""
    return "cuda" in jax.extend.backend.get_backend().platform_version


@contextlib.contextmanager
def xla_alone():
    """Within it, what is traced can be lowered for several platforms at once, which JAX cannot do
    with cuDNN's kernel."""
    token = _xla_alone.set(True)
    try:
        yield
    finally:
        _xla_alone.reset(token)


def _in_parts(q, k, v, mask, count: int):
    """`count` heads after the other; heads before places, which is faster on a CPU."""
    parts = tuple(einops.rearrange(x, "b t (n h) c -> n b h t c", h=count) for x in (q, k, v))
    y = jax.lax.map(lambda part: _of_heads(*part, mask), parts)
    return einops.rearrange(y, "n b h t c -> b t (n h) c")


_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


@jax.custom_vjp
def _of_heads(
    q: Float[Array, "B h T C"],
    k: Float[Array, "B h S C"],
    v: Float[Array, "B h S C"],
    mask: Bool[Array, "B S"] | None,
) -> Float[Array, "B h T C"]:
    """Attention whose gradient needs of the forward pass its result and each row's log-sum-exp.

    Each pass over the scores is one to memory, and there are as few as can be (Dao et al. 2022):
    rows are normalised after the product with v, which a column of ones gives their sums, and the
    gradient's correction comes of the result. The scores' rows may be padded: by keys that are
    there already, so that nothing need be masked, whose values are 0.
    """
    return _of_heads_forward(q, k, v, mask)[0]


def _padded(x: Float[Array, "B h S C"]) -> Float[Array, "B h R C"]:
    """`x` with zeros at the places that pad the scores' rows."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, row_padding(x.shape[2])), (0, 0)))


def _scores(q, k, mask):
    """Scores, padded by those of the first keys."""
    extra = row_padding(k.shape[2])
    k = jnp.concatenate([k, k[:, :, :extra]], axis=2)
    scores = _product("bhtc,bhsc->bhts", q, k) * q.shape[-1] ** -0.5
    if mask is None:
        return scores
    mask = jnp.concatenate([mask, mask[:, :extra]], axis=1)
    return jnp.where(mask[:, None, None, :], scores, jnp.finfo(jnp.float32).min)


def _of_heads_forward(q, k, v, mask):
    scores = _scores(q, k, mask)
    highest = scores.max(-1, keepdims=True)
    weights = jnp.exp(scores - highest).astype(v.dtype)
    with_ones = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
    y = _product("bhts,bhsc->bhtc", weights, _padded(with_ones))
    y, total = y[..., :-1], y[..., -1:]
    y = (y / total).astype(v.dtype)
    return y, (q, k, v, mask, y, highest + jnp.log(total))


def _of_heads_backward(kept, at_y):
    q, k, v, mask, y, log_sum = kept
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


_of_heads.defvjp(_of_heads_forward, _of_heads_backward)
