"""Gradients of Stage I's losses, with one forward pass of encoder and decoder over a batch.

    L = recon·L_recon + l2·L2 + gradient·L_grad + commit·L_commit + perceptual·L_perc
        + lpips·L_lpips + anatomical·L_anat + gan.weight·λ·L_adv

L_anat counts while its gate is open (`training/losses/gate.py`), L_adv after `gan.start_step`.
λ is VQGAN's adaptive weight (equation 7 there): the gradient norm of the losses between image and
reconstruction over that of L_adv, both at the decoder's last convolution.
"""

import dataclasses
from collections.abc import Mapping
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
# The losses between pixels and those between features, by the names of their weights in the config.
PIXEL_LOSSES = {"recon": reconstruction_l1, "l2": reconstruction_l2, "gradient": image_gradient}
FEATURE_LOSSES = {"perceptual": perceptual, "lpips": lpips, "anatomical": anatomical}


def pixel_losses(
    image: Float[Array, "B H W 3"],
    reconstruction: Float[Array, "B H W 3"],
    weights: Mapping[str, float],
) -> dict[str, Float[Array, ""]]:
    """Computes the losses between pixels whose weight is not 0, and L_recon, by their names.

    L_recon is always among them: the gate of the anatomical loss watches it.
    """
    return {
        name: loss(image, reconstruction)
        for name, loss in PIXEL_LOSSES.items()
        if weights[name] or name == "recon"
    }


