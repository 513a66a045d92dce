"""Residual vector quantisation with exponential-moving-average codebooks (RQ-VAE, Lee et al. 2022).

A vector z is written as a sum of Q codes: level q quantises what levels before it left over. The
codebooks are state and not parameters: they follow the running mean of the residuals assigned to
each code (van den Oord et al. 2017, appendix A.1), start from k-means, and a code that falls out of
use is restarted at a residual of the current batch. Everything here is a pure function of
`Codebooks`.

Distances are always float32 at the highest matmul precision: with bfloat16 products near codes
swap.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

# Rows of distances computed at a time: a chunk's [ROWS, K] distances stay in cache on a CPU, and
# 8,192 codes against 7,680 vectors never materialise as one 240 MiB matrix.
CHUNK_ROWS = 256


@struct.dataclass
class Codebooks:
    """The quantiser's state.

    Attributes:
      codes: float32 [Q, K, C], one codebook a level.
      counts: float32 [Q, K], running mean of the share of a batch's vectors that each code takes.
      sums: float32 [Q, K, C], running mean of the sum of those vectors over the batch's size; so
        codes = sums / counts, whatever the batch size.
    """

    codes: Float[Array, "Q K C"]
    counts: Float[Array, "Q K"]
    sums: Float[Array, "Q K C"]


def nearest(vectors: Float[Array, "M C"], codes: Float[Array, "K C"]) -> Int[Array, " M"]:
    """Index of the nearest code by Euclidean distance; the smallest index on a tie.

    argmin |v - c|^2 = argmax v.c - |c|^2 / 2. The maximum and its first position are two plain
    reductions, several times faster on a CPU than XLA's argmax, which reduces pairs.
    """
    half_norms = 0.5 * jnp.square(codes).sum(-1)  # [K]
    index = jnp.arange(codes.shape[0], dtype=jnp.int32)

    def of_chunk(chunk):
        score = jnp.matmul(chunk, codes.T, precision="highest") - half_norms  # [rows, K]
        best = score.max(-1, keepdims=True)
        return jnp.where(score == best, index, codes.shape[0]).min(-1)

    vectors = vectors.astype(jnp.float32)
    return jax.lax.map(of_chunk, vectors, batch_size=CHUNK_ROWS)


def quantize(
    codebooks: Codebooks, z: Float[Array, "*batch C"]
) -> tuple[Int[Array, "*batch Q"], Float[Array, "Q *batch C"]]:
    """Codes of `z` at every level, and the partial sums of codes up to each level (float32)."""
    residual = z.reshape(-1, z.shape[-1]).astype(jnp.float32)  # [M, C]

    def of_level(residual, codes):
        ids = nearest(residual, codes)
        return residual - codes[ids], (ids, codes[ids])

    _, (ids, chosen) = jax.lax.scan(of_level, residual, codebooks.codes)
    levels = codebooks.codes.shape[0]
    ids = jnp.moveaxis(ids, 0, -1).reshape(*z.shape[:-1], levels)
    return ids, jnp.cumsum(chosen, axis=0).reshape(levels, *z.shape)


def lookup(
    codebooks: Codebooks, ids: Int[Array, "*batch Q"], levels: int | None = None
) -> Float[Array, "*batch C"]:
    """Sum of the codes of the first `levels` levels (all by default): the quantised vector."""
    total = codebooks.codes.shape[0]
    levels = total if levels is None else levels
    if not 1 <= levels <= total:
        raise ValueError(f"levels={levels} is not in 1..{total}, the levels of these codebooks")
    return sum(codebooks.codes[q][ids[..., q]] for q in range(levels))


def straight_through(
    z: Float[Array, "*batch C"], quantized: Float[Array, "*batch C"]
) -> Float[Array, "*batch C"]:
    """`quantized` forward; backward the gradient passes to `z` unchanged."""
    return z + jax.lax.stop_gradient(quantized.astype(z.dtype) - z)


def update(
    codebooks: Codebooks,
    z: Float[Array, "*batch C"],
    ids: Int[Array, "*batch Q"],
    rng: jax.Array,
    *,
    decay: float,
    restart_below: float,
) -> Codebooks:
    """One moving-average step of every level, and restarts of codes that are hardly used.

    Under `jax.jit` on a mesh the counts and sums are over the global batch.

    Args:
      codebooks: the state before.
      z: the batch's vectors, before quantisation.
      ids: their codes, from `quantize` with the same codebooks.
      rng: key for the restarts.
      decay: of the moving averages, in (0, 1).
      restart_below: a code is restarted when its running count falls under this share of the mean
        count of its level's codes.
    """
    num_levels, num_codes, _ = codebooks.codes.shape
    residual = jax.lax.stop_gradient(z).reshape(-1, z.shape[-1]).astype(jnp.float32)  # [M, C]
    ids = ids.reshape(-1, num_levels)
    num_vectors = residual.shape[0]
    mean_count = 1.0 / num_codes

    def of_level(residual, level):
        codes, counts, sums, level_ids, key = level
        batch_counts = jnp.zeros_like(counts).at[level_ids].add(1.0) / num_vectors
        batch_sums = jnp.zeros_like(sums).at[level_ids].add(residual) / num_vectors
        new_counts = decay * counts + (1 - decay) * batch_counts
        new_sums = decay * sums + (1 - decay) * batch_sums
        picks = residual[jax.random.randint(key, (num_codes,), 0, num_vectors)]  # [K, C]
        dead = new_counts < restart_below * mean_count
        # A restarted code starts with the mean count, so that it is not dead again at once.
        new_counts = jnp.where(dead, mean_count, new_counts)
        new_sums = jnp.where(dead[:, None], picks * mean_count, new_sums)
        new_codes = new_sums / new_counts[:, None]
        return residual - codes[level_ids], (new_codes, new_counts, new_sums)

    keys = jax.random.split(rng, num_levels)
    levels = (codebooks.codes, codebooks.counts, codebooks.sums, ids.T, keys)
    _, (codes, counts, sums) = jax.lax.scan(of_level, residual, levels)
    return Codebooks(codes=codes, counts=counts, sums=sums)


def init_kmeans(
    rng: jax.Array, vectors: Float[Array, "M C"], *, levels: int, codes: int, iterations: int = 8
) -> Codebooks:
    """Codebooks from `iterations` of k-means on each level's residuals of `vectors`.

    Centres start at vectors drawn with replacement when there are fewer vectors than codes; a
    centre that no vector chooses stays where it is.
    """
    vectors = vectors.astype(jnp.float32)
    num_vectors, width = vectors.shape

    def of_level(residual, key):
        start = jax.random.choice(key, num_vectors, (codes,), replace=num_vectors < codes)

        def lloyd(_, centres):
            ids = nearest(residual, centres)
            counts = jnp.zeros((codes,)).at[ids].add(1.0)
            sums = jnp.zeros((codes, width)).at[ids].add(residual)
            return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1.0)[:, None], centres)

        centres = jax.lax.fori_loop(0, iterations, lloyd, residual[start])
        return residual - centres[nearest(residual, centres)], centres

    _, centres = jax.lax.scan(of_level, vectors, jax.random.split(rng, levels))
    counts = jnp.full((levels, codes), 1.0 / codes)
    return Codebooks(codes=centres, counts=counts, sums=centres * counts[..., None])


def usage_and_perplexity(
    ids: Int[Array, "*batch Q"], num_codes: int
) -> tuple[Float[Array, " Q"], Float[Array, " Q"]]:
    """Share of codes used at least once, and exp(entropy of code frequencies), for each level."""
    flat = ids.reshape(-1, ids.shape[-1]).T  # [Q, M]
    counts = jax.vmap(lambda i: jnp.zeros((num_codes,)).at[i].add(1.0))(flat)
    p = counts / flat.shape[1]
    entropy = -jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0).sum(-1)
    return (counts > 0).mean(-1), jnp.exp(entropy)
