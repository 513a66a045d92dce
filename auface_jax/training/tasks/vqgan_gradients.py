"""What Stage I's networks descend on, of one batch and one forward pass of encoder and decoder.

    L = recon·L_recon + l2·L2 + gradient·L_grad + commit·L_commit + perceptual·L_perc
        + lpips·L_lpips + anatomical·L_anat + gan.weight·λ·L_adv

L_anat counts once its gate has opened (`gate.py`), L_adv from `gan.start_step` on; λ is VQGAN's
adaptive weight (eq. 7 there): the gradient norm of the losses between image and reconstruction over
that of L_adv, both at the decoder's last convolution.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from auface_jax.images.pixels import psnr, to_float
from auface_jax.models import quantizer
from auface_jax.parallel.sharding import all_gather_parameters
from auface_jax.training.losses.adversarial import (
    adversarial_discriminator,
    adversarial_generator,
    r1_penalty,
)
from auface_jax.training.losses.networks import LossNetwork
from auface_jax.training.losses.reconstruction import (
    anatomical,
    image_gradient,
    lpips,
    perceptual,
    reconstruction_l1,
    reconstruction_l2,
)
from auface_jax.training.state import TrainState

PyTree = Any
# The losses that compare features, by the name of their weight in the config.
FEATURE_LOSSES = {"perceptual": perceptual, "lpips": lpips, "anatomical": anatomical}


def pixel_losses(
    image: Float[Array, "B H W 3"], reconstruction: Float[Array, "B H W 3"]
) -> dict[str, Float[Array, ""]]:
    """The losses that compare pixels, by their names in the config."""
    return {
        "recon": reconstruction_l1(image, reconstruction),
        "l2": reconstruction_l2(image, reconstruction),
        "gradient": image_gradient(image, reconstruction),
    }


def feature_losses(
    networks: dict[str, LossNetwork],
    frozen: PyTree,
    image: Float[Array, "B H W 3"],
    reconstruction: Float[Array, "B H W 3"],
) -> dict[str, Float[Array, ""]]:
    """The losses that compare features of frozen networks, by the networks' names."""
    parts = {}
    for name, network in networks.items():
        of_image, of_reconstruction = (
            network.features(frozen[name], pixels) for pixels in (image, reconstruction)
        )
        parts[name] = FEATURE_LOSSES[name](of_image, of_reconstruction)
    return parts


