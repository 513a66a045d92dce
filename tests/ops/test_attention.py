"""`attention` is softmax(q kᵀ / √C) v in all of its implementations, and picks the right one."""

import functools
from unittest import mock

import jax
import jax._src.cudnn.fused_attention_stablehlo as cudnn
import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.ops import attention as module
from auface_jax.ops.attention import attention, without_cudnn


def arrays(queries=8, keys=6, *, dtype=jnp.float32, width=16):
    rng = np.random.default_rng(0)
    q, k, v = (
        jnp.asarray(rng.normal(size=(2, count, 4, width)), dtype) for count in (queries, keys, keys)
    )
    return q, k, v, np.arange(keys) < np.array([3, keys])[:, None]


def plain_attention(q, k, v, mask):
    scores = jnp.einsum("bthc,bshc->bhts", q, k) / jnp.sqrt(q.shape[-1])
    weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -jnp.inf))
    return jnp.einsum("bhts,bshc->bthc", weights, v)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("heads_per_step", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_is_its_formula_in_value_and_gradient(
    heads_per_step, masked, padding, monkeypatch
):
    monkeypatch.setattr(module, "row_padding", lambda length: padding)
    q, k, v, mask = arrays()
    given = mask if masked else None
    whole = mask if masked else np.ones_like(mask)
    made = attention(q, k, v, given, heads_per_step=heads_per_step)
    np.testing.assert_allclose(made, plain_attention(q, k, v, whole), atol=1e-5)

    def loss(count, q, k, v):
        return jnp.sin(attention(q, k, v, given, heads_per_step=count)).sum()

    def plain_loss(mask, q, k, v):
        return jnp.sin(plain_attention(q, k, v, mask)).sum()

    found = jax.grad(functools.partial(loss, heads_per_step), argnums=(0, 1, 2))(q, k, v)
    wanted = jax.grad(functools.partial(plain_loss, jnp.asarray(whole)), argnums=(0, 1, 2))(q, k, v)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_attention_pads_rows_of_scores_that_a_cpu_caches_badly():
    shapes = str(
        jax.make_jaxpr(functools.partial(attention, heads_per_step=1))(*arrays(8, 2048)[:3])
    )
    assert "2,1,8,2064" in shapes and "2,1,8,2048" not in shapes


def test_attention_by_head_groups_stores_the_scores_of_one_group_alone():
    q, k, v, _ = arrays(512, 512)

    def memory(count):
        step = jax.jit(
            jax.grad(lambda *qkv: attention(*qkv, heads_per_step=count).sum(), (0, 1, 2))
        )
        return step.lower(q, k, v).compile().memory_analysis().temp_size_in_bytes

    assert memory(1) < memory(0) / 3


def lowered(platform, *operands):
    """Lowers the gradient for a platform, as a process with cuDNN does."""

    def loss(q, k, v, mask):
        return attention(q, k, v, mask).astype(jnp.float32).sum()

    with (
        mock.patch.object(module, "has_cudnn", lambda: True),
        mock.patch.object(cudnn, "check_cudnn_version", lambda: 91_000),
    ):
        return jax.jit(jax.grad(loss)).trace(*operands).lower(lowering_platforms=(platform,))


def kernels(platform, *operands):
    return lowered(platform, *operands).as_text().count("__cudnn$fmha")


@pytest.mark.parametrize("masked", [True, False])
def test_attention_is_cudnns_kernel_on_cuda_and_xlas_operations_on_a_cpu(masked):
    q, k, v, mask = arrays(dtype=jnp.bfloat16)
    operands = (q, k, v, mask if masked else None)
    assert kernels("cuda", *operands) == 2  # forward and backward
    assert kernels("cpu", *operands) == 0
    # That program runs here, and is what it is without a choice.
    chosen = lowered("cpu", *operands).compile()(*operands)
    plain = jax.grad(lambda q: attention(q, *operands[1:]).astype(jnp.float32).sum())(q)
    np.testing.assert_allclose(
        chosen.astype(jnp.float32), plain.astype(jnp.float32), rtol=2**-6, atol=2**-9
    )


@pytest.mark.parametrize(
    "options",
    [{"dtype": jnp.float32}, {"width": 12}, {"width": 136}, {"keys": 7}],
    ids=["float32", "width 12", "width 136", "odd keys and a mask"],
)
def test_attention_is_xlas_operations_on_cuda_for_what_cudnn_does_not_support(options):
    assert kernels("cuda", *arrays(**{"dtype": jnp.bfloat16} | options)) == 0


def test_attention_without_cudnn_is_xlas_operations():
    with without_cudnn():
        assert kernels("cuda", *arrays(dtype=jnp.bfloat16)) == 0
    assert kernels("cuda", *arrays(dtype=jnp.bfloat16)) == 2
