"""Residual vector quantisation with exponential-moving-average codebooks (RQ-VAE, Lee et al. 2022).

A vector z is written as a sum of Q codes: level q quantises what levels before it left over. The
codebooks are state and not parameters: they follow the running mean of the residuals assigned to
each code (van den Oord et al. 2017, appendix A.1), start from k-means, and a code that falls out of
use is restarted at a residual of the current batch. Everything here is a pure function of
`Codebooks`.

Two variations: all levels can share one codebook, as in the released RQ-VAE, and a level can
quantise a coarser map (`scales`), where all positions of a cell share a code. Codes have the same
shape either way, so that decoding knows nothing of it.

Distances are always float32 at the highest matmul precision: with bfloat16 products near codes
swap.
"""

import functools
import math

import einops
import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from auface_jax import losses
from auface_jax.sharding import row_axes

# Rows of distances computed at a time: a chunk's [K, ROWS] distances stay in cache on a CPU, and
# 8,192 codes against 7,680 vectors never materialise as one 240 MiB matrix.
CHUNK_ROWS = 256
# Partial sums that training has at a time: of 8 levels and 512 vectors 256 wide. Those of a whole
# batch of 30 x 256 vectors would be 60 MiB.
BLOCK_BYTES = 4 * 2**20


@struct.dataclass
class Codebooks:
    """The quantiser's state.

    Attributes:
      codes: float32 [Q, K, C], one codebook a level; or [1, K, C], one for all levels.
      counts: float32 [Q, K], running mean of the share of a batch's vectors that each code takes.
      sums: float32 [Q, K, C], running mean of the sum of those vectors over the batch's size; so
        codes = sums / counts, whatever the batch size.
    """

    codes: Float[Array, "Q K C"]
    counts: Float[Array, "Q K"]
    sums: Float[Array, "Q K C"]

    def book(self, level: Int[Array, ""] | int) -> "Codebooks":
        """The codebook of a level, without the first axis."""
        return jax.tree.map(lambda x: x[0 if len(x) == 1 else level], self)


def nearest(vectors: Float[Array, "M C"], codes: Float[Array, "K C"]) -> Int[Array, " M"]:
    """Index of the nearest code by Euclidean distance; the smallest index on a tie.

    argmin |v - c|^2 = argmax v.c - |c|^2 / 2. The maximum and its first position are two plain
    reductions, several times faster on a CPU than XLA's argmax, which reduces pairs. They run along
    columns, for all rows of a chunk at a time, which is worth a third of the whole.
    """
    half_norms = 0.5 * jnp.square(codes).sum(-1)[:, None]  # [K, 1]
    index = jnp.arange(codes.shape[0], dtype=jnp.int32)[:, None]

    def of_chunk(chunk):
        score = jnp.matmul(codes, chunk.T, precision="highest") - half_norms  # [K, rows]
        return jnp.where(score == score.max(0), index, codes.shape[0]).min(0)

    vectors = vectors.astype(jnp.float32)
    whole = len(vectors) - len(vectors) % CHUNK_ROWS
    ids = jax.lax.map(of_chunk, vectors[:whole].reshape(-1, CHUNK_ROWS, vectors.shape[1]))
    return jnp.concatenate([ids.reshape(-1), of_chunk(vectors[whole:])])


def quantize(
    codebooks: Codebooks,
    z: Float[Array, "*batch C"],
    *,
    levels: int | None = None,
    scales: tuple[int, ...] = (),
) -> tuple[Int[Array, "*batch Q"], Float[Array, "Q *batch C"]]:
    """Codes of `z` at every level, and the partial sums of codes up to each level (float32).

    Each device searches for its own rows: loops over chunks of rows that are split would have every
    device search for all.

    Args:
      codebooks: one codebook a level, or a single one for all.
      z: the vectors; with `scales` they are maps [B, h, w, C].
      levels: Q; None is the number of codebooks.
      scales: for each level the side of the map that it quantises: what is left over is averaged
        over equal cells, and all positions of a cell get its code. Empty: a code a position.
    """
    local = functools.partial(_quantize, levels=levels or len(codebooks.codes), scales=scales)
    if not (axes := row_axes(len(z))):
        return local(codebooks, z)
    return jax.shard_map(
        local, in_specs=(P(), P(axes)), out_specs=(P(axes), P(None, axes)), check_vma=False
    )(codebooks, z)


