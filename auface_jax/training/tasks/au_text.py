"""The text AU recogniser: trains `models.au_text_recognizer` on descriptions of label vectors.

The loss is binary cross-entropy of the units (paper, AAAD), and cross-entropy of the degrees that
are stated. Descriptions are drawn anew each time that a label vector is met, in the words of
`data.wording`, so that the network learns anatomy and not our sentences. Evaluation uses label
vectors of held-out people, the corpus' validation and test voices, and `facs.other_words`; neither
training nor the thresholds use any of these texts.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int8

from auface_jax.data.loading import texts
from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.facs import AU_NUMBERS, load_dictionary
from auface_jax.facs.corpus import load_corpus
from auface_jax.facs.other_words import STYLES, load_other_words
from auface_jax.metrics.units import best_thresholds, f1_scores
from auface_jax.models.au_text_recognizer import AUTextRecognizer
from auface_jax.parallel.sharding import all_gather_parameters
from auface_jax.recognition.text_reader import TextReader, build_text_recognizer, frozen_part
from auface_jax.training.losses import units
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks.base import Batch, DataOfRun, Evaluation, PyTree, Task, TaskData


@dataclasses.dataclass(frozen=True, eq=False)
class AUTextTask(Task):
    """Trains the text recogniser on descriptions in the words of the dictionary and of others."""

    progress_metrics = ("loss", "f1")

    @functools.cached_property
    def text_tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.config.data.tokenizer)

    @functools.cached_property
    def _built(self) -> tuple[AUTextRecognizer, PyTree]:
        return build_text_recognizer(self.config, self.text_tokenizer.vocab_size)

    @property
    def recognizer(self) -> AUTextRecognizer:
        """The network; its vocabulary is that of a published encoder, or else of the tokenizer."""
        return self._built[0]

    def data(self, run_data: DataOfRun) -> TaskData:
        """Opens descriptions and label vectors without pictures."""
        return run_data.texts()

    def load_frozen(self) -> PyTree:
        """Returns the weights of a published encoder that stays as it is; {} without one."""
        return frozen_part(self.config, self._built[1])

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Draws random weights of what is trained, but for what has published weights."""
        params = self.recognizer.init(rng, batch["text_tokens"][:1], batch["text_mask"][:1])
        params = {**params["params"], **self._built[1]}
        frozen = frozen_part(self.config, self._built[1])
        return self.initial_state({name: params[name] for name in params if name not in frozen})

    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, dict[str, Array]]:
        """Makes one update by cross-entropy of units and degrees."""
        del rng  # the texts were drawn with the batch

        def loss_fn(params):
            read = self.recognizer.apply(
                {"params": all_gather_parameters({**frozen, **params})},
                batch["text_tokens"],
                batch["text_mask"],
            )
            of_units = units.unit_cross_entropy(read.units, batch["labels"])
            of_degrees = units.degree_cross_entropy(read.degrees, batch["degrees"], batch["labels"])
            return of_units + self.config.loss.degrees * of_degrees, (read, of_degrees)

        (loss, (read, of_degrees)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params
        )
        said, present = read.units > 0, batch["labels"] == 1
        f1 = 2 * (said & present).sum() / jnp.maximum(said.sum() + present.sum(), 1)
        state = apply_gradients(state, gradients, self.optimizer, self.config.ema_decay)
        metrics = {"loss": loss, "loss_degrees": of_degrees, "f1": f1}
        return state, metrics | {"grad_norm": optax.tree.norm(gradients)}

    def export(self, state: TrainState) -> PyTree:
        """Returns the averaged parameters, and the best threshold of each unit on the val split.

        A published encoder's weights are not exported; a text reader loads them again.
        """
        weights = {"params": state.ema_params}
        kinds = [
            self._read("val", limit=self.config.eval_images // 2, kind=kind)
            for kind in ("dictionary", "paraphrase")
        ]
        probabilities = [
            self.predict(weights, val["text_tokens"], val["text_mask"]) for val in kinds
        ]
        labels = np.concatenate([val["labels"] for val in kinds])
        return weights | {"thresholds": best_thresholds(np.concatenate(probabilities), labels)}

    def predict(
        self, weights: PyTree, text_tokens: np.ndarray, text_mask: np.ndarray
    ) -> Float[np.ndarray, "M A"]:
        """Reads the probability of each unit in each tokenized text."""
        return self._reader(weights).read_tokens(text_tokens, text_mask)[0]

    def read(
        self, weights: PyTree, sentences: Sequence[str]
    ) -> tuple[Float[np.ndarray, "M A"], Int8[np.ndarray, "M A"]]:
        """Reads probability and degree of each unit in each text, whatever its wording."""
        return self._reader(weights).read(sentences)

    def _reader(self, weights: PyTree) -> TextReader:
        return TextReader(
            module=self.recognizer,
            tokenizer=self.text_tokenizer,
            buckets=tuple(self.config.data.buckets),
            batch_size=self.config.batch_size,
            weights=weights,
            published=self.load_frozen(),
        )

    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Computes F1 on label vectors of held-out people, and on texts in other words.

        `new_rows` counts only label vectors that no training person shows; `paraphrased` has the
        same label vectors as `f1` and paraphrased descriptions; `other_words` is the file of that
        name, as a whole and by style; `corpus_validation` and `corpus_test` are the voices of the
        corpus that training does not read. `degrees_corpus_test` is the share of the degrees in the
        latter that are read at most one letter away, and `degree_stated` the F1 of whether a
        present unit has one.
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
        changed = self._read("test", limit=self.config.eval_images, kind="paraphrase")
        known = {row.tobytes() for row in texts.label_vectors(self.config.data.dir, "train")}
        new = np.array([row.tobytes() not in known for row in test["labels"]])
        theirs, _ = self.read(weights, other.texts)
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
        for split in ("validation", "test"):
            descriptions = load_corpus(split)
            read, degrees = self.read(weights, [d.text for d in descriptions])
            labels = np.stack([d.labels for d in descriptions])
            figures[f"f1_corpus_{split}"] = macro(read, labels)
            voices = np.array([d.voice for d in descriptions])
            for voice in dict.fromkeys(voices):
                figures[f"f1_corpus_{voice}"] = macro(read, labels, voices == voice)
        stated = np.stack([d.degrees for d in descriptions])
        figures |= degree_scores(degrees[labels == 1], stated[labels == 1])
        for name, found, labels in (
            ("f1", ours, test["labels"]),
            ("f1_other_words", theirs, other.labels),
        ):
            of_units = zip(AU_NUMBERS, scores(found, labels), strict=True)
            figures |= {f"{name}_AU{unit}": float(score) for unit, score in of_units}
        notes = {
            "texts": f"{len(test['labels'])} label rows, {int(new.sum())} of them new; "
            f"{len(other.texts)} descriptions in other words, {len(descriptions)} of the corpus"
        }
        return Evaluation(figures, {}, notes)

    def _read(self, split: str, *, limit: int, kind: str) -> Batch:
        return texts.load_split(
            self.config.data.dir,
            split,
            tokenizer=self.text_tokenizer,
            buckets=tuple(self.config.data.buckets),
            limit=limit,
            kind=kind,
            dictionary=load_dictionary(self.config.data.dictionary or None),
        )


def degree_scores(read: Int8[np.ndarray, " U"], stated: Int8[np.ndarray, " U"]) -> dict[str, float]:
    """Compares degrees that were read with those that texts state, 0 where there is none."""
    said, true = read > 0, stated > 0
    both = said & true
    f1 = 2 * both.sum() / max(said.sum() + true.sum(), 1)
    near = np.abs(read[true].astype(int) - stated[true]) <= 1
    return {"degree_stated": float(f1), "degrees_corpus_test": float((near & said[true]).mean())}
