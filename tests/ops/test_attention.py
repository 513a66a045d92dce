"""Attention: whole and in parts the same, and on each platform what is best there."""

import functools
from unittest import mock

import jax
import jax._src.cudnn.fused_attention_stablehlo as cudnn
import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.ops import attention as module
from auface_jax.ops.attention import attention, xla_alone
from auface_jax.ops.row_padding import row_padding


def arrays(queries=8, keys=6, *, dtype=jnp.float32, width=16):
    rng = np.random.default_rng(0)
    q, k, v = (
        jnp.asarray(rng.normal(size=(2, count, 4, width)), dtype) for count in (queries, keys, keys)
    )
    return q, k, v, np.arange(keys) < np.array([3, keys])[:, None]


def formula(q, k, v, mask):
    scores = np.einsum("bthc,bshc->bhts", q, k) / np.sqrt(q.shape[-1])
    scores = np.where(mask[:, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhts,bshc->bthc", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("heads_per_step", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("masked", [True, False])
def test_in_parts_or_whole_it_is_the_formula_and_so_is_its_gradient(
    heads_per_step, masked, padding, monkeypatch
):
    monkeypatch.setattr(module, "row_padding", lambda length: padding)
    q, k, v, mask = arrays()
    given = mask if masked else None
    whole = mask if masked else np.ones_like(mask)
    made = attention(q, k, v, given, heads_per_step=heads_per_step)
    np.testing.assert_allclose(made, formula(*map(np.asarray, (q, k, v)), whole), atol=1e-5)

    def loss(count, q, k, v):
        return jnp.sin(attention(q, k, v, given, heads_per_step=count)).sum()

    found = jax.grad(functools.partial(loss, heads_per_step), argnums=(0, 1, 2))(q, k, v)
    wanted = jax.grad(functools.partial(loss, 0), argnums=(0, 1, 2))(q, k, v)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_rows_of_a_large_power_of_two_are_padded_on_a_cpu_alone(monkeypatch):
    shapes = str(
        jax.make_jaxpr(functools.partial(attention, heads_per_step=1))(*arrays(8, 2048)[:3])
    )
    assert "2,1,8,2064" in shapes and "2,1,8,2048" not in shapes
    assert [row_padding(length) > 0 for length in (1024, 2000, 4096)] == [False, False, True]
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert row_padding(4096) == 0


def test_parts_keep_the_scores_of_one_part_alone():
    q, k, v, _ = arrays(512, 512)

    def memory(count):
        step = jax.jit(
            jax.grad(lambda *qkv: attention(*qkv, heads_per_step=count).sum(), (0, 1, 2))
        )
        return step.lower(q, k, v).compile().memory_analysis().temp_size_in_bytes

    assert memory(1) < memory(0) / 3


def lowered(platform, *operands):
    """The program of the gradient, as lowered for a platform by a process that has cuDNN."""

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
def test_cuda_gets_cudnns_kernel_and_a_cpu_xlas_operations(masked):
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
def test_cuda_gets_xlas_operations_for_what_cudnn_does_not_take(options):
    assert kernels("cuda", *arrays(**{"dtype": jnp.bfloat16} | options)) == 0


def test_a_program_for_several_platforms_at_once_has_xlas_operations():
    with xla_alone():
        assert kernels("cuda", *arrays(dtype=jnp.bfloat16)) == 0
    assert kernels("cuda", *arrays(dtype=jnp.bfloat16)) == 2
