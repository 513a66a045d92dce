"""Units and features of every set of pictures, extracted once, for all figures."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from auface_jax.evaluation.cache import Arrays, cached
from auface_jax.evaluation.draw_system import batch_size
from auface_jax.evaluation.evaluator import Evaluator, Reading
from auface_jax.evaluation.population import Population
from auface_jax.metrics.features import INCEPTION, Features, inception_features
from auface_jax.pretrained.convert import Pretrained


@dataclasses.dataclass(frozen=True, eq=False)
class Extraction:
    """Units and features of M pictures.

    Attributes:
      reading: units and features by the evaluator.
      features: features for FID and KID: by FID's own Inception network where its weights are
        given, else by the evaluator.
    """

    reading: Reading
    features: Features

    def take(self, indices: Int[np.ndarray, " K"]) -> "Extraction":
        """Selects the extraction of some of the pictures, in any order, with repeats."""
        f = self.features
        logits = None if f.logits is None else f.logits[indices]
        return Extraction(self.reading.take(indices), Features(f.name, f.values[indices], logits))


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """The networks of an evaluation.

    Attributes:
      evaluator: reads units.
      inception: the converted network "inception", or None.
      folder: folder of the cached extractions of real pictures and references; None keeps none.
    """

    evaluator: Evaluator
    inception: Pretrained | None
    folder: Path | None

    @property
    def features_name(self) -> str:
        """Name of the network whose features `Extraction.features` holds."""
        return self.evaluator.kind if self.inception is None else INCEPTION

    def extract(
        self, images: UInt8[np.ndarray, "M S S 3"], references: UInt8[np.ndarray, "M S S 3"]
    ) -> Extraction:
        """Applies the networks to each picture once."""
        reading = self.evaluator.read(images, references)
        if self.inception is None:
            return Extraction(reading, reading.features)
        step = batch_size()
        batches = (images[start : start + step] for start in range(0, len(images), step))
        return Extraction(reading, inception_features(self.inception, batches, batch_size=step))

    def extract_real(self, population: Population) -> Extraction:
        """Applies the networks to the real pictures of a population that has them."""
        return self._cached(population, "real", population.image, population.reference)

    def extract_references(self, population: Population) -> Extraction:
        """Applies the networks to each record's reference, in place of a picture.

        The reference of a person is read once, however many records the person has.
        """
        people = population.people
        first = np.array([population.subjects.index(person) for person in people])
        faces = population.reference[first]
        if len(people) == 1:  # `Features` hold two pictures at least
            faces = np.concatenate([faces, faces])
        found = self._cached(population, "references", faces, faces)
        return found.take(np.array([people.index(subject) for subject in population.subjects]))

    def _cached(
        self,
        population: Population,
        name: str,
        images: UInt8[np.ndarray, "M S S 3"],
        references: UInt8[np.ndarray, "M S S 3"],
    ) -> Extraction:
        networks = [self.evaluator.kind, self.evaluator.fingerprint]
        if self.inception is not None:
            networks.append(self.inception.fingerprint)

        def compute() -> Arrays:
            found = self.extract(images, references)
            arrays = [found.reading.probabilities, found.reading.features.values]
            if self.inception is not None:
                arrays += [found.features.values, found.features.logits]
            return tuple(arrays)

        arrays = cached(compute, name, population.fingerprint, *networks, folder=self.folder)
        reading = Reading(arrays[0], Features(self.evaluator.kind, arrays[1]))
        if self.inception is None:
            return Extraction(reading, reading.features)
        return Extraction(reading, Features(INCEPTION, *arrays[2:]))
