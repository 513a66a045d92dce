"""Choice and computation of the metrics of an evaluation."""

import dataclasses
from collections.abc import Sequence, Set
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from auface_jax.evaluation.draw_system import batch_size, draw
from auface_jax.evaluation.extraction import Extraction, Extractor
from auface_jax.evaluation.groups import AGE, SKIN_TONE, groups
from auface_jax.evaluation.population import Population
from auface_jax.evaluation.results import Results
from auface_jax.evaluation.scores import (
    REAL,
    REFERENCE,
    SYSTEM,
    Alignment,
    align_scores,
    distance_scores,
    diversity_scores,
    group_scores,
    identity_scores,
    unit_report,
)
from auface_jax.generation.generator import Generator
from auface_jax.metrics import lpips
from auface_jax.metrics.distances import IS_SPLITS, Score
from auface_jax.pretrained.lpips import LPIPS
from auface_jax.recognition.text_reader import TextReader

METRICS = ("aaad", "units", "fid", "kid", "is", "lpips", "identity", "diversity")
DIVERSITY_RECORDS, DIVERSITY_SEEDS = 64, 4
_TITLES = {"is": "IS", "lpips": "LPIPS"}
_LEAST_SIZE = {"alexnet": 35, "vgg16": 16}  # pixels a side that LPIPS needs

Perceptual = tuple[LPIPS, Any]  # LPIPS and its variables


def choose_metrics(
    asked: Sequence[str],
    population: Population,
    extractor: Extractor,
    perceptual: Perceptual | None,
    *,
    drawn: bool,
) -> tuple[set[str], list[str]]:
    """Chooses the metrics that can be measured.

    Args:
      asked: names of `METRICS`; an empty list asks for all that can be measured.
      population: records that are evaluated.
      extractor: networks of the evaluation.
      perceptual: LPIPS and its variables, or None.
      drawn: whether the system is a run, which can draw more pictures.

    Returns:
      The names of the metrics, and notes on those that cannot be measured.

    Raises:
      ValueError: a metric that was asked for by name cannot be measured; the message says what it
        needs.
    """
    lacking = {}
    if extractor.inception is None:
        lacking["is"] = "it needs FID's Inception weights (--inception), and no others give one"
    elif len(population) < IS_SPLITS:
        lacking["is"] = f"its {IS_SPLITS} splits need as many pictures, these are {len(population)}"
    if perceptual is None:
        lacking["lpips"] = "it needs the weights of a backbone and of its heads (--lpips)"
    elif population.image is None:
        lacking["lpips"] = "these AU combinations are in no real picture to compare with"
    elif population.size < (least := _LEAST_SIZE[perceptual[0].backbone]):
        lacking["lpips"] = f"{perceptual[0].backbone} needs {least} px, these are {population.size}"
    if extractor.features_name == "au_probe":
        lacking["identity"] = "the probe has no embedding of a face by itself"
    if not drawn:
        lacking["diversity"] = "it needs a run that draws with other seeds"
    if refused := [f"{name}: {lacking[name]}" for name in asked if name in lacking]:
        raise ValueError("; ".join(refused))
    wanted = set(asked or METRICS) - set(lacking)
    notes = [] if asked else [f"No {_TITLES.get(n, n)}: {why}." for n, why in lacking.items()]
    if extractor.inception is None and wanted & {"fid", "kid"}:
        notes.append(
            f"FID({extractor.features_name}) and KID({extractor.features_name}) are on the "
            "scorer's features, and compare with no published figure."
        )
    return wanted, notes


@dataclasses.dataclass(frozen=True, eq=False)
class Extractions:
    """Units and features of every set of pictures of an evaluation.

    Attributes:
      system: those of the system's pictures.
      real: those of the records' real pictures; None where the records have none.
      reference: those of the records' references.
      truth: those of the real pictures of the seen test set.
    """

    system: Extraction
    real: Extraction | None
    reference: Extraction
    truth: Extraction


def extract_all(
    extractor: Extractor,
    population: Population,
    truth: Population,
    made: UInt8[np.ndarray, "M S S 3"],
) -> Extractions:
    """Applies the networks to every picture once.

    Args:
      extractor: networks of the evaluation.
      population: records that are evaluated.
      truth: the seen test set.
      made: the system's pictures of the records.
    """
    real = None if population.image is None else extractor.extract_real(population)
    return Extractions(
        system=extractor.extract(made, population.reference),
        real=real,
        reference=extractor.extract_references(population),
        truth=real if truth is population else extractor.extract_real(truth),
    )


