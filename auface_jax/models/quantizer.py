"""Residual vector quantisation with exponential-moving-average codebooks (RQ-VAE, Lee et al. 2022).

A vector z is written as a sum of Q codes: level q quantises what levels before it left over. The
codebooks are state and not parameters, see `codebook_learning`. Everything here is a pure function
of `Codebooks`.

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

from auface_jax.ops.nearest_code import nearest
from auface_jax.ops.partitioning import row_axes

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


def quantize(
    codebooks: Codebooks,
    z: Float[Array, "*batch C"],
    *,
    num_quantizers: int | None = None,
    scales: tuple[int, ...] = (),
) -> tuple[Int[Array, "*batch Q"], Float[Array, "Q *batch C"]]:
    """Codes of `z` at every level, and the partial sums of codes up to each level (float32).

    Each device searches for its own rows: loops over chunks of rows that are split would have every
    device search for all.

    Args:
      codebooks: one codebook a level, or a single one for all.
      z: the vectors; with `scales` they are maps [B, h, w, C].
      num_quantizers: Q; None is the number of codebooks.
      scales: for each level the side of the map that it quantises: what is left over is averaged
        over equal cells, and all positions of a cell get its code. Empty: a code a position.
    """
    local = functools.partial(
        _quantize, num_quantizers=num_quantizers or len(codebooks.codes), scales=scales
    )
    if not (axes := row_axes(len(z))):
        return local(codebooks, z)
    return jax.shard_map(
        local, in_specs=(P(), P(axes)), out_specs=(P(axes), P(None, axes)), check_vma=False
    )(codebooks, z)


def _quantize(codebooks: Codebooks, z: Array, *, num_quantizers: int, scales: tuple[int, ...]):
    """`quantize` on one device."""
    residual = z.reshape(-1, z.shape[-1]).astype(jnp.float32)  # [M, C]

    def of_level(carry, codes, side=None):
        residual, total = carry
        cells = residual if side is None else to_cells(residual, z.shape, side)
        ids = nearest(cells, codes)
        ids = ids if side is None else from_cells(ids, z.shape, side)
        # Summed on the way: `jnp.cumsum` over the levels takes longer than the search on a CPU.
        # And read once: XLA would read them again for each of the sums.
        quantized = jax.lax.optimization_barrier(codes[ids])
        residual, total = residual - quantized, total + quantized
        return (residual, total), (ids, total)

    carry = residual, jnp.zeros_like(residual)
    if num_quantizers == len(codebooks.codes) and not scales:
        _, (ids, partial_sums) = jax.lax.scan(of_level, carry, codebooks.codes)
    else:
        outputs = []
        for level, side in enumerate(scales or (None,) * num_quantizers):
            carry, output = of_level(carry, codebooks.book(level).codes, side)
            outputs.append(output)
        ids, partial_sums = (jnp.stack(parts) for parts in zip(*outputs, strict=True))
    ids = jnp.moveaxis(ids, 0, -1).reshape(*z.shape[:-1], num_quantizers)
    return ids, partial_sums.reshape(num_quantizers, *z.shape)


def to_cells(
    vectors: Float[Array, "M C"], shape: tuple[int, ...], side: int
) -> Float[Array, "cells C"]:
    """Means of `vectors`, of maps [B, h, w, C] = `shape`, over `side` x `side` cells of each."""
    maps = vectors.reshape(shape)
    return einops.reduce(maps, "b (s i) (t j) c -> (b s t) c", "mean", s=side, t=side)


def from_cells(ids: Int[Array, " cells"], shape: tuple[int, ...], side: int) -> Int[Array, " M"]:
    """The codes of cells at every position of the cells."""
    rows, columns = shape[1] // side, shape[2] // side
    pattern = "(b s t) -> (b s i t j)"
    return einops.repeat(ids, pattern, s=side, t=side, i=rows, j=columns)


def commitment_loss(
    z: Float[Array, "*batch C"], partial_sums: Float[Array, "Q *batch C"]
) -> Float[Array, ""]:
    """L_commit: mean over levels of |z - sg[sum of codes up to the level]|² (RQ-VAE, eq. 9)."""
    return jnp.square(z[None] - jax.lax.stop_gradient(partial_sums)).mean()


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
            return commitment_loss(z, self.partial_sums)
        value, at_z = self.commitment_and_gradient
        return value + jnp.vdot(
            at_z, z - jax.lax.stop_gradient(z)
        )  # plus 0, whose gradient is at_z


def quantize_batch(
    codebooks: Codebooks,
    z: Float[Array, "B h w C"],
    *,
    num_quantizers: int | None = None,
    scales: tuple[int, ...] = (),
) -> Quantized:
    """`quantize`, whose arguments it takes, for training.

    A large batch is taken some images at a time, and L_commit's gradient along with it: partial
    sums are never held for all vectors at every level.
    """
    z = jax.lax.stop_gradient(z)
    num_quantizers, axes = num_quantizers or len(codebooks.codes), row_axes(len(z))
    devices = math.prod(jax.sharding.get_abstract_mesh().shape[axis] for axis in axes)
    batch = len(z) // devices
    limit = max(1, BLOCK_BYTES // (num_quantizers * math.prod(z.shape[1:]) * 4))
    images = max(n for n in range(1, batch + 1) if batch % n == 0 and n <= limit)
    if images == batch:
        ids, partial_sums = quantize(codebooks, z, num_quantizers=num_quantizers, scales=scales)
        return Quantized(ids, partial_sums[-1], partial_sums)

    def of_block(codebooks, z):
        ids, partial_sums = _quantize(codebooks, z, num_quantizers=num_quantizers, scales=scales)
        return (
            ids,
            partial_sums[-1],
            jax.value_and_grad(commitment_loss)(z, partial_sums),
        )

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
    codebooks: Codebooks, ids: Int[Array, "*batch Q"], num_quantizers: int | None = None
) -> Float[Array, "*batch C"]:
    """Sums the codes of the first `num_quantizers` levels, all by default: quantised vectors."""
    total = ids.shape[-1]
    num_quantizers = total if num_quantizers is None else num_quantizers
    if not 1 <= num_quantizers <= total:
        raise ValueError(
            f"num_quantizers={num_quantizers} is not in 1..{total}, the levels of these codes"
        )
    return sum(codebooks.book(q).codes[ids[..., q]] for q in range(num_quantizers))


def straight_through(
    z: Float[Array, "*batch C"], quantized: Float[Array, "*batch C"]
) -> Float[Array, "*batch C"]:
    """`quantized` forward; backward the gradient passes to `z` unchanged."""
    return z + jax.lax.stop_gradient(quantized.astype(z.dtype) - z)
