"""Every set of pictures is looked at once, by each network; all figures are read off the result."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from auface_jax.evaluation.cache import kept
from auface_jax.evaluation.draw_system import batch_size
from auface_jax.evaluation.population import Population
from auface_jax.evaluation.scorer import Reading, Scorer
from auface_jax.metrics.features import INCEPTION, Features, inception_features
from auface_jax.pretrained.convert import Pretrained


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """What the networks see in M pictures.

    Attributes:
      reading: the scorer's.
      features: what FID and KID are measured on: of FID's own Inception network where its weights
        are at hand, else of the scorer.
    """

    reading: Reading
    features: Features

    def take(self, rows: Int[np.ndarray, " K"]) -> "View":
        """The view of some of the pictures, in any order, with repeats."""
        f = self.features
        logits = None if f.logits is None else f.logits[rows]
        return View(self.reading.take(rows), Features(f.name, f.values[rows], logits))


@dataclasses.dataclass(frozen=True, eq=False)
class Viewer:
    """The networks of an evaluation.

    Attributes:
      scorer: reads units.
      inception: the converted network "inception", or None.
      folder: where views of real pictures and references are kept; None keeps none.
    """

    scorer: Scorer
    inception: Pretrained | None
    folder: Path | None

    @property
    def features_name(self) -> str:
        """Of the features that `View.features` will be."""
        return self.scorer.kind if self.inception is None else INCEPTION

    def look(
        self, images: UInt8[np.ndarray, "M S S 3"], references: UInt8[np.ndarray, "M S S 3"]
    ) -> View:
        """Each picture, once."""
        reading = self.scorer.read(images, references)
        if self.inception is None:
            return View(reading, reading.features)
        step = batch_size()
        batches = (images[start : start + step] for start in range(0, len(images), step))
        return View(reading, inception_features(self.inception, batches, batch_size=step))

    def real(self, population: Population) -> View:
        """The real pictures of a population that has them."""
        return self._kept(population, "real", population.image, population.reference)

    def references(self, population: Population) -> View:
        """Each record's reference, as if it were the picture asked for; a person's is read once."""
        people = population.people
        first = np.array([population.subjects.index(person) for person in people])
        faces = population.reference[first]
        if len(people) == 1:  # features are of two pictures at least
            faces = np.concatenate([faces, faces])
        view = self._kept(population, "references", faces, faces)
        return view.take(np.array([people.index(subject) for subject in population.subjects]))

    def _kept(
        self, population: Population, what: str, images: np.ndarray, references: np.ndarray
    ) -> View:
        networks = [self.scorer.kind, self.scorer.fingerprint]
        if self.inception is not None:
            networks.append(self.inception.fingerprint)

        def compute():
            view = self.look(images, references)
            arrays = [view.reading.probabilities, view.reading.features.values]
            if self.inception is not None:
                arrays += [view.features.values, view.features.logits]
            return tuple(arrays)

        arrays = kept(compute, what, population.fingerprint, *networks, folder=self.folder)
        reading = Reading(arrays[0], Features(self.scorer.kind, arrays[1]))
        if self.inception is None:
            return View(reading, reading.features)
        return View(reading, Features(INCEPTION, *arrays[2:]))
