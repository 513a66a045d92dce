"""From pictures to findings: who looks at what, and which figures can be had."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from auface_jax.evaluation.draw_system import batch_size, draw
from auface_jax.evaluation.extraction import View, Viewer
from auface_jax.evaluation.groups import AGE, SKIN_TONE, groups
from auface_jax.evaluation.population import Population
from auface_jax.evaluation.results import Findings
from auface_jax.evaluation.scores import (
    REAL,
    REFERENCE,
    SYSTEM,
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
from auface_jax.recognition.text_reader import TextReader

METRICS = ("aaad", "units", "fid", "kid", "is", "lpips", "identity", "diversity")
DIVERSITY_RECORDS, DIVERSITY_SEEDS = 64, 4
_TITLES = {"is": "IS", "lpips": "LPIPS"}
_LEAST_SIZE = {"alexnet": 35, "vgg16": 16}  # pixels a side for LPIPS


def choose(
    asked: Sequence[str],
    population: Population,
    viewer: Viewer,
    perceptual: tuple[lpips.LPIPS, Any] | None,
    *,
    drawn: bool,
) -> tuple[set[str], list[str]]:
    """The metrics that will be measured, and notes on those that cannot.

    Args:
      asked: of `METRICS`; none asks for all that can be had.
      perceptual: LPIPS and its variables, or None.
      drawn: whether the system is a run that can draw more.

    Raises:
      ValueError: one that was asked for by name cannot be had; says what it needs.
    """
    lacking = {}
    if viewer.inception is None:
        lacking["is"] = "it needs FID's Inception weights (--inception), and no others give one"
    elif len(population) < IS_SPLITS:
        lacking["is"] = f"its {IS_SPLITS} splits need as many pictures, these are {len(population)}"
    if perceptual is None:
        lacking["lpips"] = "it needs the weights of a backbone and of its heads (--lpips)"
    elif population.image is None:
        lacking["lpips"] = "these label rows are in no real picture to compare with"
    elif population.size < (least := _LEAST_SIZE[perceptual[0].backbone]):
        lacking["lpips"] = f"{perceptual[0].backbone} needs {least} px, these are {population.size}"
    if viewer.features_name == "au_probe":
        lacking["identity"] = "the probe has no embedding of a face by itself"
    if not drawn:
        lacking["diversity"] = "it needs a run that draws with other seeds"
    if refused := [f"{name}: {lacking[name]}" for name in asked if name in lacking]:
        raise ValueError("; ".join(refused))
    wanted = set(asked or METRICS) - set(lacking)
    notes = [] if asked else [f"No {_TITLES.get(n, n)}: {why}." for n, why in lacking.items()]
    if viewer.inception is None and wanted & {"fid", "kid"}:
        notes.append(
            f"FID({viewer.features_name}) and KID({viewer.features_name}) are on the scorer's "
            "features, and compare with no published figure."
        )
    return wanted, notes


@dataclasses.dataclass(frozen=True, eq=False)
class Views:
    """What the networks saw: in the system's pictures, in real ones, in references; and in the
    real pictures of the seen test set."""

    system: View
    real: View | None
    reference: View
    truth: View


def look(
    viewer: Viewer,
    population: Population,
    truth: Population,
    made: UInt8[np.ndarray, "M S S 3"],
) -> Views:
    """Has every picture looked at once."""
    real = None if population.image is None else viewer.real(population)
    return Views(
        system=viewer.look(made, population.reference),
        real=real,
        reference=viewer.references(population),
        truth=real if truth is population else viewer.real(truth),
    )


def measure(
    findings: Findings,
    views: Views,
    wanted: set[str],
    *,
    reader: TextReader | None,
    made: UInt8[np.ndarray, "M S S 3"],
    perceptual: tuple[lpips.LPIPS, Any] | None,
) -> None:
    """Fills in the findings, but for the diversity."""
    population, truth, seed = findings.population, findings.truth, findings.seed
    answers = {SYSTEM: views.system, REAL: views.real, REFERENCE: views.reference}
    answers = {name: view for name, view in answers.items() if view is not None}
    readings = {name: view.reading for name, view in answers.items()}
    real = readings.get(REAL)
    sides = {"labels": (population.asked, truth.asked)}
    if reader is not None:
        texts = (population.texts, truth.texts)
        sides["text reader"] = tuple(reader.probabilities(side) for side in texts)
    alignments = {}
    if wanted & {"aaad", "units"}:
        for side, (text, truth_text) in sides.items():
            alignments[side] = align_scores(
                readings[SYSTEM],
                readings[REFERENCE],
                real,
                text,
                views.truth.reading,
                truth_text,
                seed=seed,
            )
    if "aaad" in wanted:
        findings.alignments = alignments
    if "units" in wanted:
        findings.units = unit_report(readings, population.labels)
        rows_of = groups(population)
        calibration = alignments["labels"].calibration
        findings.groups = group_scores(
            rows_of,
            readings[SYSTEM],
            real,
            population.labels,
            population.subjects,
            calibration,
        )
        if SKIN_TONE not in rows_of:
            findings.notes.append(f"The records know neither {SKIN_TONE} nor {AGE}.")
    _measure_distances(findings, views, wanted, made, perceptual)
    if "identity" in wanted:
        features = {name: view.features for name, view in answers.items()}
        found = identity_scores(
            features[SYSTEM], features.get(REAL), features[REFERENCE], population.subjects
        )
        findings.identity = {"features": findings.features, **found}


def _measure_distances(
    findings: Findings,
    views: Views,
    wanted: set[str],
    made: UInt8[np.ndarray, "M S S 3"],
    perceptual: tuple[lpips.LPIPS, Any] | None,
) -> None:
    """FID, KID and IS of the system and of the references; LPIPS of their pairs."""
    population = findings.population
    novel = population.split == "unseen-novel"  # its rows are in no picture of the data
    against = views.truth if novel or views.real is None else views.real
    findings.distance_population = (
        f"{against.features.count:,} real pictures of the seen test set"
        if against is views.truth
        else f"the {against.features.count:,} real pictures of these records"
    )
    for answer, view in ((SYSTEM, views.system), (REFERENCE, views.reference)):
        scores, warned = distance_scores(
            view.features, against.features, wanted, seed=findings.seed
        )
        findings.notes += [note for note in warned if note not in findings.notes]
        if "lpips" in wanted:
            shown = made if answer == SYSTEM else population.reference
            scores.append(_lpips(perceptual, shown, population.image))
        if scores:
            findings.distances[answer] = scores


def _lpips(perceptual: tuple[lpips.LPIPS, Any], shown: np.ndarray, real: np.ndarray) -> Score:
    module, variables = perceptual
    step = batch_size()
    pairs = (
        (shown[start : start + step], real[start : start + step])
        for start in range(0, len(shown), step)
    )
    return lpips.score(module, lpips.paired_distances(module, variables, pairs, batch_size=step))


def measure_diversity(
    findings: Findings,
    viewer: Viewer,
    generator: Generator,
    made: UInt8[np.ndarray, "M S S 3"],
) -> None:
    """Draws some records again with other seeds; the first seed's pictures are at hand."""
    population = findings.population
    count = min(DIVERSITY_RECORDS, len(population))
    rows = np.linspace(0, len(population) - 1, count).round().astype(int)
    drawn = [made[rows]]
    for number in range(1, DIVERSITY_SEEDS):
        seed = findings.seed + number
        drawn.append(draw(generator, population, rows, seed=seed, title=f"drawing, seed {seed}"))
    references = np.tile(population.reference[rows], (DIVERSITY_SEEDS, 1, 1, 1))
    features = viewer.look(np.concatenate(drawn), references).features
    found = diversity_scores(features.values.reshape(DIVERSITY_SEEDS, count, -1))
    findings.diversity = {
        "features": findings.features,
        "records": count,
        "seeds": DIVERSITY_SEEDS,
        **found,
    }
