"""Share of the image that each unit changes, with and without wrinkles.

    python -m benchmarks.visibility
    python -m benchmarks.visibility --source ict --facekit CLONE

A pixel has changed if a channel differs by more than 20 of 255 from the neutral face of the same
person in the same scene. Skin without wrinkles moves in the same way: the share without wrinkles
shows that a unit is a movement and not only a pattern of wrinkles.
"""

import argparse
import dataclasses
import sys

import numpy as np
from jaxtyping import Float64

from auface_jax.faces.mesh.face_model import FaceModel
from auface_jax.faces.registry import MODELS, load_model
from auface_jax.faces.render.render import render
from auface_jax.faces.sampler import sample_person, sample_scene
from auface_jax.facs import AU_NUMBERS, labels_from_units

_THRESHOLD = 20  # of 255


def visibility(
    model: FaceModel, people: int = 20, size: int = 128, seed: int = 0
) -> Float64[np.ndarray, "A 4"]:
    """Computes the mean share of changed pixels of each unit.

    Args:
        model: face model.
        people: number of people to average over.
        size: image size in pixels.
        seed: seed of the people.

    Returns:
        Shares at intensity 1, at 1 without wrinkles, at 0.5, and at 0.5 without wrinkles.
    """
    shares = np.zeros((people, len(AU_NUMBERS), 4))
    for index in range(people):
        person = sample_person(np.random.default_rng([seed, index, 0]), model)
        smooth = dataclasses.replace(person, wrinkle_depth=0.0)
        scene = sample_scene(np.random.default_rng([seed, index, 3]))
        rest, _ = render(model, person, np.zeros(len(AU_NUMBERS)), scene, size)
        for k, number in enumerate(AU_NUMBERS):
            unit = labels_from_units([number]).astype(np.float32)
            for case, (subject, intensities) in enumerate(
                ((person, unit), (smooth, unit), (person, 0.5 * unit), (smooth, 0.5 * unit))
            ):
                image, _ = render(model, subject, intensities, scene, size)
                changed = np.abs(image.astype(int) - rest).max(-1) > _THRESHOLD
                shares[index, k, case] = changed.mean()
    return shares.mean(0)


def main() -> None:
    """Prints the shares of all units as a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", choices=MODELS, default="builtin", help="face model")
    parser.add_argument("--facekit", help="ict: clone of the ICT-FaceKit repository")
    parser.add_argument("--people", type=int, default=20, help="number of people")
    parser.add_argument("--size", type=int, default=128, help="pixels of a face")
    parser.add_argument("--seed", type=int, default=0, help="seed of the people")
    args = parser.parse_args()
    try:
        model = load_model(args.source, args.facekit)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print("| unit | at 1 | smooth | at 0.5 | smooth |\n|---|---|---|---|---|")
    rows = visibility(model, args.people, args.size, args.seed)
    for number, shares in zip(AU_NUMBERS, rows, strict=True):
        print(f"| AU{number} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