def feature_losses(
    networks: dict[str, LossNetwork],
    frozen: PyTree,
    image: Float[Array, "B H W 3"],
    reconstruction: Float[Array, "B H W 3"],
) -> dict[str, Float[Array, ""]]:
    """Computes the losses between features of loss networks, by the networks' names."""
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
    """Computes the gradients of generator and discriminator.

    Args:
      task: a `tasks.vqgan.VQGANTask`, for its config and its networks.
      networks: the loss networks; `frozen` has their variables.
      state: the train state.
      frozen: the variables of `networks` by name.
      image: the batch.
      adversarial: True to include L_adv and the discriminator's loss.
      penalty: True to include R1 in the discriminator's loss.

    Returns:
      gradients shaped like `state.params`, of the discriminator only if `adversarial`;
      the vectors before quantisation and their tokens;
      metrics.
    """
    image = to_float(image)
    generator = GeneratorLoss(
        task, networks, state, all_gather_parameters(frozen), image, adversarial
    )
    of_generator, (value, parts, assigned, reconstruction) = jax.grad(generator, has_aux=True)(
        state.params["generator"]
    )
    grads = {"generator": of_generator}
    if adversarial:
        discriminator = DiscriminatorLoss(task, image, penalty)
        grads["discriminator"], discriminator_parts = jax.grad(discriminator, has_aux=True)(
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


def with_gradient(gradient: Float[Array, "*n"], x: Float[Array, "*n"]) -> Float[Array, ""]:
    """Returns the inner product of both, a scalar whose gradient at `x` is `gradient`.

    This scalar is not the value of the loss that the gradient belongs to; `GeneratorLoss` sums the
    values separately.
    """
    return jnp.vdot(gradient, x)


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratorLoss:
    """The loss of encoder and decoder, as a function of their parameters.

    Attributes:
      task, networks, state, frozen, adversarial: see `gradients`.
      image: the batch in [-1, 1].
    """

    task: Any
    networks: dict[str, LossNetwork]
    state: TrainState
    frozen: PyTree
    image: Float[Array, "B H W 3"]
    adversarial: bool

    def __call__(self, params: PyTree):
        """Computes a scalar with the gradient of the loss, and the value and parts of the loss."""
        c, vqgan = self.task.config, self.task.vqgan
        params = all_gather_parameters(params)
        z = vqgan.encoder.apply({"params": params["encoder"]}, self.image)
        quantized = quantizer.quantize_batch(
            self.state.variables["codebooks"], z, **vqgan.quantizing
        )
        z_q = quantizer.straight_through(z, quantized.vectors)
        weights = {"params": params["decoder"]}
        features = vqgan.decoder.apply(weights, z_q, method="features")
        reconstruction = vqgan.decoder.apply(weights, features, method="head")
        reconstruction += vqgan.decoder.apply(weights, z_q, method="linear_image")
        loss, parts = self._of_pixels(reconstruction)
        parts["commit"] = quantized.commitment(z)
        loss += c.loss.commit * parts["commit"]
        value, pulls = loss, []
        if self.networks:
            # The update and λ share the gradient at the image: one pass through each network.
            at_image, (total, feature_parts) = jax.grad(self._of_features, has_aux=True)(
                jax.lax.stop_gradient(reconstruction)
            )
            loss += with_gradient(at_image, reconstruction)
            value += total
            parts |= feature_parts
            pulls.append(at_image)
        if self.adversarial:
            l_adv, weight, pull = self._adversarial_pull(
                *jax.lax.stop_gradient((reconstruction, features, params, pulls))
            )
            loss += with_gradient(pull, reconstruction)
            value += weight * l_adv
            parts |= {"adversarial": l_adv, "adversarial_weight": weight}
        return loss, (value, parts, (z, quantized.ids), reconstruction)

    def _of_pixels(self, reconstruction):
        """Computes the weighted sum of the losses between pixels, and each of them."""
        weights = self.task.config.loss
        parts = pixel_losses(self.image, reconstruction, weights)
        return sum(weights[name] * value for name, value in parts.items()), parts

    def _of_features(self, reconstruction):
        """Computes the weighted sum of the losses between features, and each of them.

        A closed gate multiplies by 0 and saves no time: the gate opens early, and XLA's
        convolutions on a CPU are about ten times slower inside a conditional.
        """
        parts = feature_losses(self.networks, self.frozen, self.image, reconstruction)
        total = 0.0
        for name, value in parts.items():
            weight = self.task.config.loss[name]
            if name == "anatomical":
                weight *= self.state.variables["anatomical_gate"].open
            total += weight * value
        return total, (total, parts)

    def _adversarial_loss(self, reconstruction):
        params = all_gather_parameters(self.state.params["discriminator"])
        logits = self.task.discriminator.apply({"params": params}, reconstruction)
        return adversarial_generator(logits)

    def _adversarial_pull(self, reconstruction, features, params, pulls):
        """Computes L_adv, λ, and λ times the gradient of L_adv at the image in one pass."""
        value, at_image = jax.value_and_grad(self._adversarial_loss)(reconstruction)
        pixels_at_image = jax.grad(lambda r: self._of_pixels(r)[0])(reconstruction)
        pixels_at_image = sum(pulls, start=pixels_at_image)

        def head(conv_out):
            weights = {"params": {**params["decoder"], "conv_out": conv_out}}
            return self.task.vqgan.decoder.apply(weights, features, method="head")

        _, to_conv_out = jax.vjp(head, params["decoder"]["conv_out"])
        norm_pixels, norm_adversarial = (
            optax.tree.norm(to_conv_out(g)) for g in (pixels_at_image, at_image)
        )
        adaptive = jnp.clip(norm_pixels / (norm_adversarial + 1e-4), 0.0, 1e4)
        weight = self.task.config.gan.weight
        return value, weight * adaptive, weight * adaptive * at_image


@dataclasses.dataclass(frozen=True, eq=False)
class DiscriminatorLoss:
    """The hinge loss of the discriminator, with R1 if `penalty`.

    Attributes:
      task, penalty: see `gradients`.
      image: the batch in [-1, 1].
    """

    task: Any
    image: Float[Array, "B H W 3"]
    penalty: bool

    def __call__(self, params: PyTree, reconstruction: Float[Array, "B H W 3"]):
        """Computes the loss and its parts."""
        params = all_gather_parameters(params)

        def discriminate(pixels):
            return self.task.discriminator.apply({"params": params}, pixels)

        real, fake = discriminate(self.image), discriminate(reconstruction)
        loss = adversarial_discriminator(real, fake)
        parts = {
            "discriminator": loss,
            "logits_real": real.mean(),
            "logits_fake": fake.mean(),
        }
        if self.penalty:
            r1 = self.task.config.gan.r1
            parts["r1"] = r1_penalty(discriminate, self.image)
            # Lazy regularisation: one of `every` steps has R1, with `every` times its weight.
            loss += 0.5 * r1.weight * r1.every * parts["r1"]
        return loss, parts
