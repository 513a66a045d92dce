"""Sheets of descriptions and faces, as in the paper.

Figure 4 shows text, units, reference and each system's picture. Figures 5 to 7 show one reference
with seven descriptions that differ little.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from auface_jax import facs
from auface_jax.data.loading.example_selection import distinct_examples
from auface_jax.evaluation.draw_system import draw
from auface_jax.evaluation.population import Population
from auface_jax.facs.interactions import OPPOSED_PAIRS
from auface_jax.generation.generator import Generator, Request
from auface_jax.images import files, sheets
from auface_jax.images.comparison import unit_caption

_ROWS = 6
# Figures 5 to 7: the part of the face that changes -> the sets of units.
FAMILIES = {
    "lip corners": ((12,), (6, 12), (12, 15), (6, 12, 15), (12, 17), (12, 15, 17), (15, 17)),
    "brows": ((1,), (2,), (4,), (1, 2), (1, 4), (2, 4), (1, 2, 4)),
    "lips": ((12, 23), (12, 24), (14, 23), (14, 17), (17, 23), (17, 24), (15, 23)),
}


def system_figure(
    generators: Mapping[str, Generator], population: Population, guidances: Mapping[str, float]
) -> Image.Image:
    """Draws Figure 4, one row for each of some records.

    The records show different people and AU combinations; those with opposed units come first. A
    row shows the record's text, units, reference and real picture, and each system's picture.

    Args:
      generators: name of a system -> its run.
      population: records to choose from.
      guidances: name of a system -> its guidance scale.
    """
    indices = _figure_records(population)
    columns = {"reference": population.reference[indices], "real": population.image[indices]}
    for name, generator in generators.items():
        generator.config.decode.guidance = guidances[name]
        columns[name] = draw(generator, population, indices, seed=0, title=name)
    height, width = 1.55, 1.5
    figure = _figure(4.0 + width * len(columns), 0.5 + height * len(indices))
    grid = figure.subplots(
        len(indices), 2 + len(columns), squeeze=False, width_ratios=[2.2, 0.5, *[1] * len(columns)]
    )
    for row, index in enumerate(indices):
        words, units, *shown = grid[row]
        _write(words, textwrap.fill(population.texts[index], 62, max_lines=13), size=6.5)
        _write(units, unit_caption(population.labels[index]).replace(" ", "\n"), size=8)
        for axes, (name, images) in zip(shown, columns.items(), strict=True):
            _show(axes, images[row])
            if row == 0:
                axes.set_title(textwrap.fill(name, 18), fontsize=8)
    return sheets.figure_image(figure)


def description_figure(
    generator: Generator, reference: UInt8[np.ndarray, "S S 3"], family: str, guidance: float
) -> Image.Image:
    """Draws one reference and its pictures for the descriptions of one of `FAMILIES`."""
    rng = np.random.default_rng(0)
    labels = [facs.labels_from_units(units) for units in FAMILIES[family]]
    dictionary = facs.load_dictionary(generator.config.data.dictionary or None)
    texts = [facs.describe(vector, rng, dictionary) for vector in labels]
    made = generator.generate(
        [Request(reference, text, 0, vector) for text, vector in zip(texts, labels, strict=True)],
        guidance=guidance,
    )
    figure = _figure(1.75 * (1 + len(texts)), 3.5)
    faces, words = figure.subplots(2, 1 + len(texts), height_ratios=[1.2, 0.8])
    _show(faces[0], reference)
    faces[0].set_title("reference", fontsize=8)
    words[0].axis("off")
    for column, (image, vector, text) in enumerate(zip(made, labels, texts, strict=True), start=1):
        _show(faces[column], image)
        faces[column].set_title(unit_caption(vector), fontsize=8)
        _write(words[column], textwrap.fill(text, 31, max_lines=12), size=6)
    return sheets.figure_image(figure)


def write_figures(
    generators: Mapping[str, Generator],
    population: Population,
    guidances: Mapping[str, float],
    folder: Path,
) -> dict[str, Path]:
    """Writes Figure 4 of all systems and Figures 5 to 7 of the first one.

    Args:
      generators: name of a system -> its run.
      population: records to choose from.
      guidances: name of a system -> its guidance scale.
      folder: folder to write to.

    Returns:
      Caption -> file of each figure.

    Raises:
      ValueError: the records' pictures have another size than the systems' pictures.
    """
    name, generator = next(iter(generators.items()))
    made = {
        "Figure 4: text, units, reference, real picture, and what each system draws": (
            "reproduction_systems.png",
            system_figure(generators, population, guidances),
        )
    }
    people = population.people
    for number, family in enumerate(FAMILIES):
        person = people[number * len(people) // len(FAMILIES)]
        reference = population.reference[population.subjects.index(person)]
        caption = f"Figure {5 + number}: one reference, seven descriptions of the {family}"
        picture = description_figure(generator, reference, family, guidances[name])
        made[caption] = f"reproduction_{family.replace(' ', '_')}.png", picture
    paths = {}
    for caption, (file, picture) in made.items():
        paths[caption] = folder / file
        small = picture.convert("RGB").quantize(256)  # a third of the bytes
        files.save_png(small, folder / file, synthetic="true", system=", ".join(generators))
    return paths


def _figure_records(population: Population) -> Int[np.ndarray, " K"]:
    """Returns indices of records of different people and labels, opposed units first."""
    opposed = [
        sum(
            labels[facs.AU_NUMBERS.index(first)] == 1 and labels[facs.AU_NUMBERS.index(second)] == 1
            for first, second in OPPOSED_PAIRS
        )
        for labels in population.labels
    ]
    order = np.argsort(-np.minimum(opposed, 1), kind="stable")
    records = {
        "labels": population.labels[order],
        "subjects": [population.subjects[index] for index in order],
    }
    return order[distinct_examples(records, _ROWS)]


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _show(axes: Axes, image: UInt8[np.ndarray, "S S 3"]) -> None:
    axes.imshow(image, interpolation="bicubic")
    axes.set_xticks([])
    axes.set_yticks([])


def _write(axes: Axes, text: str, *, size: float) -> None:
    axes.axis("off")
    axes.text(0, 1, text, fontsize=size, va="top", transform=axes.transAxes)
