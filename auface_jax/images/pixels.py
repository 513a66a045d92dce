"""Pixels as integers and as floats, and how far two pictures are apart."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def to_float(image: UInt8[Array, "*batch H W 3"]) -> Float[Array, "*batch H W 3"]:
    """uint8 -> float32 in [-1, 1]."""
    return image.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(image: Float[Array, "*batch H W 3"]) -> UInt8[Array, "*batch H W 3"]:
    """float, nominally in [-1, 1] -> uint8, clipped and rounded."""
    return jnp.round((jnp.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def psnr(image: Float[Array, "B H W 3"], other: Float[Array, "B H W 3"]) -> Float[Array, " B"]:
    """Peak signal-to-noise ratio of each pair in dB; images in [-1, 1], so the peak is 2."""
    mse = jnp.square(image - jnp.clip(other, -1.0, 1.0)).mean((1, 2, 3))
    return 10.0 * jnp.log10(4.0 / jnp.maximum(mse, 1e-10))
