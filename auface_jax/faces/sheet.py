"""A sheet of faces to look at: people in columns, the neutral face and each unit alone in rows."""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from ..facs import AU_NUMBERS
from .builtin import face_model
from .person import Scene
from .render import render
from .sampler import sample_person, sample_scene

_CAPTION = 44  # pixels of the column of captions


def unit_sheet(size: int, people: int, seed: int, intensity: float = 1.0) -> Image.Image:
    """The neutral face and each of the 12 units alone, for several people (columns).

    Args:
        size: pixels of one face.
        people: number of columns.
        seed: who they are.
        intensity: of the unit shown.
    """
    model = face_model()
    rows = [("neutral", np.zeros(12, np.float32))]
    for k, number in enumerate(AU_NUMBERS):
        rows.append((f"AU{number}", np.eye(12, dtype=np.float32)[k] * intensity))
    sheet = Image.new("RGB", (_CAPTION + people * size, len(rows) * size), "white")
    draw = ImageDraw.Draw(sheet)
    for column in range(people):
        person = sample_person(np.random.default_rng([seed, column, 0]))
        scene = sample_scene(np.random.default_rng([seed, column, 1, 0]))
        scene = Scene(**{**vars(scene), "yaw": 0.5 * scene.yaw, "roll": 0.5 * scene.roll})
        for row, (_, intensities) in enumerate(rows):
            image, _ = render(model, person, intensities, scene, size)
            sheet.paste(Image.fromarray(image), (_CAPTION + column * size, row * size))
    for row, (caption, _) in enumerate(rows):
        draw.text((3, row * size + size // 2 - 6), caption, fill="black")
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="picture file to write")
    parser.add_argument("--size", type=int, default=128, help="pixels of one face")
    parser.add_argument("--people", type=int, default=5, help="number of people")
    parser.add_argument("--seed", type=int, default=0, help="who they are")
    parser.add_argument("--intensity", type=float, default=1.0, help="of each unit, 0 to 1")
    args = parser.parse_args()
    if args.people < 1:
        parser.error(f"--people is {args.people}; it must be at least 1")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    unit_sheet(args.size, args.people, args.seed, args.intensity).save(args.out)
    print(f"12 units x {args.people} people -> {args.out}")


if __name__ == "__main__":
    main()
