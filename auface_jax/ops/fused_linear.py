"""Linear layers on sequences as plain matrix products, and several layers as a single product."""

import functools
from typing import Any

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from auface_jax.ops.partitioning import is_split


def matrix_product(
    x: Float[Array, "... D"], kernel: Float[Array, "D E"], dimensions: Any, **options: Any
) -> Float[Array, "... E"]:
    """Matrix product: x W, for `x` with any leading dimensions.

    A drop-in for `jax.lax.dot_general` in `nn.Dense`. The leading dimensions are flattened into
    one, so that the gradient at the kernel is a product of two matrices. With several dimensions to
    sum over, XLA first copies both factors into another memory order.

    Args:
      x: the left factor.
      kernel: W.
      dimensions: dimension numbers of `jax.lax.dot_general` that describe this very product.
      **options: further arguments of `jax.lax.dot_general`.

    Raises:
      ValueError: `dimensions` describe another product.
    """
    if dimensions != (((x.ndim - 1,), (0,)), ((), ())):
        raise ValueError(
            "matrix_product sums over the last dimension of x and the first of the kernel, "
            f"but it got the dimension numbers {dimensions}; use jax.lax.dot_general"
        )
    y = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **options)
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


# `nn.Dense` on sequences [B, N, D], for layers that are trained.
Dense = functools.partial(nn.Dense, dot_general=matrix_product)


class FusedDense(nn.Module):
    """Linear layers x W_1, x W_2, … of one input without bias, as a single product.

    The kernels are stored side by side as one matrix [D, parts * features]. Where a mesh splits
    the features, each layer's features are split rather than the whole matrix: otherwise one device
    would hold all gates, and another all values.

    Attributes:
      parts: number of layers.
      features: outputs of each layer.
      axis: logical name of the features, `heads` or `mlp` (`parallel/logical_axes.py`).
      dtype: of the computation.
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
            y = matrix_product(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
            return einops.rearrange(y, "... (s f) -> ... s f", s=self.parts)
        kernel = einops.rearrange(kernel, "d (s f) -> d s f", s=self.parts)
        kernel = nn.with_logical_constraint(kernel, (None, None, self.axis))
        return jnp.einsum("...d,dsf->...sf", x, kernel)
