"""Command line options of decoding, which replace those of a run's config."""

import argparse
from typing import Any

from auface_jax.generation.decode_options import GUIDANCE_SCHEDULES, ORDERS

_FIELDS = (
    *("guidance", "guidance_schedule", "steps", "order", "level_steps"),
    *("temperature", "top_k", "top_p"),
)


def add_decode_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each field of `DecodeOptions` except `choice_temperature`."""
    group = parser.add_argument_group("decoding", "with --run; defaults are those of its config")
    add = group.add_argument
    add("--guidance", type=float, help="scale of the guidance by the text; 1 is none")
    add("--guidance-schedule", choices=GUIDANCE_SCHEDULES, help="guidance over the steps")
    add("--steps", type=int, help="number of decoding iterations")
    add("--order", choices=ORDERS, help="unmasking order")
    add(
        "--level-steps",
        type=_counts,
        metavar="N,N,…",
        help="flat layout: iterations of each level, coarse to fine, in place of --steps",
    )
    add("--temperature", type=float, help="sampling temperature; 0 takes the most probable tokens")
    add("--top-k", type=int, help="number of most probable tokens to sample among")
    add("--top-p", type=float, help="probability mass of the tokens to sample among")


def decode_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the options that were given, as changes to a run's `decode` config."""
    given = {name: value for name in _FIELDS if (value := getattr(options, name)) is not None}
    if "level_steps" in given:
        given.setdefault("steps", sum(given["level_steps"]))
    return given


def _counts(text: str) -> tuple[int, ...]:
    """Parses comma-separated numbers of iterations."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of whole numbers; give one for each level, such as 6,3,2,1"
        ) from error
