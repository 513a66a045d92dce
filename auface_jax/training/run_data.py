"""The data of a run: endless training batches, and held-out splits in memory."""

import functools
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from auface_jax.data.loading import chosen_people, pipeline, texts
from auface_jax.data.loading.collate import SkippedRecords
from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.facs import load_dictionary
from auface_jax.facs.wording import DICTIONARY_ONLY, Wording
from auface_jax.runs.console import say
from auface_jax.training.tasks.base import TaskData

# The fields of a batch that a compiled step takes; other fields, such as names, stay on the host.
MODEL_INPUTS = (
    *("image", "reference", "reference_row", "labels", "intensities"),
    *("degrees", "text_tokens", "text_mask"),
)


class RunData:
    """Opens the data set that a run's config names.

    Args:
      config: the run's config.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        self._config = config
        self._folder = pathlib.Path(config.data.dir)
        self.tokenizer: Tokenizer = load_tokenizer(config.data.tokenizer)
        self._reading = {
            "tokenizer": self.tokenizer,
            "buckets": tuple(config.data.buckets),
            "dictionary": load_dictionary(config.data.dictionary or None),
        }
        self._stream = {
            "batch_size": config.batch_size // jax.process_count(),
            "seed": config.seed,
            "process_index": jax.process_index(),
            "process_count": jax.process_count(),
        }

    def faces(self, *, texts: bool = False) -> TaskData:
        """Records with a picture and a reference face.

        Args:
          texts: with a description, in the words of `data.wording`.
        """
        data, folder = self._config.data, self._folder
        skipped = SkippedRecords(say) if data.skip_corrupt else None
        reading = self._reading | {"skipped": skipped}
        if not texts:
            reading["tokenizer"] = None
        people = chosen_people.chosen_people(folder, self._config.get("people"))

        def read(split: str, limit: int) -> dict[str, Any]:
            chosen = people.get(split)
            return pipeline.load_split(folder, split, limit=limit, people=chosen, **reading)

        batches = pipeline.training_iterator(
            folder,
            **reading,
            **self._stream,
            people=people.get("train"),
            redescribe=data.redescribe,
            wording=Wording(**data.wording) if texts else DICTIONARY_ONLY,
            group=data.group if texts else 1,
            flip=data.flip,
            size=data.size,
            workers=data.workers,
        )
        return TaskData(batches, read, skipped)

    def texts(self) -> TaskData:
        """Descriptions and label vectors without pictures."""
        options = self._reading | self._stream | dict(self._config.texts)
        options["wording"] = Wording(**self._config.data.wording)
        options["group"] = self._config.data.group
        batches = texts.training_iterator(self._folder, **options)
        return TaskData(batches, functools.partial(texts.load_split, self._folder, **self._reading))


def model_inputs(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """Selects the numeric fields of a batch, which a compiled step takes."""
    return {name: batch[name] for name in MODEL_INPUTS if name in batch}
