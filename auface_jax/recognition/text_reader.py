"""The text recogniser of a finished run: descriptions -> probabilities of action units."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from auface_jax.runs import checkpoints
from auface_jax.training.tasks.au_text import AUTextTask, PyTree


@dataclasses.dataclass(frozen=True, eq=False)
class TextReader:
    """A finished run, ready to read.

    Attributes:
      task: what it was trained as.
      weights: parameters and thresholds.
    """

    task: AUTextTask
    weights: PyTree

    def probabilities(self, sentences: Sequence[str]) -> Float[np.ndarray, "M A"]:
        """Probability of each unit in each text, float32 in [0, 1]; any wording, any length."""
        return self.task.read(self.weights, sentences)

    @property
    def thresholds(self) -> Float[np.ndarray, " A"]:
        """From which probability on a unit counts as stated; chosen on the run's val split."""
        return self.weights["thresholds"]


def load_text_reader(run: pathlib.Path) -> TextReader:
    """The text recogniser of a finished run.

    Raises:
      CheckpointError: no finished run of this task there, or its tokenizer has changed since.
    """
    config = checkpoints.load_config(run)
    if config.task != "au_text":
        raise checkpoints.CheckpointError(
            f"{run} is a run of the task {config.task!r}, not 'au_text'; train a text recogniser: "
            "python -m auface_jax.train --config configs/au_text.py"
        )
    task = AUTextTask(config, num_steps=1)
    found, wanted = task.text_tokenizer.fingerprint, checkpoints.load_meta(run)["text_tokenizer"]
    if found != wanted:
        raise checkpoints.CheckpointError(
            f"{run} was trained with the tokenizer {wanted[:12]}, and data.tokenizer="
            f"{config.data.tokenizer!r} is now {found[:12]}; give it the tokenizer it knows"
        )
    return TextReader(task, checkpoints.load_export(run))
