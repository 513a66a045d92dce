"""Residual vector quantisation with exponential-moving-average codebooks (RQ-VAE, Lee et al. 2022).

A vector z is approximated by a sum of Q codes: level q quantises the residual of the levels before
it. The codebooks are state rather than parameters, see `codebook_learning`. Every function here is
a pure function of `Codebooks`.

There are two variations: all levels can share one codebook, as in the released RQ-VAE, and a level
can quantise a coarser map (`scales`), where all positions of a cell share a token. Tokens have the
same shape in both cases, so decoding does not depend on it.

Distances are always float32 at the highest matmul precision: with bfloat16 products, codes that are
almost equally near swap places.
"""

import functools
import math

import einops
import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from auface_jax.ops.nearest_code import nearest_code
from auface_jax.ops.partitioning import batch_axes

# Memory of the partial sums that training holds at a time: those of 512 vectors of width 256 at 8
# levels. A whole batch of 30 x 256 vectors would need 60 MiB.
BLOCK_BYTES = 4 * 2**20


@struct.dataclass
class Codebooks:
    """State of the quantiser; float32.

    Attributes:
      codes: codes of each level's codebook; [1, K, C] for one codebook that all levels share.
      counts: running mean of the share of a batch's vectors that are assigned to each code.
      sums: running mean of the sum of those vectors, divided by the number of the batch's vectors;
        codes = sums / counts, whatever the batch size.
    """

    codes: Float[Array, "Q K C"]
    counts: Float[Array, "Q K"]
    sums: Float[Array, "Q K C"]

    def book(self, level: Int[Array, ""] | int) -> "Codebooks":
        """Returns the codebook of a level, without the first axis."""
        return jax.tree.map(lambda x: x[0 if len(x) == 1 else level], self)


def quantize(
    codebooks: Codebooks,
    z: Float[Array, "*batch C"],
    *,
    num_quantizers: int | None = None,
    scales: tuple[int, ...] = (),
) -> tuple[Int[Array, "*batch Q"], Float[Array, "Q *batch C"]]:
    """Quantises vectors to a token at every level.

    Each device searches for its own part of the batch: in a loop over chunks of a split batch,
    every device would search for all vectors.

    Args:
      codebooks: one codebook a level, or a single one for all.
      z: vectors; with `scales` they are maps [B, h, w, C].
      num_quantizers: Q; None is the number of codebooks.
      scales: for each level, the side of the map that it quantises: the residual is averaged over
        equal cells, and all positions of a cell get its token. Empty: one token a position.

    Returns:
      Tokens in [0, K), and the partial sums of codes up to each level, float32.
    """
    local = functools.partial(
        _quantize, num_quantizers=num_quantizers or len(codebooks.codes), scales=scales
    )
    if not (axes := batch_axes(len(z))):
        return local(codebooks, z)
    return jax.shard_map(
        local, in_specs=(P(), P(axes)), out_specs=(P(axes), P(None, axes)), check_vma=False
    )(codebooks, z)


def _quantize(codebooks: Codebooks, z: Array, *, num_quantizers: int, scales: tuple[int, ...]):
    """Computes `quantize` on one device."""
    residual = z.reshape(-1, z.shape[-1]).astype(jnp.float32)  # [M, C]

    def quantize_level(carry, codes, side=None):
        residual, total = carry
        cells = residual if side is None else to_cells(residual, z.shape, side)
        ids = nearest_code(cells, codes)
        ids = ids if side is None else from_cells(ids, z.shape, side)
        # The sums are taken in the loop: `jnp.cumsum` over the levels takes longer than the search
        # on a CPU. The barrier has codes read once: XLA would read them again for each sum.
        quantized = jax.lax.optimization_barrier(codes[ids])
        residual, total = residual - quantized, total + quantized
        return (residual, total), (ids, total)

    carry = residual, jnp.zeros_like(residual)
    if num_quantizers == len(codebooks.codes) and not scales:
        _, (ids, partial_sums) = jax.lax.scan(quantize_level, carry, codebooks.codes)
    else:
        outputs = []
        for level, side in enumerate(scales or (None,) * num_quantizers):
            carry, output = quantize_level(carry, codebooks.book(level).codes, side)
            outputs.append(output)
        ids, partial_sums = (jnp.stack(parts) for parts in zip(*outputs, strict=True))
    ids = jnp.moveaxis(ids, 0, -1).reshape(*z.shape[:-1], num_quantizers)
    return ids, partial_sums.reshape(num_quantizers, *z.shape)


def to_cells(
    vectors: Float[Array, "M C"], shape: tuple[int, ...], side: int
) -> Float[Array, "cells C"]:
    """Averages the vectors of maps [B, h, w, C] = `shape` over `side` x `side` cells of each."""
    maps = vectors.reshape(shape)
    return einops.reduce(maps, "b (s i) (t j) c -> (b s t) c", "mean", s=side, t=side)


