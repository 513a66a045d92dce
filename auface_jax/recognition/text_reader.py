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
from jaxtyping import Array, Bool, Float, Int, Int8

from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.facs import AU_NUMBERS, DEGREES
from auface_jax.models.au_text_recognizer import HEADS, AUTextRecognizer
from auface_jax.models.t5 import T5Encoder
from auface_jax.parallel.map_batches import map_batches
from auface_jax.pretrained import embedded
from auface_jax.pretrained.text_encoders import EMBEDDED, check_tokenizer, load_text_encoder
from auface_jax.runs import checkpoints

PyTree = Any

_EMBEDDED_BUCKETS = (32, 64, 128, 256)


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
    def embedded(cls) -> "TextReader":
        """Loads the text recogniser that the package contains."""
        recognizer = embedded.load()
        return cls(
            module=embedded.recognizer(recognizer.fields),
            tokenizer=load_tokenizer(EMBEDDED),
            buckets=_EMBEDDED_BUCKETS,
            batch_size=16,
            weights={"params": recognizer.params, "thresholds": recognizer.thresholds},
            published={},
        )

    @classmethod
    def from_run(cls, run: str | pathlib.Path) -> "TextReader":
        """Loads the text recogniser of a finished run: see `load_text_reader`."""
        return load_text_reader(pathlib.Path(run))

    def probabilities(self, sentences: Sequence[str]) -> Float[np.ndarray, "M A"]:
        """Reads the probability of each unit in each text, whatever its wording and length."""
        return self.read(sentences)[0]

    def read(
        self, sentences: Sequence[str]
    ) -> tuple[Float[np.ndarray, "M A"], Int8[np.ndarray, "M A"]]:
        """Reads texts, whatever their wording and length.

        Returns:
          The probability of each unit, and the degree that the text states of it: 1 (A) to 5 (E),
          or 0 where it states none. Degrees of units that are not stated mean nothing.
        """
        if not sentences:
            nothing = np.zeros((0, len(AU_NUMBERS)))
            return nothing.astype(np.float32), nothing.astype(np.int8)
        return self.read_tokens(*self.tokenizer.encode_batch(sentences, self.buckets))

    def read_tokens(
        self, text_tokens: Int[np.ndarray, "M L"], text_mask: Bool[np.ndarray, "M L"]
    ) -> tuple[Float[np.ndarray, "M A"], Int8[np.ndarray, "M A"]]:
        """Reads tokenized texts, as `read` does."""
        params = {**self.published, **self.weights["params"]}
        read = functools.partial(_read, self.module)
        return map_batches(read, params, text_tokens, text_mask, batch_size=self.batch_size)

    def stated(self, sentence: str) -> dict[int, str]:
        """Reads one text.

        Returns:
          FACS number of each unit that the text states -> the letter of its degree, or "" where the
          text states none.
        """
        probabilities, degrees = self.read([sentence])
        return {
            unit: ("", *DEGREES)[degree]
            for unit, probability, threshold, degree in zip(
                AU_NUMBERS, probabilities[0], self.thresholds, degrees[0], strict=True
            )
            if probability >= threshold
        }

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
def _read(
    module: AUTextRecognizer, params: PyTree, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
) -> tuple[Float[Array, "B A"], Int[Array, "B A"]]:
    reading = module.apply({"params": params}, tokens, mask)
    return jax.nn.sigmoid(reading.units), reading.degrees.argmax(-1).astype(jnp.int8)


def build_text_recognizer(
    config: ml_collections.ConfigDict, vocab_size: int
) -> tuple[AUTextRecognizer, PyTree]:
    """Builds the network of a config.

    Args:
      config: config of a run of au_text.
      vocab_size: number of tokens of its tokenizer.

    Returns:
      The network, and the parameters that it starts from: "encoder" where `text_weights` names
      some, and with the embedded encoder "head" too, if the head is of the same form; else {}.

    Raises:
      convert.ConversionError: these weights are not there, or are of another network.
      ValueError: the tokenizer is not that of the encoder.
    """
    model = config.model
    dtype = jnp.dtype(model.dtype)
    head = HEADS[model.head](width=model.width, dtype=dtype)
    if not model.text_weights:
        encoder = T5Encoder(**model.text_encoder, vocab_size=vocab_size, dtype=dtype)
        return AUTextRecognizer(encoder=encoder, head=head), {}
    loaded = load_text_encoder(model.text_weights, layers=model.text_layers, dtype=dtype)
    check_tokenizer(model.text_weights, loaded.module.vocab_size, config.data.tokenizer, vocab_size)
    network = AUTextRecognizer(encoder=loaded.module, head=head)
    start = {"encoder": loaded.variables["params"]}
    if model.text_weights == EMBEDDED:
        contained = embedded.load()
        if network.head == embedded.recognizer(contained.fields, dtype).head:
            start["head"] = contained.params["head"]
    return network, start


def frozen_part(config: ml_collections.ConfigDict, start: PyTree) -> PyTree:
    """Returns the parameters that training leaves as they are, and that an export does not hold."""
    keep = config.model.text_weights and not config.model.train_text
    return {"encoder": start["encoder"]} if keep else {}


def load_text_reader(run: pathlib.Path) -> TextReader:
    """Loads the text recogniser of a finished run of the task `au_text`.

    Args:
      run: folder of the run, or "embedded" for the recogniser that the package contains.

    Raises:
      checkpoints.CheckpointError: the run is not finished or is of another task, or the tokenizer
        of its config has changed since.
    """
    if str(run) == EMBEDDED:
        return TextReader.embedded()
    config = checkpoints.load_config(run, task="au_text")
    tokenizer = load_tokenizer(config.data.tokenizer)
    trained_with = checkpoints.load_meta(run)["text_tokenizer"]
    if tokenizer.fingerprint != trained_with:
        raise checkpoints.CheckpointError(
            f"{run} was trained with the tokenizer {trained_with[:12]}, and data.tokenizer="
            f"{config.data.tokenizer!r} is now {tokenizer.fingerprint[:12]}; put the former one "
            "back there"
        )
    module, start = build_text_recognizer(config, tokenizer.vocab_size)
    return TextReader(
        module=module,
        tokenizer=tokenizer,
        buckets=tuple(config.data.buckets),
        batch_size=config.batch_size,
        weights=checkpoints.load_export(run),
        published=frozen_part(config, start),
    )
