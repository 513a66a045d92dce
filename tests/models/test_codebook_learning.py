"""Laws of codebook learning: k-means start, moving averages, restarts."""

import jax
import jax.numpy as jnp
import numpy as np

from auface_jax.models import codebook_learning, quantizer
from auface_jax.models.quantizer import Codebooks
from tests.helpers.small_codebooks import C, K, Q, books, vectors


def test_update_of_a_shared_codebook_averages_over_all_levels():
    codebooks, z, decay = books(num_quantizers=1, codes=32), vectors(200), 0.9
    ids, partial = quantizer.quantize(codebooks, z, num_quantizers=Q)
    new = codebook_learning.update(
        codebooks, z, ids, jax.random.key(0), decay=decay, dead_code_threshold=0.0
    )
    residuals = np.concatenate([z, *(z - partial[:-1])])
    one_hot = np.eye(32)[np.asarray(ids.T).reshape(-1)]
    counts = decay * np.asarray(codebooks.counts[0]) + (1 - decay) * one_hot.mean(0)
    sums = decay * np.asarray(codebooks.sums[0]) + (1 - decay) * one_hot.T @ residuals / (Q * 200)
    np.testing.assert_allclose(new.counts[0], counts, rtol=1e-5)
    np.testing.assert_allclose(new.sums[0], sums, atol=1e-6)
    # Dead codes start again at residuals of any level.
    dead = codebooks.replace(counts=codebooks.counts * 0)
    ids = jnp.zeros_like(ids)
    new = codebook_learning.update(
        dead, z, ids, jax.random.key(0), decay=0.9, dead_code_threshold=0.5
    )
    zeroth = np.cumsum(np.repeat(np.asarray(codebooks.codes[0, :1]), Q - 1, 0), axis=0)
    left = np.stack([z, *(z - one for one in zeroth)])  # [Q, M, C]
    distance = np.abs(left[:, :, None] - np.asarray(new.codes[0, 1:])).max(-1).min(1)  # [Q, 31]
    assert distance.min(0).max() < 1e-5 and len(set(distance.argmin(0))) > 1


def test_kmeans_of_a_shared_codebook_takes_codes_from_every_level():
    z = vectors(400) * np.array([3, 2, 1, 0.5], np.float32)
    codebooks = codebook_learning.init_kmeans(
        jax.random.key(0), z, num_quantizers=3, codebook_size=K, shared=True
    )
    assert codebooks.codes.shape == (1, K, C)
    np.testing.assert_allclose(codebooks.counts.sum(-1), 1, rtol=1e-6)
    _, partial = quantizer.quantize(codebooks, z, num_quantizers=3)
    errors = [float(np.square(z - p).mean()) for p in partial]
    assert errors[2] < errors[1] < errors[0] < 0.7 * np.square(z).mean()


def test_update_leaves_unused_codes_where_they_are():
    codebooks, z = books(num_quantizers=1), jnp.ones((4, C))
    ids = jnp.zeros((4, 1), jnp.int32)

    def step(_, codebooks):
        return codebook_learning.update(
            codebooks, z, ids, jax.random.key(0), decay=0.5, dead_code_threshold=0.0
        )

    after = jax.lax.fori_loop(0, 200, step, codebooks)
    assert float(after.counts[0, 1:].max()) < 1e-38
    np.testing.assert_allclose(after.codes[0, 1:], codebooks.codes[0, 1:], rtol=1e-4)
    np.testing.assert_allclose(after.codes[0, 0], 1.0, rtol=1e-5)


def test_update_counts_a_cell_as_one_vector():
    codebooks, z = books(codes=32), vectors(2 * 16).reshape(2, 4, 4, C)
    scales, decay = (2, 4, 4), 0.9
    ids, _ = quantizer.quantize(codebooks, z, scales=scales)
    new = codebook_learning.update(
        codebooks, z, ids, jax.random.key(0), decay=decay, dead_code_threshold=0.0, scales=scales
    )
    means = z.reshape(2, 2, 2, 2, 2, C).mean((2, 4)).reshape(-1, C)
    one_hot = np.eye(32)[np.asarray(ids[:, ::2, ::2, 0]).reshape(-1)]
    counts = decay * np.asarray(codebooks.counts[0]) + (1 - decay) * one_hot.mean(0)
    sums = decay * np.asarray(codebooks.sums[0]) + (1 - decay) * one_hot.T @ means / len(means)
    np.testing.assert_allclose(new.counts[0], counts, rtol=1e-5)
    np.testing.assert_allclose(new.sums[0], sums, atol=1e-6)
    np.testing.assert_allclose(new.counts.sum(-1), 1, rtol=1e-5)


def test_kmeans_error_falls_with_each_level():
    z = vectors(300) * np.array([3, 2, 1, 0.5], np.float32)
    codebooks = codebook_learning.init_kmeans(
        jax.random.key(0), z, num_quantizers=4, codebook_size=K
    )
    ids, partial = quantizer.quantize(codebooks, z)
    errors = [float(np.square(z - p).mean()) for p in partial]
    assert all(b <= a for a, b in zip([float(np.square(z).mean()), *errors], errors, strict=False))
    assert errors[-1] < 0.25 * errors[0]
    usage, _ = codebook_learning.usage_and_perplexity(ids, K)
    assert float(usage.min()) == 1.0
    np.testing.assert_allclose(codebooks.counts.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        codebooks.sums / codebooks.counts[..., None], codebooks.codes, rtol=1e-5
    )


