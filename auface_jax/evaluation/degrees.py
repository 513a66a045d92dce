"""Degrees: whether a stronger word gives a stronger movement.

The probe's regressor, which was trained on the exact intensities of real pictures, reads the
pictures. Three questions:

- Spearman's correlation of asked and shown intensity of each unit, where texts state the degrees of
  the records' exact intensities; its ceiling is the same for the records' real pictures.
- In how many pairs "Maximum: ..." shows more of a unit than "Trace: ..." of the same words, person
  and seed.
- A sheet of one sentence at five degrees for several people, to look at.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from auface_jax.data.loading.pipeline import load_split
from auface_jax.data.sources.base import stable_seed
from auface_jax.facs import AU_NUMBERS, DEGREES, describe_constructs, labels_from_units
from auface_jax.facs.wording import describe_in
from auface_jax.generation.generator import Generator
from auface_jax.generation.request import Request
from auface_jax.images import sheets
from auface_jax.metrics.units import rank_correlations
from auface_jax.recognition.probe import load_probe, read
from auface_jax.runs import checkpoints

_SHOWN = (12, 4)  # units of the sheet


@dataclasses.dataclass(frozen=True)
class DegreeScores:
    """Figures of a run; arrays over the units are NaN where a unit never occurs.

    Attributes:
      generated: Spearman's correlation of each unit in generated pictures.
      real: the same in the real pictures of these records.
      right_pairs: share of the pairs of each unit in which the maximum shows more than the trace.
      records: number of records that were drawn.
      pairs: number of pairs of each unit.
    """

    generated: Float[np.ndarray, " A"]
    real: Float[np.ndarray, " A"]
    right_pairs: Float[np.ndarray, " A"]
    records: int
    pairs: int

    def figures(self) -> dict[str, float]:
        """Returns means over the units, and each unit's figures."""
        figures = {
            "spearman_generated": _mean(self.generated),
            "spearman_real": _mean(self.real),
            "right_pairs": _mean(self.right_pairs),
            "records": self.records,
            "pairs": self.pairs * len(AU_NUMBERS),
        }
        for name in ("generated", "real", "right_pairs"):
            values = zip(AU_NUMBERS, getattr(self, name), strict=True)
            figures |= {f"{name}_AU{unit}": float(value) for unit, value in values}
        return figures


def _mean(values: Float[np.ndarray, " A"]) -> float:
    """Returns the mean over the units that occur; NaN where none does."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def score_degrees(
    run: str | Path, *, records: int = 240, pairs: int = 12, seed: int = 0
) -> tuple[DegreeScores, Image.Image]:
    """Measures a run's degrees on the test people of its data set.

    Args:
      run: folder of a finished Stage II run, whose probe and data set exist.
      records: largest number of records to draw.
      pairs: number of pairs of each unit.
      seed: seed of the pictures.

    Returns:
      The figures, and the sheet.

    Raises:
      checkpoints.CheckpointError: the run or its probe is not finished.
      ValueError: the records have no intensities.
    """
    run = Path(run)
    generator = Generator.from_run(run)
    probe, weights, config = load_probe(checkpoints.required_run(run, "au_probe"))

    def intensities(pictures, references):
        return read(probe, weights, pictures, references, batch_size=config.batch_size)[1]

    test = load_split(generator.config.data.dir, "test", None, (1,), limit=records)
    if (test["intensities"] < 0).any():
        raise ValueError(
            f"{generator.config.data.dir} has records without intensities, and degrees are "
            "measured against them; take a data set of rendered faces"
        )
    drawn = generator.generate(_requests(test, seed))
    ranks, ceiling = (
        rank_correlations(intensities(pictures, test["reference"]), test["intensities"])
        for pictures in (drawn, test["image"])
    )
    right = _right_pairs(generator, intensities, test["reference"], pairs, seed)
    scores = DegreeScores(ranks, ceiling, right, len(drawn), pairs)
    return scores, _sheet(generator, test, seed)


def _requests(test: dict, seed: int) -> list[Request]:
    """Makes a request of each record, in the dictionary's words with its degrees."""
    requests = []
    for labels, intensities, reference, subject, frame in zip(
        *(test[name] for name in ("labels", "intensities", "reference", "subjects", "frames")),
        strict=True,
    ):
        rng = np.random.default_rng(stable_seed(subject, frame, "degrees"))
        text = describe_in("dictionary", np.maximum(labels, 0), rng, intensities=intensities).text
        requests.append(Request(reference, text, seed))
    return requests


def _right_pairs(
    generator: Generator,
    intensities: Callable[..., Float[np.ndarray, "M A"]],
    references: UInt8[np.ndarray, "M S S 3"],
    pairs: int,
    seed: int,
) -> Float[np.ndarray, " A"]:
    """Returns the share of right pairs of each unit."""
    people = np.linspace(0, len(references) - 1, pairs).round().astype(int)
    requests = [
        Request(references[person], _at_degree((unit,), degree, person), seed)
        for unit in AU_NUMBERS
        for person in people
        for degree in (0.2, 1.0)
    ]
    shown = intensities(generator.generate(requests), np.stack([r.reference for r in requests]))
    shown = shown.reshape(len(AU_NUMBERS), pairs, 2, len(AU_NUMBERS))
    return np.array([(s[:, 1, unit] > s[:, 0, unit]).mean() for unit, s in enumerate(shown)])


def _at_degree(units: tuple[int, ...], intensity: float, seed: int) -> str:
    """Describes units at one degree; the words depend on the seed alone."""
    rng, labels = np.random.default_rng(seed), labels_from_units(units)
    names = ["+".join(f"AU{unit}" for unit in units)]
    return describe_constructs(names, rng, intensities=intensity * labels)


def _sheet(generator: Generator, test: dict, seed: int) -> Image.Image:
    """Draws units of a few people at five degrees."""
    people = np.linspace(0, len(test["reference"]) - 1, 4).round().astype(int)
    cases = [(int(person), unit) for unit in _SHOWN for person in people]
    requests = [
        Request(test["reference"][person], _at_degree((unit,), (step + 1) / 5, person), seed)
        for step in range(5)
        for person, unit in cases
    ]
    columns: list[UInt8[np.ndarray, "M S S 3"]] = [
        np.stack([test["reference"][person] for person, _ in cases]),
        *np.split(generator.generate(requests), 5),
    ]
    rows = [f"{test['subjects'][person]} AU{unit}" for person, unit in cases]
    scale = max(1, 128 // generator.vqgan.image_size)
    return sheets.sheet(columns, ["reference", *DEGREES.values()], rows, scale=scale)
