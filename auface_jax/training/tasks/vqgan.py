"""Stage I: trains the residual VQGAN (paper, Stage I; Esser et al. 2021 for the adversarial part).

The losses and their gradients are in `vqgan_gradients.py`. The networks of losses with weight 0 are
neither loaded nor run.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array
from PIL import Image

from auface_jax.generation.stage1 import level_previews
from auface_jax.images import pixels
from auface_jax.images.sheets import sheet
from auface_jax.models import codebook_learning
from auface_jax.models.discriminator import PatchDiscriminator
from auface_jax.models.vqgan import VQGAN, principal_components
from auface_jax.parallel.map_batches import map_batches
from auface_jax.recognition.roles import LOSS_NETWORK_SUFFIX
from auface_jax.training.losses.gate import Gate
from auface_jax.training.losses.networks import (
    LossNetwork,
    load_anatomical,
    load_lpips_loss,
    load_perceptual,
)
from auface_jax.training.optimizers import optimizer
from auface_jax.training.state import TrainState, update_ema
from auface_jax.training.tasks import vqgan_plots
from auface_jax.training.tasks.base import Batch, Evaluation, PyTree, StepFn, Task
from auface_jax.training.tasks.vqgan_gradients import gradients


@dataclasses.dataclass(frozen=True, eq=False)
class VQGANTask(Task):
    """Trains the residual VQGAN.

    Attributes:
      loss_networks: the loss networks of the losses whose weight is not 0, by the loss's name.
    """

    loss_networks: dict[str, LossNetwork] = dataclasses.field(default_factory=dict)

    progress_metrics = ("loss", "psnr")

    @classmethod
    def from_config(cls, config: ml_collections.ConfigDict, num_steps: int) -> "VQGANTask":
        """Loads the loss networks of the losses whose weight is not 0."""
        networks = {}
        if config.loss.perceptual:
            networks["perceptual"] = load_perceptual(config.perceptual.network)
        if config.loss.lpips:
            networks["lpips"] = load_lpips_loss(config.lpips.backbone, config.lpips.heads)
        if config.loss.anatomical:
            networks["anatomical"] = load_anatomical(config.anatomical.run)
        return cls(config, num_steps, networks)

    def __post_init__(self):
        parts, batch_size = self.config.num_microbatches, self.config.batch_size
        if parts < 1 or batch_size % parts:
            raise ValueError(
                f"num_microbatches={parts} does not divide batch_size={batch_size}; a batch is "
                "split into equal parts"
            )

    @property
    def vqgan(self) -> VQGAN:
        return VQGAN(**self.config.model)

    @property
    def discriminator(self) -> PatchDiscriminator:
        return PatchDiscriminator(**self.config.discriminator, dtype=jnp.dtype(self.vqgan.dtype))

    @property
    def optimizers(self) -> dict[str, optax.GradientTransformation]:
        c = self.config
        # The discriminator's schedule counts its own updates, which begin after `gan.start_step`.
        its_steps = max(1, self.num_steps - c.gan.start_step)
        return {
            "generator": optimizer(c.optimizer, self.num_steps),
            "discriminator": optimizer(c.discriminator_optimizer, its_steps),
        }

    @property
    def init_examples(self) -> int:
        """Number of training examples for principal components and k-means."""
        return self.config.init_examples

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Draws random weights, and fits the linear path and the codebooks to the examples.

        The linear path starts at the principal components of the examples, and the codebooks at the
        centres of k-means.
        """
        encoder_key, decoder_key, discriminator_key, kmeans_key = jax.random.split(rng, 4)
        vqgan = self.vqgan
        image = pixels.to_float(batch["image"])
        z_shape = (1, vqgan.grid, vqgan.grid, vqgan.latent_dim)
        encoder = vqgan.encoder.init(encoder_key, image[:1])["params"]
        decoder = vqgan.decoder.init(decoder_key, jnp.zeros(z_shape))["params"]
        if vqgan.patch_skip:
            mean, basis = principal_components(
                image, factor=vqgan.encoder.downsampling, components=vqgan.latent_dim
            )
            mean = {"mean": mean}
            encoder |= {"mean_patches": mean, "skip": {"kernel": basis}}
            decoder |= {"mean_patches": mean, "skip": {"kernel": basis.T}}
        z = self._in_parts(lambda rows: vqgan.encoder.apply({"params": encoder}, rows), image)
        codebooks = codebook_learning.init_kmeans(
            kmeans_key,
            z,
            codebook_size=vqgan.codebook_size,
            shared=vqgan.shared_codebook,
            **vqgan.quantizing,
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

    @property
    def microbatch_size(self) -> int:
        """Number of images in a microbatch, which pass the networks together."""
        return self.config.batch_size // self.config.num_microbatches

    def _in_parts(self, function: Callable[[Array], Array], image: Array) -> Array:
        """Applies `function` to all images, to at most one microbatch at a time."""
        if self.config.num_microbatches == 1:
            return function(image)
        return jax.lax.map(
            lambda row: function(row[None])[0], image, batch_size=self.microbatch_size
        )

    def load_frozen(self) -> PyTree:
        """Returns the variables of `loss_networks`."""
        return {name: network.variables for name, network in self.loss_networks.items()}

    def fingerprints(self) -> dict[str, str]:
        """Returns the fingerprints of `loss_networks`."""
        return {
            f"{name}{LOSS_NETWORK_SUFFIX}": n.fingerprint for name, n in self.loss_networks.items()
        }

    def step_fn(self, step: int) -> StepFn:
        """Returns the update without the discriminator, with it, or with R1 as well."""
        gan = self.config.gan
        if gan.weight and step <= gan.start_step:
            return self.step_before_adversary
        if gan.weight and gan.r1.weight and step % gan.r1.every == 0:
            return self.step_with_penalty
        return self.step

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update of encoder, decoder, codebooks and, if used, discriminator."""
        adversarial = self.config.gan.weight > 0
        return self._update(state, frozen, batch, rng, adversarial=adversarial)

    def step_before_adversary(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update without the discriminator."""
        return self._update(state, frozen, batch, rng, adversarial=False)

    def step_with_penalty(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update with R1 in the discriminator's loss."""
        return self._update(state, frozen, batch, rng, adversarial=True, penalty=True)

    def _update(
        self,
        state: TrainState,
        frozen: PyTree,
        batch: Batch,
        rng: jax.Array,
        *,
        adversarial: bool,
        penalty: bool = False,
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update.

        With `config.num_microbatches` > 1 the gradient is the mean over microbatches, which are
        computed one after the other. Codebooks are updated once with the whole batch.
        """
        c = self.config
        parts = c.num_microbatches
        gradients_of = functools.partial(
            gradients,
            self,
            self.loss_networks,
            state=state,
            frozen=frozen,
            adversarial=adversarial,
            penalty=penalty,
        )
        if parts == 1:
            grads, (z, ids), metrics = gradients_of(image=batch["image"])
        else:

            def of_part(total, image):
                grads, assigned, metrics = gradients_of(image=image)
                total = jax.tree.map(lambda t, g: t + g / parts, total, grads)
                return total, (assigned, metrics)

            names = ("generator", *(["discriminator"] if adversarial else []))
            zeros = jax.tree.map(jnp.zeros_like, {name: state.params[name] for name in names})
            # Microbatches take strided examples, so that each has examples from every device.
            dealt = batch["image"].reshape(-1, parts, *batch["image"].shape[1:]).swapaxes(0, 1)
            grads, (assigned, metrics) = jax.lax.scan(of_part, zeros, dealt)
            z, ids = (x.swapaxes(0, 1).reshape(-1, *x.shape[2:]) for x in assigned)
            metrics = jax.tree.map(lambda x: x.mean(0), metrics)

        params, opt_state = dict(state.params), dict(state.opt_state)

        for name in grads:
            updates, opt_state[name] = self.optimizers[name].update(
                grads[name], state.opt_state[name], state.params[name]
            )
            params[name] = optax.apply_updates(state.params[name], updates)
        variables = {
            "codebooks": codebook_learning.update(
                state.variables["codebooks"],
                z,
                ids,
                rng,
                decay=c.codebook.decay,
                dead_code_threshold=c.codebook.dead_code_threshold,
                scales=self.vqgan.scales,
            )
        }
        if "anatomical_gate" in state.variables:
            opening = {name: c.anatomical[name] for name in ("threshold", "start_step", "decay")}
            variables["anatomical_gate"] = state.variables["anatomical_gate"].update(
                metrics["loss/recon"], state.step, **opening
            )
        metrics["grad_norm"] = optax.tree.norm(grads["generator"])
        if "discriminator" in grads:
            metrics["grad_norm_discriminator"] = optax.tree.norm(grads["discriminator"])
        state = state.replace(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            ema_params=update_ema(state.ema_params, params["generator"], c.ema_decay, state.step),
            variables=variables,
        )
        return state, metrics

    def export(self, state: TrainState) -> PyTree:
        """Returns the weights of `models.vqgan.VQGAN`: averaged parameters and codebooks."""
        return {"params": state.ema_params, "codebooks": state.variables["codebooks"]}

    def sample(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> dict:
        """Makes a sheet of reconstructions of a few held-out people, by quantizer level."""
        test = splits["test"]["image"]
        image = test[np.linspace(0, len(test) - 1, 8).astype(int)]
        return {"reconstructions": self._level_sheet(self.export(state), image)}

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Computes PSNR and codebook usage on held-out people, and makes sheets."""
        vqgan, weights, image = self.vqgan, self.export(state), splits["test"]["image"]

        @jax.jit
        def reconstruct(weights, image):
            image = pixels.to_float(image)
            codes = vqgan.encode(weights, image)
            reconstruction = vqgan.decode(weights, codes)
            return {
                "codes": codes,
                "psnr": pixels.psnr(image, reconstruction),
                "l1": jnp.abs(image - reconstruction).mean((1, 2, 3)),
            }

        out = map_batches(reconstruct, weights, image, batch_size=self.microbatch_size)
        usage, perplexity = codebook_learning.usage_and_perplexity(
            jnp.asarray(out["codes"]), vqgan.codebook_size
        )
        figures = {
            "psnr": float(out["psnr"].mean()),
            "l1": float(out["l1"].mean()),
            "bits_per_image": vqgan.bits_per_image,
            "images": float(len(out["psnr"])),
        }
        for level in range(vqgan.num_quantizers):
            figures[f"usage_level{level}"] = float(usage[level])
            figures[f"perplexity_level{level}"] = float(perplexity[level])
        notes = {
            f"{name}{LOSS_NETWORK_SUFFIX}": network.name
            for name, network in self.loss_networks.items()
        }
        sheets = self.sample(state, frozen, splits) | self._plots(weights, image, out["codes"])
        return Evaluation(figures, sheets, notes)

    def _plots(
        self, weights: PyTree, image: np.ndarray, codes: np.ndarray
    ) -> dict[str, Image.Image]:
        vqgan = self.vqgan
        previews = functools.partial(level_previews, vqgan)
        levels = map_batches(previews, weights, image, batch_size=self.microbatch_size)
        real = pixels.to_float(image)
        psnr = [pixels.psnr(real, pixels.to_float(one)) for one in levels.swapaxes(0, 1)]
        usage, perplexity = codebook_learning.usage_and_perplexity(
            jnp.asarray(codes), vqgan.codebook_size
        )
        return {
            "codebooks": vqgan_plots.codebook_usage(codes, vqgan.codebook_size, usage, perplexity),
            "levels": vqgan_plots.psnr_by_level(np.stack(psnr, -1), vqgan.bits_by_level),
            "errors": vqgan_plots.error_map(image, levels[:, -1]),
        }

    def _level_sheet(self, weights: PyTree, image: np.ndarray) -> Image.Image:
        vqgan = self.vqgan
        columns = np.asarray(level_previews(vqgan, weights, image)).swapaxes(0, 1)
        quality = pixels.psnr(pixels.to_float(image), pixels.to_float(columns[-1]))
        return sheet(
            [image, *columns],
            [
                "real",
                *(f"{q} level{'s' if q > 1 else ''}" for q in range(1, vqgan.num_quantizers + 1)),
            ],
            [f"{value:.1f} dB" for value in quality],
            scale=max(1, 128 // vqgan.image_size),
        )
