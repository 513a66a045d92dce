"""The probe: a small reader of the action units in a picture, given a reference face.

The probe is the evaluator of Stage II's pictures (`eval/au_f1_generated`). It is trained on real
pictures of the training people alone. The reference face of the same person lets it distinguish a
raised brow from a high one. It measures progress of a training run and is no recogniser for
photographs.
"""

import dataclasses
import functools

import jax
import numpy as np
import optax
from jaxtyping import Array

from auface_jax.facs import AU_NUMBERS
from auface_jax.images import pixels
from auface_jax.metrics.units import f1_scores, rank_correlations
from auface_jax.models.au_probe import AUProbe
from auface_jax.parallel.sharding import all_gather_parameters
from auface_jax.recognition.probe import build_probe, read
from auface_jax.training.losses import units
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks.base import Batch, Evaluation, PyTree, Task


@dataclasses.dataclass(frozen=True, eq=False)
class AUProbeTask(Task):
    """Trains the probe on real pictures of the training people."""

    @property
    def probe(self) -> AUProbe:
        """The network of the probe."""
        return build_probe(self.config.model)

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        image = pixels.to_float(batch["image"][:1])
        params = self.probe.init(rng, image, image)["params"]
        return self.initial_state(params)

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update by cross-entropy of units and squared error of intensities.

        The brightness of the image is jittered.
        """
        del frozen
        gain_key, offset_key = jax.random.split(rng)
        image, reference = (pixels.to_float(batch[name]) for name in ("image", "reference"))
        shape = (image.shape[0], 1, 1, 1)
        gain = jax.random.uniform(gain_key, shape, minval=0.85, maxval=1.15)
        offset = jax.random.uniform(offset_key, shape, minval=-0.1, maxval=0.1)
        image = image * gain + offset

        def loss_fn(params):
            variables = {"params": all_gather_parameters(params)}
            logits, intensities = self.probe.apply(variables, image, reference)
            error = units.intensity_error(intensities, batch["intensities"])
            occurrence = units.unit_cross_entropy(logits, batch["labels"])
            return occurrence + self.config.loss.intensity * error, error

        (loss, error), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        state = apply_gradients(state, gradients, self.optimizer, self.config.ema_decay)
        metrics = {"loss": loss, "intensity_error": error}
        return state, metrics | {"grad_norm": optax.tree.norm(gradients)}

    def export(self, state: TrainState) -> PyTree:
        """Returns the averaged parameters."""
        return {"params": state.ema_params}

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Computes F1 on held-out people for their pictures, and for references in their place."""
        del frozen
        test, weights = splits["test"], self.export(state)
        look = functools.partial(
            read,
            self.probe,
            weights,
            references=test["reference"],
            batch_size=self.config.batch_size,
        )
        (real, intensities), (fake, _) = look(test["image"]), look(test["reference"])
        scores = f1_scores(real, test["labels"])
        figures = {
            "au_f1_real": float(np.nanmean(scores)),
            "au_f1_reference": float(np.nanmean(f1_scores(fake, test["labels"]))),
        }
        if (test["intensities"] >= 0).any():
            ranks = rank_correlations(intensities, test["intensities"])
            figures["intensity_spearman_real"] = float(np.nanmean(ranks))
        figures |= {f"au_f1_real_AU{n}": float(s) for n, s in zip(AU_NUMBERS, scores, strict=True)}
        return Evaluation(figures, {})
