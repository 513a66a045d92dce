"""Sheets of faces to look at, and animations.

    python -m auface_jax.faces.sheet --out sheet.png
    python -m auface_jax.faces.sheet --source ict --facekit CLONE --kind conflicts --out sheet.png
    python -m auface_jax.faces.sheet --animate 6+12 --out smile.gif

Kinds of sheets:

units         the neutral face and each unit alone, people in columns
conflicts     units that pull against each other, people in columns
ladder        one person, each unit from rest to full contraction
combinations  one person through the 26 combinations of the dictionary
people        one frame each of many people, as a data set holds them
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Num
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
    """Metadata of a PNG that say that its face is drawn; other formats ignore them."""
    info = PngInfo()
    info.add_itxt("synthetic", "true")
    return info


def _named(units: Sequence[int]) -> str:
    """Units as a caption, such as "AU6+AU12"."""
    return "+".join(f"AU{n}" for n in units) or "neutral"


def _still(seed: int, column: int) -> Scene:
    """The recording of a person, in focus and turned half as much, so that rows compare well."""
    scene = sample_scene(np.random.default_rng([seed, column, 3]))
    return dataclasses.replace(
        scene, yaw=0.5 * scene.yaw, roll=0.5 * scene.roll, blur=0.0, jpeg_quality=UNCOMPRESSED
    )


def _draw(
    model: FaceModel, column: int, seed: int, intensities: Num[np.ndarray, "A"], size: int
) -> Image.Image:
    """Draws the person of a column."""
    person = sample_person(np.random.default_rng([seed, column, 0]), model)
    image, _ = render(model, person, intensities, _still(seed, column), size)
    return Image.fromarray(image)


def people_sheet(
    model: FaceModel,
    combinations: Sequence[Sequence[int]],
    size: int,
    people: int,
    seed: int,
    intensity: float = 1.0,
) -> Image.Image:
    """Draws a sheet with a row for each combination of units and a column for each person.

    Args:
        model: the face model.
        combinations: unit numbers of each row; () is the neutral face.
        size: pixels of one face.
        people: number of people.
        seed: seed of the people and their scenes.
        intensity: intensity of the units, 0 to 1.
    """
    sheet = Image.new("RGB", (_CAPTION + people * size, len(combinations) * size), "white")
    draw = ImageDraw.Draw(sheet)
    for row, units in enumerate(combinations):
        draw.text((3, row * size + size // 2 - 6), _named(units).replace("+AU", "+"), fill="black")
        values = labels_from_units(units) * np.float32(intensity)
        for column in range(people):
            face = _draw(model, column, seed, values, size)
            sheet.paste(face, (_CAPTION + column * size, row * size))
    return sheet


def unit_sheet(
    size: int, people: int, seed: int, intensity: float = 1.0, model: FaceModel | None = None
) -> Image.Image:
    """Draws the neutral face and each of the 12 units alone; see `people_sheet`."""
    combinations = [(), *((n,) for n in AU_NUMBERS)]
    return people_sheet(model or load_model(), combinations, size, people, seed, intensity)


def conflict_sheet(model: FaceModel, size: int, people: int, seed: int) -> Image.Image:
    """Draws the combinations of `CONFLICTS`, whose units pull against each other."""
    return people_sheet(model, [(), *CONFLICTS], size, people, seed)


def ladder_sheet(model: FaceModel, size: int, seed: int) -> Image.Image:
    """Draws one person, a row for each unit, from rest on the left to full contraction."""
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
    """Draws one person through the neutral face and the 26 combinations, captions below."""
    combinations = [(), *(interaction.units for interaction in INTERACTIONS)]
    height = size + _LINE
    sheet = Image.new("RGB", (columns * size, -(-len(combinations) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for k, units in enumerate(combinations):
        x, y = k % columns * size, k // columns * height
        face = _draw(model, 0, seed, labels_from_units(units).astype(np.float32), size)
        sheet.paste(face, (x, y))
        draw.text((x + 3, y + size + 2), _named(units).replace("+AU", "+"), fill="black")
    return sheet


def crowd_sheet(
    model: FaceModel, size: int, people: int, seed: int, columns: int = 8
) -> Image.Image:
    """Draws the first frame that is not neutral of each of the first people of a data set."""
    sheet = Image.new("RGB", (min(people, columns) * size, -(-people // columns) * size), "white")
    for index in range(people):
        frames = person_frames(index, NEUTRAL_FRAMES + 1, size, seed, model)
        face = Image.fromarray(frames[NEUTRAL_FRAMES].image)
        sheet.paste(face, (index % columns * size, index // columns * size))
    return sheet


def animation(
    model: FaceModel, units: tuple[int, ...], size: int, people: int, seed: int, frames: int = 24
) -> list[Image.Image]:
    """Draws the pictures of an expression that comes and goes, people side by side."""
    pictures = []
    for intensities in sequence(labels_from_units(units).astype(np.float32), frames):
        picture = Image.new("RGB", (people * size, size))
        for column in range(people):
            picture.paste(_draw(model, column, seed, intensities, size), (column * size, 0))
        pictures.append(picture)
    return pictures


def _parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="picture file to write")
    parser.add_argument("--source", choices=MODELS, default="builtin", help="face model")
    parser.add_argument("--facekit", help="ict: clone of the ICT-FaceKit repository")
    parser.add_argument("--kind", choices=KINDS, default="units", help="kind of the sheet")
    parser.add_argument(
        "--animate",
        metavar="UNITS",
        help="write an animation of these units, such as 6+12, to a .gif or .webp",
    )
    parser.add_argument("--size", type=int, default=128, help="pixels of one face")
    parser.add_argument("--people", type=int, default=5, help="number of people")
    parser.add_argument("--seed", type=int, default=0, help="seed of the people")
    parser.add_argument("--intensity", type=float, default=1.0, help="of each unit, 0 to 1")
    return parser


def main() -> None:
    """Writes the sheet or the animation that the command line asks for."""
    parser = _parser()
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
