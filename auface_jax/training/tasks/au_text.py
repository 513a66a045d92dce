"""The text AU recogniser: trains `models.au_text_recognizer` on descriptions of label rows.

Binary cross-entropy on five random descriptions of every label row in the data (paper, AAAD), most
of them paraphrased anew each time: it is to read anatomy, not to know our sentences. It is judged
on rows of people never trained on, and on `facs.other_words`, which neither training nor thresholds
see.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from auface_jax.data.loading import texts
from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.facs import AU_NUMBERS, load_dictionary
from auface_jax.facs.other_words import STYLES, load_other_words
from auface_jax.metrics.units import best_thresholds, f1_scores
from auface_jax.models.au_text_recognizer import AUTextHead, AUTextRecognizer
from auface_jax.models.t5 import T5Encoder
from auface_jax.parallel.map_batches import map_batches
from auface_jax.parallel.sharding import gathered
from auface_jax.pretrained import convert
from auface_jax.training.losses import units
from auface_jax.training.optimizers import optimizer
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks.base import Evaluation

Batch = dict[str, Array]
PyTree = Any


@dataclasses.dataclass(frozen=True)
class AUTextTask:
    """See `auface_jax.training.tasks` for the interface."""

    config: ml_collections.ConfigDict
    num_steps: int

    evaluation_splits = ("test",)
    progress_metrics = ("loss", "f1")

    @functools.cached_property
    def text_tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.config.data.tokenizer)

    @property
    def recognizer(self) -> AUTextRecognizer:
        c = self.config.model
        fields = c.text_encoder.to_dict()
        if "vocab_size" not in fields:  # else a published encoder's
            fields["vocab_size"] = self.text_tokenizer.vocab_size
        dtype = jnp.dtype(c.dtype)
        return AUTextRecognizer(
            encoder=T5Encoder(**fields, dtype=dtype), head=AUTextHead(width=c.width, dtype=dtype)
        )

    @property
    def init_examples(self) -> int:
        return 1

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optimizer(self.config.optimizer, self.num_steps)

    def load_frozen(self) -> PyTree:
        """The published encoder's weights, where the config names some; else nothing.

        Raises:
          ConversionError: they are not converted yet, or of another network or size.
        """
        folder = self.config.model.text_weights
        if not folder:
            return {}
        fields = self.config.model.text_encoder.to_dict()
        return {"encoder": convert.load(folder, "t5", **fields).variables["params"]}

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Random weights: of all, or of the perceptron alone where the encoder is published."""
        params = self.recognizer.init(rng, batch["text_tokens"][:1], batch["text_mask"][:1])
        params = params["params"]
        if self.config.model.text_weights:
            params = {"head": params["head"]}
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=self.optimizer.init(params),
            ema_params=params,
            variables={},
        )

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update by binary cross-entropy."""
        del rng  # the texts were drawn with the batch

        def loss_fn(params):
            logits = self.recognizer.apply(
                {"params": gathered({**frozen, **params})}, batch["text_tokens"], batch["text_mask"]
            )
            return units.unit_cross_entropy(logits, batch["labels"]), logits

        (loss, logits), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        said, present = logits > 0, batch["labels"] == 1
        f1 = 2 * (said & present).sum() / jnp.maximum(said.sum() + present.sum(), 1)
        state = apply_gradients(state, gradients, self.optimizer, self.config.ema_decay)
        return state, {"loss": loss, "f1": f1, "grad_norm": optax.tree.norm(gradients)}

    def export(self, state: TrainState) -> PyTree:
        """The averaged parameters, and the thresholds of the units that the val split gives.

        A published encoder's weights are not copied: whoever reads loads them again.
        """
        weights = {"params": state.ema_params}
        val = self._read("val", limit=self.config.eval_images, paraphrased=0.5)
        probabilities = self.predict(weights, val["text_tokens"], val["text_mask"])
        return weights | {"thresholds": best_thresholds(probabilities, val["labels"])}

    def sample(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> dict:
        """No pictures: the recogniser makes none."""
        return {}

    def predict(
        self, weights: PyTree, text_tokens: np.ndarray, text_mask: np.ndarray
    ) -> Float[np.ndarray, "M A"]:
        """Tokens and mask [M, L] -> probabilities of the units, float32."""
        params = {**self._frozen, **weights["params"]}
        read = functools.partial(_probabilities, self.recognizer)
        return map_batches(read, params, text_tokens, text_mask, batch_size=self.config.batch_size)

    def read(self, weights: PyTree, sentences: Sequence[str]) -> Float[np.ndarray, "M A"]:
        """Texts of any wording -> probabilities of the units, float32."""
        if not sentences:
            return np.zeros((0, len(AU_NUMBERS)), np.float32)
        buckets = tuple(self.config.data.buckets)
        return self.predict(weights, *self.text_tokenizer.encode_batch(sentences, buckets))

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """F1 on label rows of people never trained on, in our words, in others, and in theirs.

        `new_rows` are those that no training person shows; `paraphrased` the same rows as `test`;
        `other_words` the file of that name, in all and in each of its styles.
        """
        del frozen
        weights = self.export(state)

        def scores(probabilities, labels, rows=slice(None)):
            predicted = (probabilities >= weights["thresholds"]).astype(np.int8)
            return f1_scores(predicted[rows], labels[rows])

        def macro(*arguments):
            f1 = scores(*arguments)
            return float(np.nanmean(f1)) if np.isfinite(f1).any() else float("nan")

        test, other = splits["test"], load_other_words()
        ours = self.predict(weights, test["text_tokens"], test["text_mask"])
        changed = self._read("test", limit=self.config.eval_images, paraphrased=1.0)
        known = {row.tobytes() for row in texts.label_rows(self.config.data.dir, "train")}
        new = np.array([row.tobytes() not in known for row in test["labels"]])
        theirs = self.read(weights, other.texts)
        figures = {
            "f1": macro(ours, test["labels"]),
            "f1_new_rows": macro(ours, test["labels"], new),
            "f1_paraphrased": macro(
                self.predict(weights, changed["text_tokens"], changed["text_mask"]),
                changed["labels"],
            ),
            "f1_other_words": macro(theirs, other.labels),
        }
        styles = np.array(other.styles)
        for style in STYLES:
            name = style.replace(" ", "_")
            figures[f"f1_other_words_{name}"] = macro(theirs, other.labels, styles == style)
        for name, found, labels in (
            ("f1", ours, test["labels"]),
            ("f1_other_words", theirs, other.labels),
        ):
            of_units = zip(AU_NUMBERS, scores(found, labels), strict=True)
            figures |= {f"{name}_AU{unit}": float(score) for unit, score in of_units}
        notes = {
            "texts": f"{len(test['labels'])} label rows, {int(new.sum())} of them new; "
            f"{len(other.texts)} descriptions in other words"
        }
        return Evaluation(figures, {}, notes)

    @functools.cached_property
    def _frozen(self) -> PyTree:
        return self.load_frozen()

    def _read(self, split: str, *, limit: int, paraphrased: float) -> Batch:
        return texts.load_split(
            self.config.data.dir,
            split,
            tokenizer=self.text_tokenizer,
            buckets=tuple(self.config.data.buckets),
            limit=limit,
            paraphrased=paraphrased,
            dictionary=load_dictionary(self.config.data.dictionary or None),
        )


# Out here, so that it is compiled once for a shape, however often a text is read.
@functools.partial(jax.jit, static_argnums=0)
def _probabilities(
    recognizer: AUTextRecognizer,
    params: PyTree,
    tokens: Int[Array, "B L"],
    mask: Bool[Array, "B L"],
) -> Float[Array, "B A"]:
    return jax.nn.sigmoid(recognizer.apply({"params": params}, tokens, mask))
