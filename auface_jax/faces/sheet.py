"""Sheets of faces to look at, and a moving one.

    python -m auface_jax.faces.sheet --out sheet.png
    python -m auface_jax.faces.sheet --source ict --facekit CLONE --kind conflicts --out sheet.png
    python -m auface_jax.faces.sheet --animate 6+12 --out smile.gif

`units`: the neutral face and each unit alone, people in columns. `conflicts`: units that pull
against each other, likewise. `ladder`: one person, each unit from rest to full. `combinations`:
one person through the 26 combinations of the dictionary. `people`: a frame each of many people,
as a data set holds them.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from auface_jax.faces.mesh.face_model import FaceModel
from auface_jax.faces.person import Scene
from auface_jax.faces.registry import MODELS, load_model
from auface_jax.faces.render.film import UNCOMPRESSED
from auface_jax.faces.render.render import render
from auface_jax.faces.sampler import (
    NEUTRAL_FRAMES,
    person_frames,
    sample_person,
    sample_scene,
    sequence,
)
from auface_jax.facs import AU_NUMBERS, INTERACTIONS, labels_from_units, parse_units

KINDS = ("units", "conflicts", "ladder", "combinations", "people")
CONFLICTS = (
    (12, 15), (1, 4), (6, 12, 15), (12, 15, 17), (6, 12, 15, 17), (1, 2, 4),
)  # fmt: skip
_STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # of a ladder
_CAPTION = 88  # pixels of a column of captions
_LINE = 16  # pixels of a line of captions


def synthetic_info() -> PngInfo:
    """What a PNG of a drawn face says of itself; other formats ignore it."""
    info = PngInfo()
    info.add_itxt("synthetic", "true")
    return info


def _named(units) -> str:
    return "+".join(f"AU{n}" for n in units) or "neutral"


def _still(seed: int, column: int) -> Scene:
    """Where a person is recorded, turned half as much and in focus, so that rows compare well."""
    scene = sample_scene(np.random.default_rng([seed, column, 3]))
    return dataclasses.replace(
        scene, yaw=0.5 * scene.yaw, roll=0.5 * scene.roll, blur=0.0, jpeg_quality=UNCOMPRESSED
    )


def _draw(model, column, seed, intensities, size) -> Image.Image:
    person = sample_person(np.random.default_rng([seed, column, 0]), model)
    image, _ = render(model, person, intensities, _still(seed, column), size)
    return Image.fromarray(image)


def people_sheet(
    model: FaceModel, rows: list[tuple[int, ...]], size: int, people: int, seed: int,
    intensity: float = 1.0,
) -> Image.Image:  # fmt: skip
    """One row for each set of units, one column for each person.

    Args:
        model: the face model.
        rows: unit numbers of each row; () is the neutral face.
        size: pixels of one face.
        people: number of columns.
        seed: who they are.
        intensity: of the units shown.
    """
    sheet = Image.new("RGB", (_CAPTION + people * size, len(rows) * size), "white")
    draw = ImageDraw.Draw(sheet)
    for row, units in enumerate(rows):
        draw.text((3, row * size + size // 2 - 6), _named(units).replace("+AU", "+"), fill="black")
        values = labels_from_units(units) * np.float32(intensity)
        for column in range(people):
            face = _draw(model, column, seed, values, size)
            sheet.paste(face, (_CAPTION + column * size, row * size))
    return sheet


def unit_sheet(
    size: int, people: int, seed: int, intensity: float = 1.0, model: FaceModel | None = None
) -> Image.Image:
    """The neutral face and each of the 12 units alone; see `people_sheet`."""
    rows = [(), *((n,) for n in AU_NUMBERS)]
    return people_sheet(model or load_model(), rows, size, people, seed, intensity)


def conflict_sheet(model: FaceModel, size: int, people: int, seed: int) -> Image.Image:
    """The six sets of units that pull against each other; see `people_sheet`."""
    return people_sheet(model, [(), *CONFLICTS], size, people, seed)


def ladder_sheet(model: FaceModel, size: int, seed: int) -> Image.Image:
    """One person, a row for each unit, from rest on the left to full contraction on the right."""
    sheet = Image.new("RGB", (_CAPTION + len(_STEPS) * size, 12 * size + _LINE), "white")
    draw = ImageDraw.Draw(sheet)
    for column, step in enumerate(_STEPS):
        draw.text((_CAPTION + column * size + size // 2 - 8, 2), f"{step:.1f}", fill="black")
        for row, number in enumerate(AU_NUMBERS):
            values = labels_from_units([number]) * np.float32(step)
            face = _draw(model, 0, seed, values, size)
            sheet.paste(face, (_CAPTION + column * size, _LINE + row * size))
    for row, number in enumerate(AU_NUMBERS):
        draw.text((3, _LINE + row * size + size // 2 - 6), f"AU{number}", fill="black")
    return sheet


def combination_sheet(model: FaceModel, size: int, seed: int, columns: int = 7) -> Image.Image:
    """One person through the neutral face and the 26 combinations, captions below."""
    sets = [(), *(interaction.units for interaction in INTERACTIONS)]
    height = size + _LINE
    sheet = Image.new("RGB", (columns * size, -(-len(sets) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for k, units in enumerate(sets):
        x, y = k % columns * size, k // columns * height
        face = _draw(model, 0, seed, labels_from_units(units).astype(np.float32), size)
        sheet.paste(face, (x, y))
        draw.text((x + 3, y + size + 2), _named(units).replace("+AU", "+"), fill="black")
    return sheet


def crowd_sheet(
    model: FaceModel, size: int, people: int, seed: int, columns: int = 8
) -> Image.Image:
    """One frame each of the first people of a data set, the first that is not neutral."""
    sheet = Image.new("RGB", (min(people, columns) * size, -(-people // columns) * size), "white")
    for index in range(people):
        frames = person_frames(index, NEUTRAL_FRAMES + 1, size, seed, model)
        face = Image.fromarray(frames[NEUTRAL_FRAMES].image)
        sheet.paste(face, (index % columns * size, index // columns * size))
    return sheet


def animation(
    model: FaceModel, units: tuple[int, ...], size: int, people: int, seed: int, frames: int = 24
) -> list[Image.Image]:
    """Pictures of an expression that comes and goes, people side by side."""
    pictures = []
    for intensities in sequence(labels_from_units(units).astype(np.float32), frames):
        picture = Image.new("RGB", (people * size, size))
        for column in range(people):
            picture.paste(_draw(model, column, seed, intensities, size), (column * size, 0))
        pictures.append(picture)
    return pictures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="picture file to write")
    parser.add_argument("--source", choices=MODELS, default="builtin", help="the face model")
    parser.add_argument("--facekit", help="ict: a clone of the ICT-FaceKit repository")
    parser.add_argument("--kind", choices=KINDS, default="units")
    parser.add_argument(
        "--animate", metavar="UNITS", help="6+12, say, in place of a sheet; to a .gif or .webp"
    )
    parser.add_argument("--size", type=int, default=128, help="pixels of one face")
    parser.add_argument("--people", type=int, default=5, help="number of people")
    parser.add_argument("--seed", type=int, default=0, help="who they are")
    parser.add_argument("--intensity", type=float, default=1.0, help="of each unit, 0 to 1")
    args = parser.parse_args()
    if args.people < 1:
        parser.error(f"--people is {args.people}; it must be at least 1")
    if args.animate and args.out.suffix not in (".gif", ".webp"):
        parser.error(f"--out is {args.out}; an animation is a .gif or a .webp")
    if args.out.suffix.lower() not in Image.registered_extensions():
        parser.error(f"--out is {args.out}; name a picture file, such as {args.out}.png")
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        model = load_model(args.source, args.facekit)
        if args.animate:
            units = parse_units(args.animate)
            first, *rest = animation(model, units, args.size, args.people, args.seed)
            first.save(args.out, save_all=True, append_images=rest, duration=80, loop=0)
            print(f"{_named(units)}, {args.people} people -> {args.out}")
            return
        if args.kind == "units":
            sheet = unit_sheet(args.size, args.people, args.seed, args.intensity, model)
        elif args.kind == "conflicts":
            sheet = conflict_sheet(model, args.size, args.people, args.seed)
        elif args.kind == "people":
            sheet = crowd_sheet(model, args.size, args.people, args.seed)
        elif args.kind == "ladder":
            sheet = ladder_sheet(model, args.size, args.seed)
        else:
            sheet = combination_sheet(model, args.size, args.seed)
        sheet.save(args.out, pnginfo=synthetic_info())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{args.kind} of {args.source} faces -> {args.out}")


if __name__ == "__main__":
    main()
