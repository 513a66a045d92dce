"""Prints the constructs and the description of a set of action units.

    python -m auface_jax.describe --aus 6,12,15 --seed 0
    python -m auface_jax.describe --aus 6C,12E --seed 0

With degrees, from A (a trace) to E (the most), each construct's text begins with a word for its
degree.
"""

import argparse

import numpy as np

from auface_jax import facs


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.describe",
        description="Prints the constructs and the description of a set of action units.",
    )
    parser.add_argument(
        "--aus",
        required=True,
        help=f"active units, such as 6,12,15 or 6C,12E, of {','.join(map(str, facs.AU_NUMBERS))}; "
        'with degrees A to E or without; "" is a neutral face',
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed that chooses among each construct's texts (default 0)",
    )
    parser.add_argument(
        "--dictionary",
        metavar="FILE",
        help="a JSON dictionary in the form of auface_jax/facs/dictionary.json, which it replaces",
    )
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}; give 0 or a positive integer")
    try:
        units, intensities = facs.parse_scores(options.aus)
        labels = facs.labels_from_units(units)
        dictionary = facs.load_dictionary(options.dictionary)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    names = facs.constructs(labels)
    print("constructs:", ", ".join(names) if names else "none (neutral face)")
    rng = np.random.default_rng(options.seed)
    print(facs.describe_constructs(names, rng, dictionary, intensities=intensities))


if __name__ == "__main__":
    main()
