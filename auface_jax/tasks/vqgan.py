"""Stage I: trains the residual VQGAN (paper, Stage I; Esser et al. 2021 for the adversarial part).

    L = recon·L_recon + l2·L2 + gradient·L_grad + commit·L_commit
        + perceptual·L_perc + anatomical·L_anat + adversarial·λ·L_adv

L_anat counts once its gate has opened (`gate.py`), L_adv from `gan.start_step` on; λ is VQGAN's
adaptive weight (eq. 7 there): the gradient norm of the losses between image and reconstruction over
that of L_adv, both at the decoder's last convolution. Generator and discriminator are updated in
one step from one forward pass of encoder and decoder. A loss of weight 0 is not computed, and its
network not loaded.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array
from PIL import Image

from auface_jax import losses, pictures
from auface_jax.batching import map_batches
from auface_jax.gate import Gate
from auface_jax.loss_networks import OF_LOSS, LossNetwork, load_anatomical, load_perceptual
from auface_jax.models import quantizer
from auface_jax.models.discriminator import PatchDiscriminator
from auface_jax.models.vqgan import VQGAN, principal_components
from auface_jax.state import TrainState, optimizer, update_ema
from auface_jax.synthesis import level_previews
from auface_jax.tasks import Evaluation

Batch = dict[str, Array]
PyTree = Any


@dataclasses.dataclass(frozen=True)
class VQGANTask:
    """See `auface_jax.tasks` for the interface."""

    config: ml_collections.ConfigDict
    num_steps: int

    evaluation_splits = ("test",)
    progress_metrics = ("loss", "psnr")

    @property
    def vqgan(self) -> VQGAN:
        return VQGAN(**self.config.model)

    @property
    def discriminator(self) -> PatchDiscriminator:
        return PatchDiscriminator(**self.config.discriminator, dtype=jnp.dtype(self.vqgan.dtype))

    @property
    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        c = self.config
        # The discriminator's schedule counts its own updates, which begin at its start step.
        its_steps = max(1, self.num_steps - c.gan.start_step)
        return {
            "generator": optimizer(c.optimizer, self.num_steps),
            "discriminator": optimizer(c.discriminator_optimizer, its_steps),
        }

    @property
    def init_examples(self) -> int:
        """Records that `init` sees: the sample for principal components and k-means."""
        return self.config.init_examples

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Random weights, the linear path at the data's principal components, codebooks by
        k-means."""
        encoder_key, decoder_key, discriminator_key, kmeans_key = jax.random.split(rng, 4)
        vqgan = self.vqgan
        image = pictures.to_float(batch["image"])
        z_shape = (1, vqgan.grid, vqgan.grid, vqgan.latent)
        encoder = vqgan.encoder.init(encoder_key, image[:1])["params"]
        decoder = vqgan.decoder.init(decoder_key, jnp.zeros(z_shape))["params"]
        if vqgan.patch_skip:
            mean, basis = principal_components(
                image, factor=vqgan.encoder.downsampling, components=vqgan.latent
            )
            mean = {"mean": mean}
            encoder |= {"mean_patches": mean, "skip": {"kernel": basis}}
            decoder |= {"mean_patches": mean, "skip": {"kernel": basis.T}}
        z = vqgan.encoder.apply({"params": encoder}, image)
        codebooks = quantizer.init_kmeans(
            kmeans_key, z.reshape(-1, vqgan.latent), levels=vqgan.levels, codes=vqgan.codes
        )
        generator = {"encoder": encoder, "decoder": decoder}
        discriminator = self.discriminator.init(discriminator_key, image[:1])["params"]
        params = {"generator": generator, "discriminator": discriminator}
        variables = {"codebooks": codebooks}
        if self.config.loss.anatomical:
            variables["anatomical_gate"] = Gate.closed()
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state={name: self.optimizers[name].init(params[name]) for name in params},
            ema_params=generator,
            variables=variables,
        )

    @functools.cached_property
    def loss_networks(self) -> dict[str, LossNetwork]:
        """The networks of the losses whose weight is not 0, by the loss's name."""
        c, networks = self.config, {}
        if c.loss.perceptual:
            networks["perceptual"] = load_perceptual(c.perceptual.network)
        if c.loss.anatomical:
            networks["anatomical"] = load_anatomical(c.anatomical.run)
        return networks

    def load_frozen(self) -> PyTree:
        """The variables of `loss_networks`."""
        return {name: network.variables for name, network in self.loss_networks.items()}

    def built_on(self) -> dict[str, str]:
        """Fingerprints of `loss_networks`."""
        return {f"{name}{OF_LOSS}": n.fingerprint for name, n in self.loss_networks.items()}

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update of encoder, decoder, codebooks and, once it has started, discriminator."""
        c, vqgan = self.config, self.vqgan
        image = pictures.to_float(batch["image"])
        codebooks = state.variables["codebooks"]
        adversarial_on = (state.step >= c.gan.start_step) & (c.gan.weight > 0)
        decode = vqgan.decoder.apply

        def pixel_losses(reconstruction):
            parts = {
                "recon": losses.reconstruction_l1(image, reconstruction),
                "l2": losses.reconstruction_l2(image, reconstruction),
                "gradient": losses.image_gradient(image, reconstruction),
            }
            return sum(c.loss[name] * value for name, value in parts.items()), parts

        def feature_losses(reconstruction):
            """Weighted sum of the losses between features, and each of them.

            A closed gate multiplies by 0 and spares nothing: XLA's convolutions on a CPU are about
            ten times slower inside a conditional.
            """
            parts, total = {}, 0.0
            for name, network in self.loss_networks.items():
                of_image, of_reconstruction = (
                    network.features(frozen[name], pixels) for pixels in (image, reconstruction)
                )
                parts[name] = getattr(losses, name)(of_image, of_reconstruction)
                weight = c.loss[name]
                if name == "anatomical":
                    weight *= state.variables["anatomical_gate"].open
                total += weight * parts[name]
            return total, (total, parts)

        def adversarial_loss(reconstruction):
            logits = self.discriminator.apply(
                {"params": state.params["discriminator"]}, reconstruction
            )
            return losses.adversarial_generator(logits)

        def adversarial_pull(reconstruction, features, params, pulls):
            """L_adv, and λ times its gradient at the image: one pass through the discriminator."""
            value, at_image = jax.value_and_grad(adversarial_loss)(reconstruction)
            pixels_at_image = jax.grad(lambda r: pixel_losses(r)[0])(reconstruction)
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

        def no_pull(reconstruction, features, params, pulls):
            return jnp.zeros(()), jnp.zeros(()), jnp.zeros_like(reconstruction)

        def generator_loss(params):
            z = vqgan.encoder.apply({"params": params["encoder"]}, image)
            ids, partial_sums = quantizer.quantize(codebooks, z)
            z_q = quantizer.straight_through(z, partial_sums[-1])
            weights = {"params": params["decoder"]}
            features = decode(weights, z_q, method="features")
            reconstruction = decode(weights, features, method="head")
            reconstruction += decode(weights, z_q, method="linear_image")
            loss, parts = pixel_losses(reconstruction)
            parts["commit"] = losses.commitment(z, partial_sums)
            loss += c.loss.commit * parts["commit"]
            of_features, pulls = 0.0, []
            if self.loss_networks:
                # The gradient at the image serves the update and λ: one pass through each network.
                at_image, (of_features, feature_parts) = jax.grad(feature_losses, has_aux=True)(
                    jax.lax.stop_gradient(reconstruction)
                )
                loss += jnp.vdot(at_image, reconstruction)
                parts |= feature_parts
                pulls.append(at_image)
            adversarial, weight, pull = jax.lax.cond(
                adversarial_on,
                adversarial_pull,
                no_pull,
                *jax.lax.stop_gradient((reconstruction, features, params, pulls)),
            )
            # Its value is not L_adv, as above; its gradient is λ times L_adv's.
            loss += jnp.vdot(pull, reconstruction)
            parts |= {"adversarial": adversarial, "adversarial_weight": weight}
            return loss, (parts, of_features, z, ids, reconstruction)

        gradients, (parts, of_features, z, ids, reconstruction) = jax.grad(
            generator_loss, has_aux=True
        )(state.params["generator"])
        updates, generator_opt = self.optimizers["generator"].update(
            gradients, state.opt_state["generator"], state.params["generator"]
        )
        generator = optax.apply_updates(state.params["generator"], updates)
        reconstruction = jax.lax.stop_gradient(reconstruction)

        def discriminator_loss(params):
            real = self.discriminator.apply({"params": params}, image)
            fake = self.discriminator.apply({"params": params}, reconstruction)
            loss = losses.adversarial_discriminator(real, fake)
            return loss, {
                "discriminator": loss,
                "logits_real": real.mean(),
                "logits_fake": fake.mean(),
            }

        def update_discriminator(params, opt_state):
            grads, parts = jax.grad(discriminator_loss, has_aux=True)(params)
            updates, opt_state = self.optimizers["discriminator"].update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, parts

        def keep_discriminator(params, opt_state):
            zero = jnp.zeros(())
            return (
                params,
                opt_state,
                {"discriminator": zero, "logits_real": zero, "logits_fake": zero},
            )

        discriminator, discriminator_opt, discriminator_parts = jax.lax.cond(
            adversarial_on,
            update_discriminator,
            keep_discriminator,
            state.params["discriminator"],
            state.opt_state["discriminator"],
        )
        new_codebooks = quantizer.update(
            codebooks, z, ids, rng, decay=c.codebook.decay, restart_below=c.codebook.restart_below
        )
        weighted = sum(c.loss[name] * parts[name] for name in ("recon", "l2", "gradient", "commit"))
        variables = {"codebooks": new_codebooks}
        if "anatomical_gate" in state.variables:
            gate = state.variables["anatomical_gate"]
            parts["anatomical_gate"] = gate.open.astype(jnp.float32)
            opening = {name: c.anatomical[name] for name in ("threshold", "start_step", "decay")}
            variables["anatomical_gate"] = gate.update(parts["recon"], state.step, **opening)
        if self.loss_networks:
            weighted += of_features
        metrics = {
            "loss": weighted + parts["adversarial_weight"] * parts["adversarial"],
            **{f"loss/{name}": value for name, value in (parts | discriminator_parts).items()},
            "grad_norm": optax.tree.norm(gradients),
            "psnr": pictures.psnr(image, reconstruction).mean(),
        }
        state = state.replace(
            step=state.step + 1,
            params={"generator": generator, "discriminator": discriminator},
            opt_state={"generator": generator_opt, "discriminator": discriminator_opt},
            ema_params=update_ema(state.ema_params, generator, c.ema_decay, state.step),
            variables=variables,
        )
        return state, metrics

    def export(self, state: TrainState) -> PyTree:
        """The `weights` of `models.vqgan.VQGAN`: averaged parameters and codebooks."""
        return {"params": state.ema_params, "codebooks": state.variables["codebooks"]}

    def sample(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> dict:
        """Reconstructions of a few held-out people, by level."""
        test = splits["test"]["image"]
        image = test[np.linspace(0, len(test) - 1, 8).astype(int)]
        return {"reconstructions": self._level_sheet(self.export(state), image)}

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Reconstruction of held-out people: PSNR, codebook usage and perplexity, a sheet."""
        vqgan, weights, image = self.vqgan, self.export(state), splits["test"]["image"]

        @jax.jit
        def reconstruct(weights, image):
            image = pictures.to_float(image)
            codes = vqgan.encode(weights, image)
            reconstruction = vqgan.decode(weights, codes)
            return {
                "codes": codes,
                "psnr": pictures.psnr(image, reconstruction),
                "l1": jnp.abs(image - reconstruction).mean((1, 2, 3)),
            }

        out = map_batches(reconstruct, weights, image, batch_size=self.config.batch_size)
        usage, perplexity = quantizer.usage_and_perplexity(jnp.asarray(out["codes"]), vqgan.codes)
        figures = {
            "psnr": float(out["psnr"].mean()),
            "l1": float(out["l1"].mean()),
            "bits_per_image": vqgan.bits_per_image,
            "images": float(len(out["psnr"])),
        }
        for level in range(vqgan.levels):
            figures[f"usage_level{level}"] = float(usage[level])
            figures[f"perplexity_level{level}"] = float(perplexity[level])
        notes = {f"{name}{OF_LOSS}": network.name for name, network in self.loss_networks.items()}
        return Evaluation(figures, self.sample(state, frozen, splits), notes)

    def _level_sheet(self, weights: PyTree, image: np.ndarray) -> Image.Image:
        vqgan = self.vqgan
        columns = np.asarray(level_previews(vqgan, weights, image)).swapaxes(0, 1)
        quality = pictures.psnr(pictures.to_float(image), pictures.to_float(columns[-1]))
        return pictures.sheet(
            [image, *columns],
            ["real", *(f"{q} level{'s' if q > 1 else ''}" for q in range(1, vqgan.levels + 1))],
            [f"{value:.1f} dB" for value in quality],
            scale=max(1, 128 // vqgan.image_size),
        )
