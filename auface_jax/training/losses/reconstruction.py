"""Losses that compare a picture with its reconstruction (paper, Stage I)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def reconstruction_l1(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """L_recon = |I - Î| (paper, Stage I), the mean over pixels and channels."""
    return jnp.abs(image - reconstruction).mean()


def reconstruction_l2(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """Mean squared error; what PSNR measures. Not in the paper; weight 0 there."""
    return jnp.square(image - reconstruction).mean()


def image_gradient(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> Float[Array, ""]:
    """L1 distance of horizontal and vertical differences: keeps edges such as lids and lips sharp.

    Not in the paper; weight 0 there.
    """
    error = image - reconstruction
    vertical = jnp.abs(error[:, 1:] - error[:, :-1]).mean()
    horizontal = jnp.abs(error[:, :, 1:] - error[:, :, :-1]).mean()
    return vertical + horizontal


def perceptual(
    features: Float[Array, "B *rest"], of_reconstruction: Float[Array, "B *rest"]
) -> Float[Array, ""]:
    """|VGG16(I) - VGG16(Î)|² (paper, Stage I), the mean over the features and not their sum.

    Features are the second 4096-wide ones, or those of a substitute: `loss_networks.py`.
    """
    return jnp.square(features - of_reconstruction).mean()


def anatomical(
    nodes: Float[Array, "B A D"], of_reconstruction: Float[Array, "B A D"]
) -> Float[Array, ""]:
    """|MEF(I) - MEF(Î)|² (paper, Stage I), the mean over units and their entries.

    MEF is ME-GraphAU without its classifier: `models.au_recognizer.Recognition.nodes`.
    """
    return jnp.square(nodes - of_reconstruction).mean()


def lpips(
    features: Float[Array, "B F"], of_reconstruction: Float[Array, "B F"]
) -> Float[Array, ""]:
    """LPIPS (Zhang et al. 2018), an alternative to `perceptual` that the paper does not have.

    Features are scaled by the square roots of LPIPS' weights: `loss_networks.load_lpips_loss`.
    """
    return jnp.square(features - of_reconstruction).sum(-1).mean()