def test_kmeans_works_with_fewer_vectors_than_codes():
    z = vectors(3)
    codebooks = codebook_learning.init_kmeans(
        jax.random.key(0), z, num_quantizers=2, codebook_size=K
    )
    _, partial = quantizer.quantize(codebooks, z)
    assert np.isfinite(codebooks.codes).all()
    assert np.square(z - partial[-1]).mean() < np.square(z).mean()


def test_update_is_the_running_mean_of_assigned_residuals():
    codebooks, z, decay = books(), vectors(200), 0.9
    ids, _ = quantizer.quantize(codebooks, z)
    new = codebook_learning.update(
        codebooks, z, ids, jax.random.key(0), decay=decay, dead_code_threshold=0.0
    )

    residual = z.astype(np.float64)
    for level in range(Q):
        codes, chosen = np.asarray(codebooks.codes[level], np.float64), np.asarray(ids[:, level])
        one_hot = np.eye(K)[chosen]
        counts = decay * np.asarray(codebooks.counts[level]) + (1 - decay) * one_hot.mean(0)
        sums = decay * np.asarray(codebooks.sums[level]) + (1 - decay) * one_hot.T @ residual / 200
        np.testing.assert_allclose(new.counts[level], counts, rtol=1e-5)
        np.testing.assert_allclose(new.sums[level], sums, atol=1e-6)
        np.testing.assert_allclose(new.codes[level], sums / counts[:, None], atol=1e-4)
        residual = residual - codes[chosen]
    np.testing.assert_allclose(new.counts.sum(-1), 1, rtol=1e-5)


def test_update_does_not_depend_on_the_batch_size_of_a_repeated_batch():
    codebooks, z = books(), vectors(50)
    once, twice = (
        codebook_learning.update(
            codebooks,
            batch,
            quantizer.quantize(codebooks, batch)[0],
            jax.random.key(0),
            decay=0.9,
            dead_code_threshold=0.0,
        )
        for batch in (z, np.concatenate([z, z]))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), once, twice)


def test_update_restarts_dead_codes_alone_at_residuals_of_the_batch():
    codebooks, z = books(num_quantizers=2), vectors(100)
    # At level 0 codes 2 and 5 are far from every vector, and their running counts are spent.
    far = codebooks.codes.at[0, jnp.array([2, 5])].set(50.0)
    counts = codebooks.counts.at[0, jnp.array([2, 5])].set(1e-4)
    codebooks = Codebooks(far, counts, far * counts[..., None])
    ids, partial = quantizer.quantize(codebooks, z)
    options = {"decay": 0.99, "dead_code_threshold": 0.05}
    kept = codebook_learning.update(
        codebooks, z, ids, jax.random.key(0), decay=0.99, dead_code_threshold=0.0
    )
    new = codebook_learning.update(codebooks, z, ids, jax.random.key(0), **options)

    live = np.array([k for k in range(K) if k not in (2, 5)])
    np.testing.assert_array_equal(new.codes[0, live], kept.codes[0, live])
    np.testing.assert_array_equal(new.counts[0, live], kept.counts[0, live])
    for code in (2, 5):
        distance = np.abs(z - np.asarray(new.codes[0, code])).max(-1).min()
        assert distance < 1e-5, "a restarted code of level 0 is a vector of the batch"
    np.testing.assert_allclose(new.counts[0, np.array([2, 5])], 1 / K)

    # Not dead again at once: the next update with the restarts still unused keeps them.
    again = codebook_learning.update(new, z, jnp.zeros_like(ids), jax.random.key(1), **options)
    np.testing.assert_allclose(again.codes[0, 2], new.codes[0, 2], rtol=1e-5)

    # At level 1 a restart is a residual of level 0, not a vector.
    counts = codebooks.counts.at[1, 3].set(0.0)
    ids = jnp.where(ids == jnp.array([-1, 3]), 0, ids)
    new = codebook_learning.update(
        codebooks.replace(counts=counts), z, ids, jax.random.key(0), **options
    )
    residuals = z - np.asarray(codebooks.codes)[0, np.asarray(ids[:, 0])]
    assert np.abs(residuals - np.asarray(new.codes[1, 3])).max(-1).min() < 1e-5


def test_usage_and_perplexity_match_known_frequencies():
    ids = jnp.stack(
        [jnp.zeros(64, jnp.int32), jnp.arange(64) % K, jnp.where(jnp.arange(64) < 32, 1, 6)], -1
    )
    usage, perplexity = codebook_learning.usage_and_perplexity(ids.reshape(4, 16, 3), K)
    np.testing.assert_allclose(usage, [1 / K, 1, 2 / K], rtol=1e-6)
    np.testing.assert_allclose(perplexity, [1, K, 2], rtol=1e-5)
