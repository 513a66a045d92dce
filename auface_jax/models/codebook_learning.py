"""Learning of codebooks: k-means at the start, moving averages, restarts of unused codes.

The state of the quantiser follows the running mean of the residuals that are assigned to each code
(van den Oord et al. 2017, appendix A.1) and is not trained by gradients. A code that falls out of
use restarts at a residual of the current batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from auface_jax.models.quantizer import Codebooks, from_cells, to_cells
from auface_jax.ops.nearest_code import nearest_code

# Count and sum of a code that was not used for long are about to underflow below this count, and
# their ratio is no mean any more.
MIN_COUNT = 1e-20


def update(
    codebooks: Codebooks,
    z: Float[Array, "*batch C"],
    ids: Int[Array, "*batch Q"],
    rng: jax.Array,
    *,
    decay: float,
    dead_code_threshold: float,
    scales: tuple[int, ...] = (),
) -> Codebooks:
    """Takes one moving-average step of every codebook, and restarts codes that are hardly used.

    Under `jax.jit` on a mesh the counts and sums are over the global batch.

    Args:
      codebooks: state before the step.
      z: vectors of the batch, before quantisation.
      ids: their tokens, from `quantize` with the same codebooks.
      rng: key for the restarts.
      decay: decay of the moving averages, in (0, 1).
      dead_code_threshold: a code restarts when its running count falls below this share of the mean
        count of its codebook's codes; 0 restarts none.
      scales: as in `quantize`; a cell counts as one vector.

    Returns:
      The state after the step.
    """
    num_quantizers, (books, num_codes, width) = ids.shape[-1], codebooks.codes.shape
    residual = jax.lax.stop_gradient(z).reshape(-1, width).astype(jnp.float32)  # [M, C]
    ids = ids.reshape(-1, num_quantizers)
    thresholds = {"decay": decay, "dead_code_threshold": dead_code_threshold}

    def update_book(level, carry, side=None):
        """Updates the codebook of a level in place."""
        residual, counts, sums = carry
        residual, statistics = _level_statistics(
            residual, codebooks.codes[level], ids[:, level], keys[level], z.shape, side
        )
        new_counts, new_sums = _moving_averages(
            counts[level], sums[level], *statistics, **thresholds
        )
        return residual, counts.at[level].set(new_counts), sums.at[level].set(new_sums)

    keys = jax.random.split(rng, num_quantizers)
    sides = scales or (None,) * num_quantizers
    carry = (residual, codebooks.counts, codebooks.sums)
    if books == num_quantizers and not scales:
        _, counts, sums = jax.lax.fori_loop(0, num_quantizers, update_book, carry)
    elif books == num_quantizers:
        for level, side in enumerate(sides):
            carry = update_book(level, carry, side)
        _, counts, sums = carry
    else:  # one codebook: means over the levels, and restarts at residuals of any of them
        means, restarts = (jnp.zeros((num_codes,)), jnp.zeros((num_codes, width))), 0.0
        restart_level = jax.random.randint(
            jax.random.fold_in(rng, num_quantizers), (num_codes, 1), 0, num_quantizers
        )
        for level, side in enumerate(sides):
            residual, (*statistics, level_restarts) = _level_statistics(
                residual, codebooks.codes[0], ids[:, level], keys[level], z.shape, side
            )
            means = tuple(
                m + one / num_quantizers for m, one in zip(means, statistics, strict=True)
            )
            restarts = jnp.where(restart_level == level, level_restarts, restarts)
        new = _moving_averages(
            codebooks.counts[0], codebooks.sums[0], *means, restarts, **thresholds
        )
        counts, sums = (x[None] for x in new)
    # A code that is not used and does not restart stays where it is.
    is_mean = counts[..., None] > MIN_COUNT
    codes = jnp.where(is_mean, sums / counts[..., None], codebooks.codes)
    return Codebooks(codes=codes, counts=counts, sums=sums)


def _level_statistics(
    residual: Float[Array, "M C"],
    codes: Float[Array, "K C"],
    ids: Int[Array, " M"],
    key: jax.Array,
    shape: tuple[int, ...],
    side: int | None,
) -> tuple[Float[Array, "M C"], tuple[Array, Array, Array]]:
    """Computes the statistics of one level.

    Args:
      residual: residual of the coarser levels.
      codes: codes of the level.
      ids: tokens of the level.
      key: key for the restarts.
      shape: shape of the vectors, [B, h, w, C] for `side`.
      side: side of the map that the level quantises; None for one token a position.

    Returns:
      The next residual, and for each code its share of the vectors, the sum of these divided by the
      number of all vectors, and a vector to restart at.
    """
    num_codes, width = codes.shape
    cells, cell_ids = residual, ids
    if side is not None:
        cells = to_cells(residual, shape, side)
        cell_ids = ids.reshape(shape[:-1])
        cell_ids = cell_ids[:, :: shape[1] // side, :: shape[2] // side].reshape(-1)
    count = len(cells)
    batch_counts = jnp.zeros((num_codes,)).at[cell_ids].add(1.0) / count
    batch_sums = jnp.zeros((num_codes, width)).at[cell_ids].add(cells) / count
    restarts = cells[jax.random.randint(key, (num_codes,), 0, count)]  # [K, C]
    return residual - codes[ids], (batch_counts, batch_sums, restarts)


def _moving_averages(
    counts: Float[Array, " K"],
    sums: Float[Array, "K C"],
    batch_counts: Float[Array, " K"],
    batch_sums: Float[Array, "K C"],
    restarts: Float[Array, "K C"],
    *,
    decay: float,
    dead_code_threshold: float,
) -> tuple[Float[Array, " K"], Float[Array, "K C"]]:
    """Returns the new counts and sums of one codebook, whose dead codes restart."""
    mean_count = 1.0 / len(counts)
    new_counts = decay * counts + (1 - decay) * batch_counts
    new_sums = decay * sums + (1 - decay) * batch_sums
    dead = new_counts < dead_code_threshold * mean_count
    # A restarted code starts with the mean count, so that it is not dead again at once.
    new_counts = jnp.where(dead, mean_count, new_counts)
    return new_counts, jnp.where(dead[:, None], restarts * mean_count, new_sums)


def init_kmeans(
    rng: jax.Array,
    z: Float[Array, "*batch C"],
    *,
    num_quantizers: int,
    codebook_size: int,
    scales: tuple[int, ...] = (),
    shared: bool = False,
    iterations: int = 8,
) -> Codebooks:
    """Initialises codebooks by k-means on the residuals of each level.

    Centres start at vectors of `z`, which are sampled with replacement when there are fewer vectors
    than codes. A centre that no vector is nearest to stays where it is.

    Args:
      rng: key for the starting centres.
      z: vectors; with `scales` maps [B, h, w, C].
      num_quantizers: Q.
      codebook_size: K.
      scales: as in `quantize`.
      shared: whether all levels share one codebook, an equal part of it from the residuals of each.
      iterations: iterations of k-means.
    """
    residual, width = z.reshape(-1, z.shape[-1]).astype(jnp.float32), z.shape[-1]
    each = -(-codebook_size // num_quantizers) if shared else codebook_size

    def fit_level(residual, key, side=None):
        vectors = residual if side is None else to_cells(residual, z.shape, side)
        count = len(vectors)
        start = jax.random.choice(key, count, (each,), replace=count < each)

        def lloyd(_, centres):
            ids = nearest_code(vectors, centres)
            counts = jnp.zeros((each,)).at[ids].add(1.0)
            sums = jnp.zeros((each, width)).at[ids].add(vectors)
            return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1.0)[:, None], centres)

        centres = jax.lax.fori_loop(0, iterations, lloyd, vectors[start])
        ids = nearest_code(vectors, centres)
        ids = ids if side is None else from_cells(ids, z.shape, side)
        return residual - centres[ids], centres

    keys = jax.random.split(rng, num_quantizers)
    if scales:
        by_level = []
        for key, side in zip(keys, scales, strict=True):
            residual, centres = fit_level(residual, key, side)
            by_level.append(centres)
        centres = jnp.stack(by_level)
    else:
        _, centres = jax.lax.scan(fit_level, residual, keys)
    if shared:
        centres = centres.reshape(1, -1, width)[:, :codebook_size]
    counts = jnp.full(centres.shape[:2], 1.0 / codebook_size)
    return Codebooks(codes=centres, counts=counts, sums=centres * counts[..., None])


def usage_and_perplexity(
    ids: Int[Array, "*batch Q"], num_codes: int
) -> tuple[Float[Array, " Q"], Float[Array, " Q"]]:
    """Computes usage and perplexity of the codes of each level.

    Args:
      ids: tokens of some images.
      num_codes: K.

    Returns:
      The share of codes that are used at least once, and exp(entropy of the code frequencies).
    """
    flat = ids.reshape(-1, ids.shape[-1]).T  # [Q, M]
    counts = jax.vmap(lambda i: jnp.zeros((num_codes,)).at[i].add(1.0))(flat)
    p = counts / flat.shape[1]
    entropy = -jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0).sum(-1)
    return (counts > 0).mean(-1), jnp.exp(entropy)
