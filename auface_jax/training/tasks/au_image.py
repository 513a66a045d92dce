"""The image AU recogniser: trains both stages of ME-GraphAU, one after the other in one run.

In the first `stage1_steps` steps, the graph of each face joins the nearest unit vectors. Stage 2
starts from the backbone, the linear blocks and the cosine vectors of stage 1; its graph has edges
with features and a loss of their own. Each stage has its own learning rate schedule; Adam keeps its
moments.

Each run has a role: a recogniser with the role `loss` is a loss network, as of Stage I's anatomical
loss, and one with the role `score` is an evaluator. A generator must not be evaluated with the
recogniser that it was trained on. The two roles therefore differ in seed, backbone and half of the
training people (`configs/`), and `recognition.image_recognizer.load_recognizer` rejects a run with
the wrong role.
"""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array, Float, Int8

from auface_jax.data.loading import chosen_people
from auface_jax.facs import AU_NUMBERS
from auface_jax.images import pixels
from auface_jax.metrics.units import f1_scores
from auface_jax.models.me_graphau import AURecognizer
from auface_jax.parallel.sharding import all_gather_parameters
from auface_jax.recognition.image_recognizer import (
    THRESHOLD,
    build_recognizer,
    centre_crop,
    predict,
)
from auface_jax.recognition.roles import ROLES
from auface_jax.training.losses.units import edge_cross_entropy, unit_weights, weighted_asymmetric
from auface_jax.training.optimizers import learning_rate, optimizer
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks.base import Batch, Evaluation, PyTree, StepFn, Task