def gradients(
    task,
    networks: dict[str, LossNetwork],
    *,
    state: TrainState,
    frozen: PyTree,
    image: UInt8[Array, "B H W 3"],
    adversarial: bool,
    penalty: bool,
) -> tuple[
    PyTree,
    tuple[Float[Array, "B h w C"], Int[Array, "B h w Q"]],
    dict[str, Float[Array, ""]],
]:
    """Gradients of generator and discriminator.

    Args:
      task: a `tasks.vqgan.VQGANTask`: its config, its networks.
      networks: those of the losses between features; `frozen` has their variables.
      adversarial: with L_adv and the discriminator's loss.
      penalty: that loss includes R1.

    Returns:
      gradients like `state.params`, of the discriminator only where `adversarial`;
      the vectors before quantisation and their codes;
      metrics.
    """
    c, vqgan, discriminator = task.config, task.vqgan, task.discriminator
    frozen = all_gather_parameters(frozen)
    image = to_float(image)
    decode = vqgan.decoder.apply

    def of_pixels(reconstruction):
        parts = pixel_losses(image, reconstruction)
        return sum(c.loss[name] * value for name, value in parts.items()), parts

    def of_features(reconstruction):
        """Weighted sum, and each of them.

        A closed gate multiplies by 0 and spares nothing: it opens once, early, and XLA's
        convolutions on a CPU are about ten times slower inside a conditional.
        """
        parts = feature_losses(networks, frozen, image, reconstruction)
        total = 0.0
        for name, value in parts.items():
            weight = c.loss[name]
            if name == "anatomical":
                weight *= state.variables["anatomical_gate"].open
            total += weight * value
        return total, (total, parts)

    def adversarial_loss(reconstruction):
        params = all_gather_parameters(state.params["discriminator"])
        logits = discriminator.apply({"params": params}, reconstruction)
        return adversarial_generator(logits)

    def adversarial_pull(reconstruction, features, params, pulls):
        """L_adv, and λ times its gradient at the image: one pass through the discriminator."""
        value, at_image = jax.value_and_grad(adversarial_loss)(reconstruction)
        pixels_at_image = jax.grad(lambda r: of_pixels(r)[0])(reconstruction)
        pixels_at_image = sum(pulls, start=pixels_at_image)

        def head(conv_out):
            weights = {"params": {**params["decoder"], "conv_out": conv_out}}
            return decode(weights, features, method="head")

        _, to_conv_out = jax.vjp(head, params["decoder"]["conv_out"])
        norm_pixels, norm_adversarial = (
            optax.tree.norm(to_conv_out(g)) for g in (pixels_at_image, at_image)
        )
        adaptive = jnp.clip(norm_pixels / (norm_adversarial + 1e-4), 0.0, 1e4)
        return value, c.gan.weight * adaptive, c.gan.weight * adaptive * at_image

    def generator_loss(params):
        params = all_gather_parameters(params)
        z = vqgan.encoder.apply({"params": params["encoder"]}, image)
        codebooks = state.variables["codebooks"]
        quantized = quantizer.quantize_batch(codebooks, z, **vqgan.quantizing)
        z_q = quantizer.straight_through(z, quantized.vectors)
        weights = {"params": params["decoder"]}
        features = decode(weights, z_q, method="features")
        reconstruction = decode(weights, features, method="head")
        reconstruction += decode(weights, z_q, method="linear_image")
        loss, parts = of_pixels(reconstruction)
        parts["commit"] = quantized.commitment(z)
        loss += c.loss.commit * parts["commit"]
        value, pulls = loss, []
        if networks:
            # The gradient at the image serves the update and λ: one pass through each network.
            at_image, (total, feature_parts) = jax.grad(of_features, has_aux=True)(
                jax.lax.stop_gradient(reconstruction)
            )
            loss += jnp.vdot(at_image, reconstruction)
            value += total
            parts |= feature_parts
            pulls.append(at_image)
        if adversarial:
            l_adv, weight, pull = adversarial_pull(
                *jax.lax.stop_gradient((reconstruction, features, params, pulls))
            )
            # Its value is not L_adv, as above; its gradient is λ times L_adv's.
            loss += jnp.vdot(pull, reconstruction)
            value += weight * l_adv
            parts |= {"adversarial": l_adv, "adversarial_weight": weight}
        return loss, (value, parts, (z, quantized.ids), reconstruction)

    of_generator, (value, parts, assigned, reconstruction) = jax.grad(generator_loss, has_aux=True)(
        state.params["generator"]
    )
    grads = {"generator": of_generator}

    def discriminator_loss(params, reconstruction):
        params = all_gather_parameters(params)

        def discriminate(pixels):
            return discriminator.apply({"params": params}, pixels)

        real, fake = discriminate(image), discriminate(reconstruction)
        loss = adversarial_discriminator(real, fake)
        parts = {
            "discriminator": loss,
            "logits_real": real.mean(),
            "logits_fake": fake.mean(),
        }
        if penalty:
            parts["r1"] = r1_penalty(discriminate, image)
            # Lazily, in one step of several, and so many times as strong.
            loss += 0.5 * c.gan.r1.weight * c.gan.r1.every * parts["r1"]
        return loss, parts

    if adversarial:
        grads["discriminator"], discriminator_parts = jax.grad(discriminator_loss, has_aux=True)(
            state.params["discriminator"], jax.lax.stop_gradient(reconstruction)
        )
        parts |= discriminator_parts
    if "anatomical_gate" in state.variables:
        parts["anatomical_gate"] = state.variables["anatomical_gate"].open.astype(jnp.float32)
    metrics = {
        "loss": value,
        **{f"loss/{name}": part for name, part in parts.items()},
        "psnr": psnr(image, reconstruction).mean(),
    }
    return grads, assigned, metrics
