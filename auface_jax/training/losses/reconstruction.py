"""Losses that compare a picture with its reconstruction (paper, Stage I)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def reconstruction_l1(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """L_recon = |I - Î| (paper, Stage I), averaged over pixels and channels."""
    return jnp.abs(image - reconstruction).mean()


def reconstruction_l2(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """Mean squared error, which PSNR measures. The paper does not have this loss (weight 0)."""
    return jnp.square(image - reconstruction).mean()


def image_gradient(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """L1 distance of image gradients, which keeps edges such as lids and lips sharp.

    Image gradients are differences of neighbouring pixels in both directions. The paper does not
    have this loss (weight 0).
    """
    error = image - reconstruction
    vertical = jnp.abs(error[:, 1:] - error[:, :-1]).mean()
    horizontal = jnp.abs(error[:, :, 1:] - error[:, :, :-1]).mean()
    return vertical + horizontal


def perceptual(
    features: Float[Array, "B *rest"], of_reconstruction: Float[Array, "B *rest"]
) -> Float[Array, ""]:
    """Perceptual loss |VGG16(I) - VGG16(Î)|² (paper, Stage I), averaged over the features.

    The features are the second 4096-wide ones, or those of a substitute: `losses/networks.py`.
    """
    return jnp.square(features - of_reconstruction).mean()


def anatomical(
    nodes: Float[Array, "B A D"], of_reconstruction: Float[Array, "B A D"]
) -> Float[Array, ""]:
    """Anatomical loss |MEF(I) - MEF(Î)|² (paper, Stage I), averaged over units and entries.

    MEF is ME-GraphAU without its classifier: `nodes` in the output of `models.me_graphau`.
    """
    return jnp.square(nodes - of_reconstruction).mean()


def lpips(
    features: Float[Array, "B F"], of_reconstruction: Float[Array, "B F"]
) -> Float[Array, ""]:
    """LPIPS (Zhang et al. 2018), an alternative to `perceptual` that the paper does not have.

    The features are scaled by the square roots of LPIPS' weights: `networks.load_lpips_loss`.
    """
    return jnp.square(features - of_reconstruction).sum(-1).mean()