def _quantize(codebooks: Codebooks, z: Array, *, levels: int, scales: tuple[int, ...]):
    """`quantize` on one device."""
    residual = z.reshape(-1, z.shape[-1]).astype(jnp.float32)  # [M, C]

    def of_level(carry, codes, side=None):
        residual, total = carry
        cells = residual if side is None else _cells(residual, z.shape, side)
        ids = nearest(cells, codes)
        ids = ids if side is None else _spread(ids, z.shape, side)
        # Summed on the way: `jnp.cumsum` over the levels takes longer than the search on a CPU.
        # And read once: XLA would read them again for each of the sums.
        quantized = jax.lax.optimization_barrier(codes[ids])
        residual, total = residual - quantized, total + quantized
        return (residual, total), (ids, total)

    carry = residual, jnp.zeros_like(residual)
    if levels == len(codebooks.codes) and not scales:
        _, (ids, partial_sums) = jax.lax.scan(of_level, carry, codebooks.codes)
    else:
        outputs = []
        for level, side in enumerate(scales or (None,) * levels):
            carry, output = of_level(carry, codebooks.book(level).codes, side)
            outputs.append(output)
        ids, partial_sums = (jnp.stack(parts) for parts in zip(*outputs, strict=True))
    ids = jnp.moveaxis(ids, 0, -1).reshape(*z.shape[:-1], levels)
    return ids, partial_sums.reshape(levels, *z.shape)


def _cells(
    vectors: Float[Array, "M C"], shape: tuple[int, ...], side: int
) -> Float[Array, "cells C"]:
    """Means of `vectors`, of maps [B, h, w, C] = `shape`, over `side` x `side` cells of each."""
    maps = vectors.reshape(shape)
    return einops.reduce(maps, "b (s i) (t j) c -> (b s t) c", "mean", s=side, t=side)


def _spread(ids: Int[Array, " cells"], shape: tuple[int, ...], side: int) -> Int[Array, " M"]:
    """The codes of cells at every position of the cells."""
    rows, columns = shape[1] // side, shape[2] // side
    pattern = "(b s t) -> (b s i t j)"
    return einops.repeat(ids, pattern, s=side, t=side, i=rows, j=columns)


@struct.dataclass
class Quantized:
    """What training needs of a batch's quantisation.

    Attributes:
      ids: its codes.
      vectors: their sums over the levels, float32.
      partial_sums: the sums up to each level; None of a large batch, whose
      commitment_and_gradient: L_commit and its gradient at the batch are here instead.
    """

    ids: Int[Array, "B h w Q"]
    vectors: Float[Array, "B h w C"]
    partial_sums: Float[Array, "Q B h w C"] | None = None
    commitment_and_gradient: tuple[Float[Array, ""], Float[Array, "B h w C"]] | None = None

    def commitment(self, z: Float[Array, "B h w C"]) -> Float[Array, ""]:
        """L_commit of the batch `z`, with its gradient."""
        if self.partial_sums is not None:
            return losses.commitment(z, self.partial_sums)
        value, at_z = self.commitment_and_gradient
        return value + jnp.vdot(
            at_z, z - jax.lax.stop_gradient(z)
        )  # plus 0, whose gradient is at_z


