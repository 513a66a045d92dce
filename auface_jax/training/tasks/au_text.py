"""The text AU recogniser: trains `models.au_text_recognizer` on descriptions of label vectors.

The loss is binary cross-entropy on five random descriptions of every label vector in the data
(paper, AAAD). Most descriptions are paraphrased anew in each epoch, so that the network learns
anatomy and not our sentences. Evaluation uses label vectors of held-out people and the texts in
`facs.other_words`, which neither training nor the thresholds use.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from auface_jax.data.loading import texts
from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.facs import AU_NUMBERS, load_dictionary
from auface_jax.facs.other_words import STYLES, load_other_words
from auface_jax.metrics.units import best_thresholds, f1_scores
from auface_jax.models.au_text_recognizer import AUTextRecognizer
from auface_jax.parallel.sharding import all_gather_parameters
from auface_jax.recognition.text_reader import (
    TextReader,
    build_text_recognizer,
    load_published_encoder,
)
from auface_jax.training.losses import units
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks.base import Batch, DataOfRun, Evaluation, PyTree, Task, TaskData


@dataclasses.dataclass(frozen=True, eq=False)
class AUTextTask(Task):
    """Trains the text recogniser on descriptions and their paraphrases."""

    progress_metrics = ("loss", "f1")

    @functools.cached_property
    def text_tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.config.data.tokenizer)

    @property
    def recognizer(self) -> AUTextRecognizer:
        """The network; its vocabulary is that of a published encoder, or else of the tokenizer."""
        encoder = self.config.model.text_encoder
        vocab_size = encoder.get("vocab_size") or self.text_tokenizer.vocab_size
        return build_text_recognizer(self.config.model, vocab_size)

    def data(self, run_data: DataOfRun) -> TaskData:
        """Opens descriptions and label vectors without pictures."""
        return run_data.texts()

    def load_frozen(self) -> PyTree:
        """Loads the weights of a published encoder if the config names one.

        Raises:
          ConversionError: the weights are not converted yet, or have another network or size.
        """
        return load_published_encoder(self.config.model)

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Draws random weights of the whole network, or of the head if the encoder is published."""
        params = self.recognizer.init(rng, batch["text_tokens"][:1], batch["text_mask"][:1])
        params = params["params"]
        if self.config.model.text_weights:
            params = {"head": params["head"]}
        return self.initial_state(params)

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update by binary cross-entropy."""
        del rng  # the texts were drawn with the batch

        def loss_fn(params):
            logits = self.recognizer.apply(
                {"params": all_gather_parameters({**frozen, **params})},
                batch["text_tokens"],
                batch["text_mask"],
            )
            return units.unit_cross_entropy(logits, batch["labels"]), logits

        (loss, logits), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        said, present = logits > 0, batch["labels"] == 1
        f1 = 2 * (said & present).sum() / jnp.maximum(said.sum() + present.sum(), 1)
        state = apply_gradients(state, gradients, self.optimizer, self.config.ema_decay)
        return state, {"loss": loss, "f1": f1, "grad_norm": optax.tree.norm(gradients)}

    def export(self, state: TrainState) -> PyTree:
        """Returns the averaged parameters, and the best threshold of each unit on the val split.

        A published encoder's weights are not exported; a text reader loads them again.
        """
        weights = {"params": state.ema_params}
        val = self._read("val", limit=self.config.eval_images, paraphrased=0.5)
        probabilities = self.predict(weights, val["text_tokens"], val["text_mask"])
        return weights | {"thresholds": best_thresholds(probabilities, val["labels"])}

    def predict(
        self, weights: PyTree, text_tokens: np.ndarray, text_mask: np.ndarray
    ) -> Float[np.ndarray, "M A"]:
        """Reads the probability of each unit in each tokenized text."""
        return self._reader(weights).read_tokens(text_tokens, text_mask)

    def read(self, weights: PyTree, sentences: Sequence[str]) -> Float[np.ndarray, "M A"]:
        """Reads the probability of each unit in each text, whatever its wording."""
        return self._reader(weights).probabilities(sentences)

    def _reader(self, weights: PyTree) -> TextReader:
        return TextReader(
            module=self.recognizer,
            tokenizer=self.text_tokenizer,
            buckets=tuple(self.config.data.buckets),
            batch_size=self.config.batch_size,
            weights=weights,
            published=self._frozen,
        )

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Computes F1 on label vectors of held-out people and on `facs.other_words`.

        `new_rows` counts only label vectors that no training person shows; `paraphrased` has the
        same label vectors as `f1` and paraphrased descriptions; `other_words` is the file of that
        name, as a whole and by style.
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
        known = {row.tobytes() for row in texts.label_vectors(self.config.data.dir, "train")}
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