# The largest number of records whose labels the unit weights are computed from; more records
# hardly change the weights.
_WEIGHING_RECORDS = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class AUImageTask(Task):
    """Trains the two stages of ME-GraphAU, one after the other."""

    progress_metrics = ("loss", "f1")

    def __post_init__(self):
        if self.config.role not in ROLES:
            raise ValueError(f"role={self.config.role!r} is not one of {', '.join(ROLES)}")
        if not 0 <= self.config.stage1_steps <= self.num_steps:
            raise ValueError(
                f"stage1_steps={self.config.stage1_steps} is not between 0 (stage 2 alone) and "
                f"num_steps={self.num_steps} (stage 1 alone)"
            )

    @property
    def stages(self) -> tuple[int, ...]:
        """The stages of the run; the network of the last one is exported."""
        if self.config.stage1_steps in (0, self.num_steps):
            return (1,) if self.config.stage1_steps else (2,)
        return (1, 2)

    def recognizer(self, stage: int) -> AURecognizer:
        """Builds the network of a stage."""
        return build_recognizer(self.config.model, stage)

    @property
    def learning_rate(self) -> optax.Schedule:
        """The schedule of the run: warm-up and decay in each stage."""
        lengths = {1: self.config.stage1_steps, 2: self.num_steps - self.config.stage1_steps}
        schedules = []
        for stage in self.stages:
            rate = self.config.learning_rates[f"stage{stage}"]
            of_stage = ml_collections.ConfigDict({**self.config.optimizer, "learning_rate": rate})
            schedules.append(learning_rate(of_stage, lengths[stage]))
        return optax.join_schedules(schedules, [lengths[stage] for stage in self.stages[:-1]])

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optimizer(self.config.optimizer, self.num_steps, self.learning_rate)

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        image = centre_crop(pixels.to_float(batch["image"][:1]), self.config.model.crop)
        variables: dict[str, PyTree] = {"params": {}, "batch_stats": {}}
        for stage in self.stages:
            # With one key, modules that both stages have get the same initial values.
            of_stage = self.recognizer(stage).init({"params": rng}, image)
            variables = {name: variables[name] | of_stage[name] for name in variables}
        params = variables["params"]
        return self.initial_state(params, {"batch_stats": variables["batch_stats"]})

    def load_frozen(self) -> PyTree:
        """Computes the unit weights of the loss from the labels of the training people."""
        labels = chosen_people.training_labels(self.config, limit=_WEIGHING_RECORDS)
        return {"unit_weights": unit_weights(labels)}

    def step_fn(self, step: int) -> StepFn:
        """Returns the update of the stage that step `step` belongs to."""
        return self.step if step <= self.config.stage1_steps else self.stage2_step

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update of the network of stage 1."""
        return self._update(1, state, frozen, batch, rng)

    def stage2_step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update of the network of stage 2."""
        return self._update(2, state, frozen, batch, rng)

    def _update(
        self, stage: int, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        augment_key, drop_key = jax.random.split(rng)
        image = pixels.to_float(batch["image"])
        image = augment(augment_key, image, self.config.model.crop, self.config.augment)
        labels = batch["labels"]

        def loss_fn(params):
            found, updated = self.recognizer(stage).apply(
                {"params": all_gather_parameters(params), **state.variables},
                image,
                train=True,
                mutable=["batch_stats"],
                rngs={"drop_path": drop_key},
            )
            units = weighted_asymmetric(found.probabilities, labels, frozen["unit_weights"])
            edges = jnp.zeros(())
            if stage == 2:
                edges = edge_cross_entropy(found.edges, labels)
            f1 = batch_f1(found.probabilities, labels)
            metrics = {"units_loss": units, "edges_loss": edges, "f1": f1}
            return units + self.config.edge_weight * edges, (metrics, updated)

        (loss, (metrics, variables)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params
        )
        state = apply_gradients(
            state, gradients, self.optimizer, self.config.ema_decay, variables=variables
        )
        return state, {"loss": loss, **metrics, "grad_norm": optax.tree.norm(gradients)}

    def export(self, state: TrainState) -> PyTree:
        """Returns averaged parameters and batch statistics of the last stage's network."""
        variables = {"params": state.ema_params, **state.variables}
        size = self.config.model.crop
        wanted = jax.eval_shape(
            self.recognizer(self.stages[-1]).init,
            jax.random.key(0),
            jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32),
        )
        return {
            name: {module: variables[name][module] for module in wanted[name]} for name in wanted
        }

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Computes F1 of each unit on held-out people, and F1 of always answering "present"."""
        del frozen
        test = splits["test"]
        found = predict(
            self.recognizer(self.stages[-1]),
            self.export(state),
            test["image"],
            size=test["image"].shape[1],
            crop=self.config.model.crop,
            batch_size=self.config.batch_size,
        )
        scores = f1_scores((found >= THRESHOLD).astype(np.int8), test["labels"])
        always = f1_scores(np.ones_like(test["labels"]), test["labels"])
        figures = {"au_f1": float(np.nanmean(scores)), "au_f1_always": float(np.nanmean(always))}
        figures |= {f"au_f1_AU{n}": float(s) for n, s in zip(AU_NUMBERS, scores, strict=True)}
        notes = {"role": self.config.role, "test_people": str(len(set(test["subjects"])))}
        return Evaluation(figures, {}, notes)


def augment(
    rng: jax.Array, image: Float[Array, "B S S 3"], crop: int, config: ml_collections.ConfigDict
) -> Float[Array, "B crop crop 3"]:
    """Crops each image at random and changes its brightness, contrast and saturation.

    Args:
      rng: random key.
      image: images in [-1, 1].
      crop: side of the crop in pixels.
      config: `shift`, the number of pixels by which edges are repeated outwards before cropping,
        so that a crop of the full size moves too; `brightness`, `contrast` and `saturation`, the
        largest relative changes.

    Returns:
      the crops in [-1, 1].
    """
    place_key, colour_key = jax.random.split(rng)
    rows, size = image.shape[:2]
    reach = config.shift
    padded = jnp.pad(image, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    corners = jax.random.randint(place_key, (rows, 2), 0, size + 2 * reach - crop + 1)
    image = jax.vmap(
        lambda picture, corner: jax.lax.dynamic_slice(picture, (*corner, 0), (crop, crop, 3))
    )(padded, corners)
    reaches = jnp.array([config.brightness, config.contrast, config.saturation])
    factors = 1.0 + reaches * jax.random.uniform(colour_key, (rows, 3), minval=-1.0)
    brightness, contrast, saturation = factors.T[:, :, None, None, None]
    image = jnp.clip((image + 1.0) * brightness - 1.0, -1.0, 1.0)
    grey = _grey(image).mean((1, 2), keepdims=True)
    image = jnp.clip(grey + contrast * (image - grey), -1.0, 1.0)
    grey = _grey(image)
    return jnp.clip(grey + saturation * (image - grey), -1.0, 1.0)


def _grey(image: Float[Array, "B H W 3"]) -> Float[Array, "B H W 1"]:
    """Converts images to luma (ITU-R BT.601)."""
    return (image * jnp.array([0.299, 0.587, 0.114])).sum(-1, keepdims=True)


def batch_f1(probabilities: Float[Array, "B A"], labels: Int8[Array, "B A"]) -> Float[Array, ""]:
    """Computes F1 over all coded units of a batch together, to show progress."""
    predicted, present = probabilities >= THRESHOLD, labels == 1
    hits = (predicted & present).sum()
    errors = ((predicted != present) & (labels >= 0)).sum()
    return 2 * hits / jnp.maximum(2 * hits + errors, 1)
