"""How codebooks come about: k-means at the start, moving averages, restarts of codes out of use.

The quantiser's state follows the running mean of the residuals assigned to each code (van den Oord
et al. 2017, appendix A.1) and is not trained by gradients; a code that falls out of use starts
again at a residual of the current batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from auface_jax.models.quantizer import Codebooks, from_cells, to_cells
from auface_jax.ops.nearest_code import nearest

# Of what was last taken so long ago, count and sum are about to underflow: their ratio is no mean.
LEAST_COUNT = 1e-20


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
    """One moving-average step of every codebook, and restarts of codes that are hardly used.

    Under `jax.jit` on a mesh the counts and sums are over the global batch.

    Args:
      codebooks: the state before.
      z: the batch's vectors, before quantisation.
      ids: their codes, from `quantize` with the same codebooks.
      rng: key for the restarts.
      decay: of the moving averages, in (0, 1).
      dead_code_threshold: a code is restarted when its running count falls under this share of
        the mean count of its codebook's codes; 0 restarts none.
      scales: as in `quantize`; a cell counts as one vector.
    """
    num_quantizers, (books, num_codes, width) = ids.shape[-1], codebooks.codes.shape
    residual = jax.lax.stop_gradient(z).reshape(-1, width).astype(jnp.float32)  # [M, C]
    ids = ids.reshape(-1, num_quantizers)
    mean_count = 1.0 / num_codes

    def of_level(residual, codes, level, side=None):
        """What is left over, and of every code its share, the sum of what it takes, a restart."""
        cells, level_ids = residual, ids[:, level]
        if side is not None:
            cells = to_cells(residual, z.shape, side)
            level_ids = level_ids.reshape(z.shape[:-1])
            level_ids = level_ids[:, :: z.shape[1] // side, :: z.shape[2] // side].reshape(-1)
        count = len(cells)
        batch_counts = jnp.zeros((num_codes,)).at[level_ids].add(1.0) / count
        batch_sums = jnp.zeros((num_codes, width)).at[level_ids].add(cells) / count
        picks = cells[jax.random.randint(keys[level], (num_codes,), 0, count)]  # [K, C]
        return residual - codes[ids[:, level]], (batch_counts, batch_sums, picks)

    def moved(counts, sums, batch_counts, batch_sums, picks):
        new_counts = decay * counts + (1 - decay) * batch_counts
        new_sums = decay * sums + (1 - decay) * batch_sums
        dead = new_counts < dead_code_threshold * mean_count
        # A restarted code starts with the mean count, so that it is not dead again at once.
        new_counts = jnp.where(dead, mean_count, new_counts)
        return new_counts, jnp.where(dead[:, None], picks * mean_count, new_sums)

    def of_book(level, carry, side=None):
        """Each level has its book, whose averages are replaced in place."""
        residual, counts, sums = carry
        residual, statistics = of_level(residual, codebooks.codes[level], level, side)
        new_counts, new_sums = moved(counts[level], sums[level], *statistics)
        return residual, counts.at[level].set(new_counts), sums.at[level].set(new_sums)

    keys = jax.random.split(rng, num_quantizers)
    sides = scales or (None,) * num_quantizers
    carry = (residual, codebooks.counts, codebooks.sums)
    if books == num_quantizers and not scales:
        _, counts, sums = jax.lax.fori_loop(0, num_quantizers, of_book, carry)
    elif books == num_quantizers:
        for level, side in enumerate(sides):
            carry = of_book(level, carry, side)
        _, counts, sums = carry
    else:  # means over the levels, and restarts at residuals of any of them
        means, picks = (jnp.zeros((num_codes,)), jnp.zeros((num_codes, width))), 0.0
        turn = jax.random.randint(
            jax.random.fold_in(rng, num_quantizers), (num_codes, 1), 0, num_quantizers
        )
        for level, side in enumerate(sides):
            residual, (*of_batch, drawn) = of_level(residual, codebooks.codes[0], level, side)
            means = tuple(m + one / num_quantizers for m, one in zip(means, of_batch, strict=True))
            picks = jnp.where(turn == level, drawn, picks)
        new = moved(codebooks.counts[0], codebooks.sums[0], *means, picks)
        counts, sums = (x[None] for x in new)
    # A code that nothing takes and that is not restarted stays where it is.
    counted = counts[..., None] > LEAST_COUNT
    codes = jnp.where(counted, sums / counts[..., None], codebooks.codes)
    return Codebooks(codes=codes, counts=counts, sums=sums)


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
    """Codebooks from `iterations` of k-means on each level's residuals of `z`.

    Centres start at vectors drawn with replacement when there are fewer vectors than codes; a
    centre that no vector chooses stays where it is.

    Args:
      z: vectors; with `scales` maps [B, h, w, C].
      codebook_size: K.
      scales: as in `quantize`.
      shared: one codebook for all levels, an equal part of it from each level's residuals.
    """
    residual, width = z.reshape(-1, z.shape[-1]).astype(jnp.float32), z.shape[-1]
    each = -(-codebook_size // num_quantizers) if shared else codebook_size

    def of_level(residual, key, side=None):
        vectors = residual if side is None else to_cells(residual, z.shape, side)
        count = len(vectors)
        start = jax.random.choice(key, count, (each,), replace=count < each)

        def lloyd(_, centres):
            ids = nearest(vectors, centres)
            counts = jnp.zeros((each,)).at[ids].add(1.0)
            sums = jnp.zeros((each, width)).at[ids].add(vectors)
            return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1.0)[:, None], centres)

        centres = jax.lax.fori_loop(0, iterations, lloyd, vectors[start])
        ids = nearest(vectors, centres)
        ids = ids if side is None else from_cells(ids, z.shape, side)
        return residual - centres[ids], centres

    keys = jax.random.split(rng, num_quantizers)
    if scales:
        of_levels = []
        for key, side in zip(keys, scales, strict=True):
            residual, centres = of_level(residual, key, side)
            of_levels.append(centres)
        centres = jnp.stack(of_levels)
    else:
        _, centres = jax.lax.scan(of_level, residual, keys)
    if shared:
        centres = centres.reshape(1, -1, width)[:, :codebook_size]
    counts = jnp.full(centres.shape[:2], 1.0 / codebook_size)
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
