"""One whole evaluation: from its options to the report."""

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from auface_jax import facs
from auface_jax.evaluation import prompts, report, run_metrics
from auface_jax.evaluation.cache import cache_folder
from auface_jax.evaluation.draw_system import draw
from auface_jax.evaluation.evaluator import load_evaluator
from auface_jax.evaluation.extraction import Extractor
from auface_jax.evaluation.plots import write_plots
from auface_jax.evaluation.population import Population, load_population, same_data
from auface_jax.evaluation.results import Results
from auface_jax.evaluation.wording import DICTIONARY, reworded
from auface_jax.generation.generator import Generator
from auface_jax.pretrained import convert
from auface_jax.pretrained.lpips import load_lpips
from auface_jax.recognition.image_recognizer import load_recognizer
from auface_jax.recognition.roles import loss_recognizers
from auface_jax.recognition.text_reader import load_text_reader
from auface_jax.runs.console import say

# Folders of converted weights that are used if they exist and no option names others.
INCEPTION, LPIPS = "weights/inception", ("weights/alexnet", "weights/lpips-alexnet")


def default_inception() -> str | None:
    """Returns the default folder of weights for FID, KID and IS, or None if it does not exist."""
    return INCEPTION if Path(INCEPTION).is_dir() else None


def default_lpips() -> tuple[str, str] | None:
    """Returns the default folders of weights for LPIPS, or None unless both exist."""
    return LPIPS if all(Path(part).is_dir() for part in LPIPS) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Options of an evaluation: of a Stage II run, or of another system's pictures.

    Attributes:
      out: folder that the report is written to.
      scorer: folder of the evaluator: a run of au_image or au_probe, or converted weights.
      run: folder of a finished Stage II run; "" for another system.
      decode: changes to the run's `decode` config.
      images: folder of another system's pictures; "" for a run.
      prompts: folder of the prompts that the pictures were made for.
      resize: whether to accept pictures that are squares of one other size.
      loss_recognizers: recognisers that trained the other system.
      data: folder of the data set; "" takes the one that the run or the prompts name.
      split: split of the records, a key of `population.SPLITS`.
      limit: largest number of records, taken evenly over the split; None takes all.
      text_reader: folder of a run of au_text, or "embedded"; "" for none.
      wording: the words of the texts, see `wording.reworded`.
      degrees: whether the dictionary's texts have a FACS degree word before each construct.
      metrics: names of `run_metrics.METRICS`; () measures all that can be measured.
      inception: folder of converted weights for FID, KID and IS, or None.
      lpips: folders of converted weights for LPIPS, its backbone and its heads, or None.
      name: name of the system in tables; "" takes that of its folder.
      beside: folders of earlier reports to show in the same table.
      seed: seed of pictures, shuffled texts and intervals.
      cache: whether to keep readings of real pictures for later evaluations.
    """

    out: Path
    scorer: str
    run: str = ""
    decode: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    images: str = ""
    prompts: str = ""
    resize: bool = False
    loss_recognizers: tuple[str, ...] = ()
    data: str = ""
    split: str = "test"
    limit: int | None = None
    text_reader: str = ""
    wording: str = DICTIONARY
    degrees: bool = False
    metrics: tuple[str, ...] = ()
    inception: str | None = dataclasses.field(default_factory=default_inception)
    lpips: tuple[str, str] | None = dataclasses.field(default_factory=default_lpips)
    name: str = ""
    beside: tuple[str, ...] = ()
    seed: int = 0
    cache: bool = True


def evaluate(options: EvaluationOptions) -> None:
    """Scores a system's pictures and writes figures, plots and the report.

    Raises:
      prompts.PicturesError: another system's pictures are not those that the prompts ask for; the
        faults are also in the file `report.FAULTS` of the folder of the report.
      ValueError: an option is illegal, or a run, a data set or a report cannot be used.
      OSError: a file cannot be read or written.
    """
    out, began = options.out, time.monotonic()
    generator = _load_generator(options) if options.run else None
    population, notes = _load_population(options, generator)
    truth = population.seen_test()
    say(f"{population}")
    reader = load_text_reader(Path(options.text_reader)) if options.text_reader else None
    perceptual = load_lpips(*options.lpips) if options.lpips else None
    extractor = _load_extractor(options)
    wanted, left_out = run_metrics.choose_metrics(
        options.metrics, population, extractor, perceptual, drawn=generator is not None
    )
    evaluator = extractor.evaluator
    results = Results(
        name=options.name or Path(options.run or options.images).name,
        about=_about(options, generator),
        population=population,
        truth=truth,
        evaluator={
            "name": evaluator.name,
            "kind": evaluator.kind,
            "fingerprint": evaluator.fingerprint,
        },
        text_reader=reader and {"name": options.text_reader, "fingerprint": reader.fingerprint},
        seed=options.seed,
        features=extractor.features_name,
        notes=notes + left_out,
    )
    beside = report.read_beside(options.beside, results)
    report.make_folder(out)  # every fault that can be found early is found before the long work

    if generator:
        made = draw(generator, population, seed=options.seed)
        say(f"{len(made):,} pictures drawn, {_since(began)}")
    else:
        made = _read_pictures(options, population)
        results.notes += duplicate_notes(made)
        say(f"{len(made):,} pictures read, {_since(began)}")
    found = run_metrics.extract_all(extractor, population, truth, made)
    say(f"every picture looked at, {_since(began)}")
    run_metrics.measure(results, found, wanted, reader=reader, made=made, perceptual=perceptual)
    if "diversity" in wanted:
        run_metrics.measure_diversity(results, extractor, generator, made)
    reading = found.system.reading
    paths = write_plots(results, out, made, reading.units)
    report.write_records(out / report.RECORDS, results, reading.probabilities)
    report.write_report(results, out, beside=beside, plots=paths)
    for line in report.summary(results):
        say(line)
    say(f"{out / report.MARKDOWN}, {_since(began)}")


def _load_generator(options: EvaluationOptions) -> Generator:
    generator = Generator.from_run(options.run)
    generator.config.decode.update(options.decode)
    return generator


def _load_population(
    options: EvaluationOptions, generator: Generator | None
) -> tuple[Population, list[str]]:
    """Loads the records to evaluate, with notes on them for the report."""
    if generator is None:
        return prompts.load_prompts(options.prompts, options.data), []
    config = generator.config.data
    population = load_population(
        options.data or config.dir,
        options.split,
        limit=options.limit,
        degrees=options.degrees,
        dictionary=facs.load_dictionary(config.get("dictionary") or None),
    )
    population = reworded(population, options.wording)
    if options.data and not (Path(config.dir).exists() and same_data(population, config.dir)):
        return population, [
            f"{options.data} is not the data set that the run's config names: the run may have "
            "been trained on these people and AU combinations."
        ]
    return population, []


def _load_extractor(options: EvaluationOptions) -> Extractor:
    """Loads the networks, and refuses an evaluator that trained the system."""
    if options.run:
        forbidden = loss_recognizers(options.run)
    else:
        forbidden = {run: load_recognizer(run).fingerprint for run in options.loss_recognizers}
    evaluator = load_evaluator(options.scorer, forbidden=forbidden)
    inception = convert.load(options.inception, "inception") if options.inception else None
    return Extractor(evaluator, inception, cache_folder() if options.cache else None)


def _about(options: EvaluationOptions, generator: Generator | None) -> dict[str, Any]:
    """Describes the system for the report."""
    if generator is None:
        return {"images": options.images, "prompts": options.prompts}
    return {"run": options.run, "decode": generator.config.decode.to_dict()}


def _read_pictures(
    options: EvaluationOptions, population: Population
) -> UInt8[np.ndarray, "M S S 3"]:
    """Reads another system's pictures; lists their faults in a file if there are any."""
    path = options.out / report.FAULTS
    try:
        made = prompts.read_pictures(population, options.images, resize=options.resize)
    except prompts.PicturesError as error:
        path.write_text(error.listing)
        raise
    path.unlink(missing_ok=True)  # faults of an earlier attempt
    return made


def duplicate_notes(made: UInt8[np.ndarray, "M S S 3"]) -> list[str]:
    """Returns a note if pictures of several records are equal to the last pixel, else no note."""
    different = len({hashlib.sha256(picture.tobytes()).digest() for picture in made})
    if different == len(made):
        return []
    return [f"Of the {len(made):,} pictures only {different:,} differ from each other."]


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s since the start"
