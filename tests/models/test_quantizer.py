"""Laws of residual quantisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from auface_jax.models import codebook_learning, quantizer
from auface_jax.models.quantizer import Codebooks
from auface_jax.parallel import sharding
from benchmarks import program_cost
from tests.helpers.small_codebooks import C, K, Q, books, vectors


def plain_quantize(codes, z):
    """Quantises residuals by the formulas of the paper, a level at a time, in float64."""
    residual, ids, sums = z.astype(np.float64), [], []
    total = np.zeros_like(residual)
    for book in codes.astype(np.float64):
        distances = ((residual[:, None] - book) ** 2).sum(-1)
        chosen = distances.argmin(-1)
        residual = residual - book[chosen]
        total = total + book[chosen]
        ids.append(chosen)
        sums.append(total)
    return np.stack(ids, -1), np.stack(sums)


def test_quantize_is_the_greedy_sum_of_codes():
    codebooks, z = books(), vectors(60).reshape(3, 4, 5, C)
    ids, partial = quantizer.quantize(codebooks, z)
    want_ids, want_partial = plain_quantize(np.asarray(codebooks.codes), z.reshape(-1, C))
    np.testing.assert_array_equal(ids, want_ids.reshape(3, 4, 5, Q))
    np.testing.assert_allclose(partial, want_partial.reshape(Q, 3, 4, 5, C), atol=1e-5)
    for level in range(Q):
        looked_up = quantizer.lookup(codebooks, ids, level + 1)
        np.testing.assert_allclose(looked_up, partial[level], atol=1e-6)
    np.testing.assert_array_equal(
        quantizer.lookup(codebooks, ids), quantizer.lookup(codebooks, ids, Q)
    )


def in_blocks(codebooks, z):
    quantized = quantizer.quantize_batch(codebooks, z)
    return quantized.ids, quantized.vectors, quantized.commitment(z)


def in_one_block(codebooks, z):
    ids, partial = quantizer.quantize(codebooks, z)
    return ids, partial[-1], quantizer.commitment_loss(z, partial)


@pytest.mark.parametrize("block", [1, 16, 40, 10_000])
def test_quantize_batch_in_blocks_equals_one_block(block, monkeypatch):
    codebooks, z = books(codes=32), vectors(6 * 8).reshape(6, 4, 2, C)
    pull = vectors(6 * 8, seed=5).reshape(z.shape)

    def loss(function, z):
        ids, quantized, commitment = function(codebooks, z)
        z_q = quantizer.straight_through(z, quantized)
        return 0.25 * commitment + jnp.vdot(z_q, pull), (ids, quantized, commitment)

    monkeypatch.setattr(quantizer, "BLOCK_BYTES", block * Q * C * 4)
    graded = functools.partial(jax.value_and_grad, argnums=1, has_aux=True)
    (_, outputs), gradient = jax.jit(graded(loss), static_argnums=0)(in_blocks, z)
    (_, wanted), wanted_gradient = graded(loss)(in_one_block, z)
    np.testing.assert_array_equal(outputs[0], wanted[0])
    np.testing.assert_allclose(outputs[1], wanted[1], atol=1e-6)
    assert outputs[2] == pytest.approx(float(wanted[2]), rel=1e-6)
    np.testing.assert_allclose(gradient, wanted_gradient, atol=1e-6)
    assert np.abs(gradient - pull).max() > 1e-3, "the commitment loss contributes"


@pytest.mark.parametrize("block", [10**9, 4], ids=["one block", "blocks"])
def test_quantize_batch_searches_each_example_on_one_device(block, monkeypatch):
    monkeypatch.setattr(quantizer, "BLOCK_BYTES", block * Q * C * 256)
    z = vectors(8 * 256).reshape(8, 16, 16, C)

    def of_batch(codebooks, z):
        made = quantizer.quantize_batch(codebooks, z)
        return made.ids, made.vectors, jax.value_and_grad(made.commitment)(z)

    wanted = jax.jit(of_batch)(books(), z)
    mesh = Mesh(np.array(jax.devices()[:2]), "data", axis_types=(AxisType.Auto,))
    rules = {"batch": ("data",)}
    with sharding.mesh_context(mesh, rules):
        rows = sharding.batch_sharding(mesh, rules)
        whole = sharding.replicated(mesh)
        split = jax.jit(
            of_batch, in_shardings=(whole, rows), out_shardings=(rows, rows, (whole, rows))
        )
        made = split(books(), z)
        program = split.lower(books(), z).compile().as_text()
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), made, wanted)
    found = program_cost.collectives(program, 2)
    assert all(one.kind == "all-reduce" and one.size <= 8 for one in found), (
        "scalars alone, no examples"
    )


def test_quantiser_of_the_paper_fits_in_64_mebibytes():
    num_quantizers, codes, width, batch = 8, 8192, 256, (30, 16, 16)
    abstract = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    codebooks = Codebooks(
        abstract(num_quantizers, codes, width),
        abstract(num_quantizers, codes),
        abstract(num_quantizers, codes, width),
    )

    def train(codebooks, z, rng):
        def loss(z):
            quantized = quantizer.quantize_batch(codebooks, z)
            z_q = quantizer.straight_through(z, quantized.vectors)
            return quantized.commitment(z) + z_q.sum(), quantized

        (_, quantized), gradient = jax.value_and_grad(loss, has_aux=True)(z)
        options = {"decay": 0.99, "dead_code_threshold": 0.03}
        new = codebook_learning.update(codebooks, z, quantized.ids, rng, **options)
        return new, quantized.vectors, gradient

    rng = jax.eval_shape(lambda: jax.random.key(0))
    compiled = jax.jit(train, donate_argnums=0).lower(codebooks, abstract(*batch, width), rng)
    memory = compiled.compile().memory_analysis()
    # Results count, except those that replace the codebooks in place; inputs do not.
    beyond = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    assert beyond <= 64 * 2**20
    assert memory.alias_size_in_bytes >= 2 * num_quantizers * codes * width * 4


# --- One codebook for all levels, and coarser maps -----------------------------------------------


def test_shared_codebook_serves_every_level():
    codebooks, z = books(num_quantizers=1, codes=32), vectors(60)
    ids, partial = quantizer.quantize(codebooks, z, num_quantizers=Q)
    repeated = jax.tree.map(lambda x: x.repeat(Q, 0), codebooks)
    want_ids, want_partial = quantizer.quantize(repeated, z)
    np.testing.assert_array_equal(ids, want_ids)
    np.testing.assert_allclose(partial, want_partial, atol=1e-6)
    for level in range(Q):
        np.testing.assert_allclose(
            quantizer.lookup(codebooks, ids, level + 1), partial[level], atol=1e-6
        )


def test_quantize_with_scales_quantises_cell_means(monkeypatch):
    codebooks, z, scales = books(codes=32), vectors(3 * 16).reshape(3, 4, 4, C), (1, 2, 4)
    ids, partial = quantizer.quantize(codebooks, z, scales=scales)
    residual = z.astype(np.float64)
    for level, side in enumerate(scales):
        cell = 4 // side
        means = residual.reshape(3, side, cell, side, cell, C).mean((2, 4))
        book = np.asarray(codebooks.codes[level], np.float64)
        chosen = ((means[..., None, :] - book) ** 2).sum(-1).argmin(-1)  # [3, side, side]
        spread = chosen.repeat(cell, 1).repeat(cell, 2)
        np.testing.assert_array_equal(ids[..., level], spread)
        residual = residual - book[spread]
        np.testing.assert_allclose(z - partial[level], residual, atol=1e-5)
    # Decoding does not depend on the scales.
    np.testing.assert_allclose(quantizer.lookup(codebooks, ids), partial[-1], atol=1e-6)
    # The same holds in blocks.
    monkeypatch.setattr(quantizer, "BLOCK_BYTES", 16 * Q * C * 4)
    quantized = quantizer.quantize_batch(codebooks, z, num_quantizers=Q, scales=scales)
    assert quantized.partial_sums is None
    np.testing.assert_array_equal(quantized.ids, ids)
    np.testing.assert_allclose(quantized.vectors, partial[-1], atol=1e-6)


@pytest.mark.slow
def test_quantize_with_full_size_scales_equals_no_scales():
    codebooks, z = books(codes=32), vectors(2 * 9).reshape(2, 3, 3, C)
    options = {"decay": 0.9, "dead_code_threshold": 0.2}
    plain, full = {}, {"scales": (3,) * Q}
    results = []
    for structure in (plain, full):
        ids, partial = quantizer.quantize(codebooks, z, **structure)
        new = codebook_learning.update(codebooks, z, ids, jax.random.key(0), **options, **structure)
        start = codebook_learning.init_kmeans(
            jax.random.key(1), z, num_quantizers=Q, codebook_size=K, **structure
        )
        results.append((ids, partial, new, start))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *results)


@pytest.mark.parametrize("num_quantizers", [0, Q + 1, -1])
def test_lookup_refuses_levels_that_do_not_exist(num_quantizers):
    with pytest.raises(ValueError, match=rf"num_quantizers={num_quantizers} is not in 1\.\.{Q}"):
        quantizer.lookup(books(), jnp.zeros((2, Q), jnp.int32), num_quantizers)


def test_quantize_computes_bfloat16_vectors_in_float32():
    codebooks, z = books(codes=64), jnp.asarray(vectors(200), jnp.bfloat16)
    ids, partial = quantizer.quantize(codebooks, z)
    same, _ = quantizer.quantize(codebooks, z.astype(jnp.float32))
    np.testing.assert_array_equal(ids, same)
    assert partial.dtype == jnp.float32
    assert quantizer.straight_through(z, partial[-1]).dtype == jnp.bfloat16


def test_straight_through_gradient_is_the_identity():
    z, pull = vectors(7), vectors(7, seed=3)
    codebooks = books()

    def loss(z):
        _, partial = quantizer.quantize(codebooks, z)
        z_q = quantizer.straight_through(z, partial[-1])
        return jnp.vdot(z_q, pull), (z_q, partial[-1])

    gradient, (z_q, quantized) = jax.grad(loss, has_aux=True)(z)
    np.testing.assert_array_equal(gradient, pull)
    np.testing.assert_allclose(z_q, quantized, atol=1e-6)