def from_cells(ids: Int[Array, " cells"], shape: tuple[int, ...], side: int) -> Int[Array, " M"]:
    """Repeats the token of each cell at every position of the cell."""
    rows, columns = shape[1] // side, shape[2] // side
    pattern = "(b s t) -> (b s i t j)"
    return einops.repeat(ids, pattern, s=side, t=side, i=rows, j=columns)


def commitment_loss(
    z: Float[Array, "*batch C"], partial_sums: Float[Array, "Q *batch C"]
) -> Float[Array, ""]:
    """Commitment loss: mean over levels q of |z - sg[Σ codes up to q]|² (RQ-VAE, equation 9)."""
    return jnp.square(z[None] - jax.lax.stop_gradient(partial_sums)).mean()


@struct.dataclass
class Quantized:
    """Quantisation of a batch, for training.

    Attributes:
      ids: tokens.
      vectors: sums of the codes over all levels, float32.
      partial_sums: sums of the codes up to each level; None for a large batch.
      commitment_and_gradient: for a large batch, the commitment loss and its gradient at the batch.
    """

    ids: Int[Array, "B h w Q"]
    vectors: Float[Array, "B h w C"]
    partial_sums: Float[Array, "Q B h w C"] | None = None
    commitment_and_gradient: tuple[Float[Array, ""], Float[Array, "B h w C"]] | None = None

    def commitment(self, z: Float[Array, "B h w C"]) -> Float[Array, ""]:
        """Returns the commitment loss of the batch `z`, differentiable at `z`."""
        if self.partial_sums is not None:
            return commitment_loss(z, self.partial_sums)
        value, at_z = self.commitment_and_gradient
        zero = jnp.vdot(at_z, z - jax.lax.stop_gradient(z))  # its gradient is at_z
        return value + zero


def quantize_batch(
    codebooks: Codebooks,
    z: Float[Array, "B h w C"],
    *,
    num_quantizers: int | None = None,
    scales: tuple[int, ...] = (),
) -> Quantized:
    """Quantises a batch for training; the arguments are those of `quantize`.

    A large batch is quantised some images at a time, together with the gradient of the commitment
    loss, so that the partial sums of all vectors at every level are never in memory at once.
    """
    z = jax.lax.stop_gradient(z)
    num_quantizers, axes = num_quantizers or len(codebooks.codes), batch_axes(len(z))
    devices = math.prod(jax.sharding.get_abstract_mesh().shape[axis] for axis in axes)
    batch = len(z) // devices
    limit = max(1, BLOCK_BYTES // (num_quantizers * math.prod(z.shape[1:]) * 4))
    images = max(n for n in range(1, batch + 1) if batch % n == 0 and n <= limit)
    if images == batch:
        ids, partial_sums = quantize(codebooks, z, num_quantizers=num_quantizers, scales=scales)
        return Quantized(ids, partial_sums[-1], partial_sums)

    def quantize_block(codebooks, z):
        ids, partial_sums = _quantize(codebooks, z, num_quantizers=num_quantizers, scales=scales)
        return (
            ids,
            partial_sums[-1],
            jax.value_and_grad(commitment_loss)(z, partial_sums),
        )

    def quantize_local(codebooks, z):
        blocks = z.reshape(-1, images, *z.shape[1:])
        ids, vectors, (commitments, at_z) = jax.lax.map(
            functools.partial(quantize_block, codebooks), blocks
        )
        value, at_z = commitments.mean(), at_z.reshape(z.shape) / (len(blocks) * devices)
        value = jax.lax.pmean(value, axes) if axes else value
        return ids.reshape(*z.shape[:-1], -1), vectors.reshape(z.shape), value, at_z

    if axes:
        quantize_local = jax.shard_map(
            quantize_local,
            in_specs=(P(), P(axes)),
            out_specs=(P(axes), P(axes), P(), P(axes)),
            check_vma=False,
        )
    ids, vectors, *commitment_and_gradient = quantize_local(codebooks, z)
    return Quantized(ids, vectors, commitment_and_gradient=tuple(commitment_and_gradient))


def lookup(
    codebooks: Codebooks, ids: Int[Array, "*batch Q"], num_quantizers: int | None = None
) -> Float[Array, "*batch C"]:
    """Sums the codes of the first `num_quantizers` levels, by default all, to quantised vectors.

    Raises:
      ValueError: `num_quantizers` is not between 1 and Q.
    """
    total = ids.shape[-1]
    num_quantizers = total if num_quantizers is None else num_quantizers
    if not 1 <= num_quantizers <= total:
        raise ValueError(
            f"num_quantizers={num_quantizers} is not in 1..{total}, the levels of these tokens"
        )
    return sum(codebooks.book(q).codes[ids[..., q]] for q in range(num_quantizers))


def straight_through(
    z: Float[Array, "*batch C"], quantized: Float[Array, "*batch C"]
) -> Float[Array, "*batch C"]:
    """Straight-through estimator: `quantized` forward; backward, the gradient passes to `z`."""
    return z + jax.lax.stop_gradient(quantized.astype(z.dtype) - z)
