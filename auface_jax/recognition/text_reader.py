"""The text recogniser of a finished run: descriptions -> probabilities of action units."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.facs import AU_NUMBERS
from auface_jax.models.au_text_recognizer import AUTextHead, AUTextRecognizer
from auface_jax.models.t5 import T5Encoder
from auface_jax.parallel.map_batches import map_batches
from auface_jax.pretrained import convert
from auface_jax.runs import checkpoints

PyTree = Any


@dataclasses.dataclass(frozen=True, eq=False)
class TextReader:
    """A text recogniser with all that it takes to read.

    Attributes:
      module: its network.
      tokenizer: the tokenizer that it was trained with.
      buckets: token counts to which texts are padded; longer texts are cut.
      batch_size: texts that the compiled program reads at once.
      weights: exported weights: "params" and "thresholds".
      published: parameters of a published encoder, which an export does not hold; else empty.
    """

    module: AUTextRecognizer
    tokenizer: Tokenizer
    buckets: tuple[int, ...]
    batch_size: int
    weights: PyTree
    published: PyTree

    @classmethod
    def from_run(cls, run: str | pathlib.Path) -> "TextReader":
        """Loads the text recogniser of a finished run: see `load_text_reader`."""
        return load_text_reader(pathlib.Path(run))

    def probabilities(self, sentences: Sequence[str]) -> Float[np.ndarray, "M A"]:
        """Reads the probability of each unit in each text, whatever its wording and length."""
        if not sentences:
            return np.zeros((0, len(AU_NUMBERS)), np.float32)
        return self.read_tokens(*self.tokenizer.encode_batch(sentences, self.buckets))

    def read_tokens(
        self, text_tokens: Int[np.ndarray, "M L"], text_mask: Bool[np.ndarray, "M L"]
    ) -> Float[np.ndarray, "M A"]:
        """Reads the probability of each unit in each tokenized text."""
        params = {**self.published, **self.weights["params"]}
        read = functools.partial(_probabilities, self.module)
        return map_batches(read, params, text_tokens, text_mask, batch_size=self.batch_size)

    @property
    def thresholds(self) -> Float[np.ndarray, " A"]:
        """Probability of each unit from which it counts as stated, chosen on the val split."""
        return self.weights["thresholds"]

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of the exported weights."""
        return checkpoints.weights_fingerprint(self.weights)


# A function of the module, so that it is compiled once for a shape, however often a text is read.
@functools.partial(jax.jit, static_argnums=0)
def _probabilities(
    module: AUTextRecognizer, params: PyTree, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
) -> Float[Array, "B A"]:
    return jax.nn.sigmoid(module.apply({"params": params}, tokens, mask))


def build_text_recognizer(model: ml_collections.ConfigDict, vocab_size: int) -> AUTextRecognizer:
    """Builds the network of a config's `model` part for texts of a vocabulary."""
    fields = {**model.text_encoder.to_dict(), "vocab_size": vocab_size}
    dtype = jnp.dtype(model.dtype)
    return AUTextRecognizer(
        encoder=T5Encoder(**fields, dtype=dtype), head=AUTextHead(width=model.width, dtype=dtype)
    )


def load_published_encoder(model: ml_collections.ConfigDict) -> PyTree:
    """Loads the published encoder that a config's `model` part names; {} where it names none.

    Raises:
      convert.ConversionError: its weights are not converted yet, or are of another network or size.
    """
    if not model.text_weights:
        return {}
    fields = model.text_encoder.to_dict()
    return {"encoder": convert.load(model.text_weights, "t5", **fields).variables["params"]}


def load_text_reader(run: pathlib.Path) -> TextReader:
    """Loads the text recogniser of a finished run of the task `au_text`.

    Raises:
      checkpoints.CheckpointError: the run is not finished or is of another task, or the tokenizer
        of its config has changed since.
    """
    config = checkpoints.load_config(run, task="au_text")
    tokenizer = load_tokenizer(config.data.tokenizer)
    trained_with = checkpoints.load_meta(run)["text_tokenizer"]
    if tokenizer.fingerprint != trained_with:
        raise checkpoints.CheckpointError(
            f"{run} was trained with the tokenizer {trained_with[:12]}, and data.tokenizer="
            f"{config.data.tokenizer!r} is now {tokenizer.fingerprint[:12]}; put the former one "
            "back there"
        )
    vocab_size = config.model.text_encoder.get("vocab_size", tokenizer.vocab_size)
    return TextReader(
        module=build_text_recognizer(config.model, vocab_size),
        tokenizer=tokenizer,
        buckets=tuple(config.data.buckets),
        batch_size=config.batch_size,
        weights=checkpoints.load_export(run),
        published=load_published_encoder(config.model),
    )
