"""A small action-unit classifier: reads which units a picture shows, given the person's reference
face.

It judges the pictures that Stage II makes (`eval/au_f1_generated`) and is trained on real pictures
of the training people alone. With the reference at hand it can tell a raised brow from a high one.
It is a yardstick of a training run, not a recogniser for photographs.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array

from auface_jax.facs import AU_NUMBERS
from auface_jax.images import pixels
from auface_jax.metrics.units import f1_scores
from auface_jax.models.au_probe import AUProbe
from auface_jax.parallel.map_batches import map_batches
from auface_jax.parallel.sharding import gathered
from auface_jax.training.losses import units
from auface_jax.training.optimizers import optimizer
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks.base import Evaluation

Batch = dict[str, Array]
PyTree = Any


@dataclasses.dataclass(frozen=True)
class AUProbeTask:
    """See `auface_jax.training.tasks` for the interface."""

    config: ml_collections.ConfigDict
    num_steps: int

    evaluation_splits = ("test",)
    progress_metrics = ("loss",)

    @property
    def probe(self) -> AUProbe:
        c = self.config.model
        return AUProbe(patch=c.patch, channels=tuple(c.channels), dtype=jnp.dtype(c.dtype))

    @property
    def init_examples(self) -> int:
        return 1

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        image = pixels.to_float(batch["image"][:1])
        params = self.probe.init(rng, image, image)["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer(self.config.optimizer, self.num_steps).init(params),
            ema_params=params,
            variables={},
        )

    def load_frozen(self) -> PyTree:
        """Nothing: the probe reads no other network."""
        return {}

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update by binary cross-entropy on the coded units, brightness and shift jittered."""
        del frozen
        gain_key, offset_key = jax.random.split(rng)
        image, reference = (pixels.to_float(batch[name]) for name in ("image", "reference"))
        shape = (image.shape[0], 1, 1, 1)
        gain = jax.random.uniform(gain_key, shape, minval=0.85, maxval=1.15)
        offset = jax.random.uniform(offset_key, shape, minval=-0.1, maxval=0.1)
        image = image * gain + offset

        def loss_fn(params):
            logits = self.probe.apply({"params": gathered(params)}, image, reference)
            return units.unit_cross_entropy(logits, batch["labels"])

        loss, gradients = jax.value_and_grad(loss_fn)(state.params)
        tx = optimizer(self.config.optimizer, self.num_steps)
        state = apply_gradients(state, gradients, tx, self.config.ema_decay)
        return state, {"loss": loss, "grad_norm": optax.tree.norm(gradients)}

    def export(self, state: TrainState) -> PyTree:
        """The averaged parameters."""
        return {"params": state.ema_params}

    def sample(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> dict:
        """No pictures: the probe makes none."""
        return {}

    def predict(self, weights: PyTree, image: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """uint8 images and references [M, H, W, 3] -> int8 occurrence [M, 12]."""

        @jax.jit
        def occurrence(weights, image, reference):
            image, reference = pixels.to_float(image), pixels.to_float(reference)
            return (self.probe.apply(weights, image, reference) > 0).astype(jnp.int8)

        return map_batches(occurrence, weights, image, reference, batch_size=self.config.batch_size)

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """F1 on held-out people: of their pictures, and of the reference passed off as one."""
        del frozen
        test, weights = splits["test"], self.export(state)
        scores = f1_scores(self.predict(weights, test["image"], test["reference"]), test["labels"])
        fake = f1_scores(
            self.predict(weights, test["reference"], test["reference"]), test["labels"]
        )
        figures = {
            "au_f1_real": float(np.nanmean(scores)),
            "au_f1_reference": float(np.nanmean(fake)),
        }
        figures |= {f"au_f1_real_AU{n}": float(s) for n, s in zip(AU_NUMBERS, scores, strict=True)}
        return Evaluation(figures, {})
