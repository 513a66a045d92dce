"""Adversarial losses of Stage I and the R1 penalty."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def adversarial_generator(fake_logits: Float[Array, "*batch"]) -> Float[Array, ""]:
    """Generator loss -E[D(Î)] (paper, Stage I)."""
    return -fake_logits.mean()


def adversarial_discriminator(
    real_logits: Float[Array, "*batch"], fake_logits: Float[Array, "*batch"]
) -> Float[Array, ""]:
    """Hinge loss E[max(0, 1 - D(I))] + E[max(0, 1 + D(Î))] (paper, Stage I)."""
    real = jnp.maximum(0.0, 1.0 - real_logits).mean()
    return real + jnp.maximum(0.0, 1.0 + fake_logits).mean()


def r1_penalty(
    discriminate: Callable[[Float[Array, "B H W 3"]], Float[Array, "B h w"]],
    image: Float[Array, "B H W 3"],
) -> Float[Array, ""]:
    """R1 (Mescheder et al. 2018): E |gradient of D at real images|²; D is the mean over patches."""
    at_image = jax.grad(lambda x: discriminate(x).mean((1, 2)).sum())(image)
    return jnp.square(at_image).sum((1, 2, 3)).mean()
