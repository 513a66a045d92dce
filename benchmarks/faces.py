"""Speed of rendering open faces, and size of their images.

    python -m benchmarks.faces
    python -m benchmarks.faces --facekit CLONE --rounds 7

Each round renders a person's frames with every face model at every size and encodes them as PNG, as
each process of a build does; the work that is done once a person (shape, skin, hair, glasses) is
included. Rates are images per second of this process's processor time, which does not depend on
other programs. They are medians over the rounds, each with another person.
"""

import argparse
import json
import statistics
import sys
import time

from auface_jax.data.record import encode_image
from auface_jax.faces.mesh.face_model import FaceModel
from auface_jax.faces.registry import load_model
from auface_jax.faces.sampler import person_frames

SIZES = (64, 128, 256)
SEED = 17


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--facekit", help="a clone of the ICT-FaceKit repository, to measure ict")
    parser.add_argument("--rounds", type=int, default=5, help="people, with every model and size")
    parser.add_argument("--frames", type=int, default=34, help="of each person")
    options = parser.parse_args()
    if options.rounds < 1 or options.frames < 1:
        parser.error("--rounds and --frames must be at least 1")
    try:
        models = [load_model()]
        if options.facekit:
            models.append(load_model("ict", options.facekit))
    except ValueError as error:
        sys.exit(f"error: {error}")

    measured = {(model, size): [] for size in SIZES for model in models}
    for model in models:
        person_frames(0, 3, min(SIZES), SEED, model)  # compiles
    for person in range(1, options.rounds + 1):
        for (model, size), rounds in measured.items():
            rounds.append(draw(model, size, person, options.frames))
    for (model, size), rounds in measured.items():
        rates = sorted(rate for rate, _ in rounds)
        line = {"model": model.name, "size": size, "rounds": [round(rate, 1) for rate in rates]}
        line["images_per_second"] = round(statistics.median(rates), 1)
        line["kilobytes_per_image"] = round(statistics.mean(size for _, size in rounds), 1)
        print(json.dumps(line))
    print(table(models, measured))


def draw(model: FaceModel, size: int, person: int, frames: int) -> tuple[float, float]:
    """Measures images per second of processor time, and kilobytes per image."""
    began = time.process_time()
    drawn = person_frames(person, frames, size, SEED, model)
    encoded = [encode_image(frame.image) for frame in drawn]
    seconds = time.process_time() - began
    return frames / seconds, sum(map(len, encoded)) / frames / 1e3


def table(models: list[FaceModel], measured: dict) -> str:
    """Formats the medians as a Markdown table."""
    names = [model.name for model in models]
    heads = [f"{name}, images/s" for name in names] + [f"{name}, kB an image" for name in names]
    lines = ["| size | " + " | ".join(heads) + " |", "|---" * (1 + len(heads)) + "|"]
    for size in SIZES:
        rates, sizes = [], []
        for model in models:
            rounds = measured[model, size]
            rates.append(f"{statistics.median(rate for rate, _ in rounds):.0f}")
            sizes.append(f"{statistics.mean(kilobytes for _, kilobytes in rounds):.1f}")
        lines.append(f"| {size} | " + " | ".join(rates + sizes) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