def measure(
    results: Results,
    found: Extractions,
    wanted: Set[str],
    *,
    reader: TextReader | None,
    made: UInt8[np.ndarray, "M S S 3"],
    perceptual: Perceptual | None,
) -> None:
    """Computes the wanted metrics, except diversity, and stores them in the results.

    Args:
      results: results to fill in.
      found: units and features of the pictures.
      wanted: names of `METRICS`.
      reader: reads the texts, for AAAD beside the labels; None for the labels alone.
      made: the system's pictures.
      perceptual: LPIPS and its variables, or None.
    """
    population = results.population
    answers = {SYSTEM: found.system, REAL: found.real, REFERENCE: found.reference}
    answers = {name: extraction for name, extraction in answers.items() if extraction is not None}
    readings = {name: extraction.reading for name, extraction in answers.items()}
    alignments = {}
    if wanted & {"aaad", "units"}:
        alignments = _alignments(results, found, reader)
    if "aaad" in wanted:
        results.alignments = alignments
    if "units" in wanted:
        results.units = unit_report(readings, population.labels)
        members_of = groups(population)
        results.groups = group_scores(
            members_of,
            readings[SYSTEM],
            readings.get(REAL),
            population.labels,
            population.subjects,
            alignments["labels"].calibration,
        )
        if SKIN_TONE not in members_of:
            results.notes.append(f"The records know neither {SKIN_TONE} nor {AGE}.")
    _measure_distances(results, found, wanted, made, perceptual)
    if "identity" in wanted:
        features = {name: extraction.features for name, extraction in answers.items()}
        cosines = identity_scores(
            features[SYSTEM], features.get(REAL), features[REFERENCE], population.subjects
        )
        results.identity = {"features": results.features, **cosines}


def _alignments(
    results: Results, found: Extractions, reader: TextReader | None
) -> dict[str, Alignment]:
    """Computes AAAD with the labels and, with a reader, with the texts as it reads them."""
    population, truth = results.population, results.truth
    sides = {"labels": (population.asked, truth.asked)}
    if reader is not None:
        texts = (population.texts, truth.texts)
        sides["text reader"] = tuple(reader.probabilities(side) for side in texts)
    return {
        side: align_scores(
            found.system.reading,
            found.reference.reading,
            None if found.real is None else found.real.reading,
            text,
            found.truth.reading,
            truth_text,
            seed=results.seed,
        )
        for side, (text, truth_text) in sides.items()
    }


def _measure_distances(
    results: Results,
    found: Extractions,
    wanted: Set[str],
    made: UInt8[np.ndarray, "M S S 3"],
    perceptual: Perceptual | None,
) -> None:
    """Computes FID, KID and IS of the system and of the references, and LPIPS of their pairs."""
    population = results.population
    novel = population.split == "unseen-novel"  # no picture of the data shows its combinations
    against = found.truth if novel or found.real is None else found.real
    results.distance_population = (
        f"{against.features.count:,} real pictures of the seen test set"
        if against is found.truth
        else f"the {against.features.count:,} real pictures of these records"
    )
    for answer, extraction in ((SYSTEM, found.system), (REFERENCE, found.reference)):
        scores, warned = distance_scores(
            extraction.features, against.features, wanted, seed=results.seed
        )
        results.notes += [note for note in warned if note not in results.notes]
        if "lpips" in wanted:
            shown = made if answer == SYSTEM else population.reference
            scores.append(_lpips(perceptual, shown, population.image))
        if scores:
            results.distances[answer] = scores


def _lpips(
    perceptual: Perceptual,
    shown: UInt8[np.ndarray, "M S S 3"],
    real: UInt8[np.ndarray, "M S S 3"],
) -> Score:
    """Computes LPIPS of pictures to the real pictures of the same records."""
    module, variables = perceptual
    step = batch_size()
    pairs = (
        (shown[start : start + step], real[start : start + step])
        for start in range(0, len(shown), step)
    )
    found: Float[np.ndarray, " M"] = lpips.paired_distances(
        module, variables, pairs, batch_size=step
    )
    return lpips.score(module, found)


def measure_diversity(
    results: Results,
    extractor: Extractor,
    generator: Generator,
    made: UInt8[np.ndarray, "M S S 3"],
) -> None:
    """Draws some records again with other seeds and stores the diversity in the results.

    Args:
      results: results to fill in.
      extractor: networks of the evaluation.
      generator: the run that drew the pictures.
      made: its pictures with the first seed.
    """
    population = results.population
    count = min(DIVERSITY_RECORDS, len(population))
    indices = np.linspace(0, len(population) - 1, count).round().astype(int)
    drawn = [made[indices]]
    for number in range(1, DIVERSITY_SEEDS):
        seed = results.seed + number
        title = f"drawing, seed {seed}"
        drawn.append(draw(generator, population, indices, seed=seed, title=title))
    references = np.tile(population.reference[indices], (DIVERSITY_SEEDS, 1, 1, 1))
    features = extractor.extract(np.concatenate(drawn), references).features
    found = diversity_scores(features.values.reshape(DIVERSITY_SEEDS, count, -1))
    results.diversity = {
        "features": results.features,
        "records": count,
        "seeds": DIVERSITY_SEEDS,
        **found,
    }
