"""A command line's options of how tokens are decoded, in place of what a run's config says."""

import argparse
from typing import Any

from auface_jax.generation.decode import GUIDANCE_SCHEDULES, ORDERS

_FIELDS = (
    *("guidance", "guidance_schedule", "steps", "order", "level_steps"),
    *("temperature", "top_k", "top_p"),
)


def add_decode_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each field of `DecodeOptions`, but for the noise on sureness."""
    group = parser.add_argument_group("decoding", "with --run; by default as its config says")
    add = group.add_argument
    add("--guidance", type=float, help="how strictly to follow the text")
    add("--guidance-schedule", choices=GUIDANCE_SCHEDULES, help="over the steps")
    add("--steps", type=int, help="decoding iterations")
    add("--order", choices=ORDERS, help="in which tokens are decided")
    add(
        "--level-steps",
        type=_counts,
        metavar="N,N,…",
        help="flat layout: iterations of each level, coarse to fine, in place of --steps",
    )
    add("--temperature", type=float, help="of the draws")
    add("--top-k", type=int, help="draw among so many of the likeliest codes")
    add("--top-p", type=float, help="draw among codes of this joint probability")


def decode_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given: changes to a run's `decode` config."""
    given = {name: value for name in _FIELDS if (value := getattr(options, name)) is not None}
    if "level_steps" in given:
        given.setdefault("steps", sum(given["level_steps"]))
    return given


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} are no iterations; give a number for each level, such as 6,3,2,1"
        ) from error
