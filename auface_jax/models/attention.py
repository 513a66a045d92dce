"""Attention by what a program runs on: cuDNN's kernel, XLA's operations, or these in parts."""

import contextlib
import contextvars

import einops
import jax
import jax.extend.backend
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_xla_alone = contextvars.ContextVar("xla_alone", default=False)


def attention(
    q: Float[Array, "B T heads C"],
    k: Float[Array, "B S heads C"],
    v: Float[Array, "B S heads C"],
    mask: Bool[Array, "B S"] | None = None,
    *,
    chunk: int = 0,
) -> Float[Array, "B T heads C"]:
    """softmax(q kᵀ / √C) v, over the keys where `mask` is True.

    A process that runs on CUDA leaves the choice to the program's lowering, so that what it traces
    can be lowered for a CPU too, but for several at once only within `xla_alone`. Any other process
    traces XLA's operations alone, whatever it lowers for.

    Args:
      mask: a row without any True would attend to everything alike; None is True everywhere.
      chunk: without cuDNN, so many queries at a time, whose scores alone are in memory, and are
        computed again for the gradient; 0, or one that does not divide T, takes all at once.
    """

    def by_xla(q, k, v, mask):
        if 0 < chunk < q.shape[1] and q.shape[1] % chunk == 0:
            return _in_parts(q, k, v, mask, chunk)
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


def _in_parts(q, k, v, mask, chunk: int):
    """`chunk` queries after the other; heads before places, which is faster on a CPU."""
    parts = einops.rearrange(q, "b (n t) h c -> n b h t c", t=chunk)
    k, v = (einops.rearrange(x, "b s h c -> b h s c") for x in (k, v))

    @jax.checkpoint
    def of_part(q):
        scores = jnp.einsum("bhtc,bhsc->bhts", q, k, preferred_element_type=jnp.float32)
        scores = scores * q.shape[-1] ** -0.5
        if mask is not None:
            scores = jnp.where(mask[:, None, None, :], scores, jnp.finfo(jnp.float32).min)
        return jnp.einsum("bhts,bhsc->bhtc", jax.nn.softmax(scores).astype(v.dtype), v)

    return einops.rearrange(jax.lax.map(of_part, parts), "n b h t c -> b (n t) h c")
