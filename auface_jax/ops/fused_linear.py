"""Linear layers of sequences as plain matrix products; layers of one input as a single product."""

import functools

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.ops.partitioning import is_split


def rows_product(
    x: Float[Array, "... D"], kernel: Float[Array, "D E"], dimensions, **options
) -> Float[Array, "... E"]:
    """`jax.lax.dot_general` of `nn.Dense` with all but the last dimension of `x` taken as one.

    The gradient at the kernel is then a product of two matrices. With several dimensions to sum
    over, XLA first writes both factors in another order.
    """
    if dimensions != (((x.ndim - 1,), (0,)), ((), ())):
        raise ValueError(f"rows_product multiplies rows by a matrix; asked for {dimensions}")
    rows = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **options
    )
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


# A linear layer of [B, N, D], for what is trained.
Dense = functools.partial(nn.Dense, dot_general=rows_product)


class FusedDense(nn.Module):
    """Linear layers without offset on one input, as one product.

    The kernel is kept as one matrix [D, parts * features]. Where a mesh splits the features, each
    part is split, and not the whole: one device would have all gates, and another all values.

    Attributes:
      parts: how many layers.
      features: outputs of each.
      axis: what these are: `heads` or `mlp`, see `models/axes.py`.
    """

    parts: int
    features: int
    axis: str
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... parts features"]:
        shape = (x.shape[-1], self.parts * self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape).astype(self.dtype)
        x = x.astype(self.dtype)
        if not is_split(self.axis):  # the faster gradient
            y = rows_product(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
            return einops.rearrange(y, "... (s f) -> ... s f", s=self.parts)
        kernel = einops.rearrange(kernel, "d (s f) -> d s f", s=self.parts)
        kernel = nn.with_logical_constraint(kernel, (None, None, self.axis))
        return jnp.einsum("...d,dsf->...sf", x, kernel)