def quantize_batch(
    codebooks: Codebooks,
    z: Float[Array, "B h w C"],
    *,
    levels: int | None = None,
    scales: tuple[int, ...] = (),
) -> Quantized:
    """`quantize`, whose arguments it takes, for training.

    A large batch is taken some images at a time, and L_commit's gradient along with it: partial
    sums are never held for all vectors at every level.
    """
    z = jax.lax.stop_gradient(z)
    levels, axes = levels or len(codebooks.codes), row_axes(len(z))
    devices = math.prod(jax.sharding.get_abstract_mesh().shape[axis] for axis in axes)
    batch = len(z) // devices
    limit = max(1, BLOCK_BYTES // (levels * math.prod(z.shape[1:]) * 4))
    images = max(n for n in range(1, batch + 1) if batch % n == 0 and n <= limit)
    if images == batch:
        ids, partial_sums = quantize(codebooks, z, levels=levels, scales=scales)
        return Quantized(ids, partial_sums[-1], partial_sums)

    def of_block(codebooks, z):
        ids, partial_sums = _quantize(codebooks, z, levels=levels, scales=scales)
        return ids, partial_sums[-1], jax.value_and_grad(losses.commitment)(z, partial_sums)

    def of_device(codebooks, z):
        blocks = z.reshape(-1, images, *z.shape[1:])
        ids, vectors, (commitments, at_z) = jax.lax.map(
            functools.partial(of_block, codebooks), blocks
        )
        value, at_z = commitments.mean(), at_z.reshape(z.shape) / (len(blocks) * devices)
        value = jax.lax.pmean(value, axes) if axes else value
        return ids.reshape(*z.shape[:-1], -1), vectors.reshape(z.shape), value, at_z

    if axes:
        of_device = jax.shard_map(
            of_device,
            in_specs=(P(), P(axes)),
            out_specs=(P(axes), P(axes), P(), P(axes)),
            check_vma=False,
        )
    ids, vectors, *commitment_and_gradient = of_device(codebooks, z)
    return Quantized(ids, vectors, commitment_and_gradient=tuple(commitment_and_gradient))


def lookup(
    codebooks: Codebooks, ids: Int[Array, "*batch Q"], levels: int | None = None
) -> Float[Array, "*batch C"]:
    """Sum of the codes of the first `levels` levels (all by default): the quantised vector."""
    total = ids.shape[-1]
    levels = total if levels is None else levels
    if not 1 <= levels <= total:
        raise ValueError(f"levels={levels} is not in 1..{total}, the levels of these codes")
    return sum(codebooks.book(q).codes[ids[..., q]] for q in range(levels))


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
      restart_below: a code is restarted when its running count falls under this share of the mean
        count of its codebook's codes.
      scales: as in `quantize`; a cell counts as one vector.
    """
    levels, (books, num_codes, width) = ids.shape[-1], codebooks.codes.shape
    residual = jax.lax.stop_gradient(z).reshape(-1, width).astype(jnp.float32)  # [M, C]
    ids = ids.reshape(-1, levels)
    mean_count = 1.0 / num_codes

    def of_level(residual, codes, level, side=None):
        """What is left over, and of every code its share, the sum of what it takes, a restart."""
        cells, level_ids = residual, ids[:, level]
        if side is not None:
            cells = _cells(residual, z.shape, side)
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
        dead = new_counts < restart_below * mean_count
        # A restarted code starts with the mean count, so that it is not dead again at once.
        new_counts = jnp.where(dead, mean_count, new_counts)
        return new_counts, jnp.where(dead[:, None], picks * mean_count, new_sums)

    def of_book(level, carry, side=None):
        """Each level has its book, whose averages are replaced in place."""
        residual, counts, sums = carry
        residual, statistics = of_level(residual, codebooks.codes[level], level, side)
        new_counts, new_sums = moved(counts[level], sums[level], *statistics)
        return residual, counts.at[level].set(new_counts), sums.at[level].set(new_sums)

    keys = jax.random.split(rng, levels)
    sides = scales or (None,) * levels
    carry = (residual, codebooks.counts, codebooks.sums)
    if books == levels and not scales:
        _, counts, sums = jax.lax.fori_loop(0, levels, of_book, carry)
    elif books == levels:
        for level, side in enumerate(sides):
            carry = of_book(level, carry, side)
        _, counts, sums = carry
    else:  # means over the levels, and restarts at residuals of any of them
        means, picks = (jnp.zeros((num_codes,)), jnp.zeros((num_codes, width))), 0.0
        turn = jax.random.randint(jax.random.fold_in(rng, levels), (num_codes, 1), 0, levels)
        for level, side in enumerate(sides):
            residual, (*of_batch, drawn) = of_level(residual, codebooks.codes[0], level, side)
            means = tuple(m + one / levels for m, one in zip(means, of_batch, strict=True))
            picks = jnp.where(turn == level, drawn, picks)
        new = moved(codebooks.counts[0], codebooks.sums[0], *means, picks)
        counts, sums = (x[None] for x in new)
    return Codebooks(codes=sums / counts[..., None], counts=counts, sums=sums)


def init_kmeans(
    rng: jax.Array,
    z: Float[Array, "*batch C"],
    *,
    levels: int,
    codes: int,
    scales: tuple[int, ...] = (),
    shared: bool = False,
    iterations: int = 8,
) -> Codebooks:
    """Codebooks from `iterations` of k-means on each level's residuals of `z`.

    Centres start at vectors drawn with replacement when there are fewer vectors than codes; a
    centre that no vector chooses stays where it is.

    Args:
      z: vectors; with `scales` maps [B, h, w, C].
      codes: K.
      scales: as in `quantize`.
      shared: one codebook for all levels, an equal part of it from each level's residuals.
    """
    residual, width = z.reshape(-1, z.shape[-1]).astype(jnp.float32), z.shape[-1]
    each = -(-codes // levels) if shared else codes

    def of_level(residual, key, side=None):
        vectors = residual if side is None else _cells(residual, z.shape, side)
        count = len(vectors)
        start = jax.random.choice(key, count, (each,), replace=count < each)

        def lloyd(_, centres):
            ids = nearest(vectors, centres)
            counts = jnp.zeros((each,)).at[ids].add(1.0)
            sums = jnp.zeros((each, width)).at[ids].add(vectors)
            return jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1.0)[:, None], centres)

        centres = jax.lax.fori_loop(0, iterations, lloyd, vectors[start])
        ids = nearest(vectors, centres)
        ids = ids if side is None else _spread(ids, z.shape, side)
        return residual - centres[ids], centres

    keys = jax.random.split(rng, levels)
    if scales:
        of_levels = []
        for key, side in zip(keys, scales, strict=True):
            residual, centres = of_level(residual, key, side)
            of_levels.append(centres)
        centres = jnp.stack(of_levels)
    else:
        _, centres = jax.lax.scan(of_level, residual, keys)
    if shared:
        centres = centres.reshape(1, -1, width)[:, :codes]
    counts = jnp.full(centres.shape[:2], 1.0 / codes)
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
