"""Pixels as integers and as floats, and the peak signal-to-noise ratio."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def to_float(image: UInt8[Array, "*batch H W 3"]) -> Float[Array, "*batch H W 3"]:
    """Converts uint8 pixels to float32 in [-1, 1]."""
    return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image: Float[Array, "*batch H W 3"]) -> UInt8[Array, "*batch H W 3"]:
    """Converts pixels in [-1, 1] to uint8, clipped and rounded."""
    return jnp.round((jnp.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def psnr(image: Float[Array, "B H W 3"], other: Float[Array, "B H W 3"]) -> Float[Array, " B"]:
    """Peak signal-to-noise ratio of each pair of images in dB: `10 log10(2**2 / mse)`.

    Args:
      image: images in [-1, 1], whose peak is thus 2.
      other: images to compare, clipped to [-1, 1] first.
    """
    mse = jnp.square(image - jnp.clip(other, -1.0, 1.0)).mean((1, 2, 3))
    return 10.0 * jnp.log10(4.0 / jnp.maximum(mse, 1e-10))
