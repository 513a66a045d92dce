"""Builds a data set: `python -m auface_jax.data.build --source builtin --out datasets/faces`."""

import argparse
import sys

from auface_jax.data.build.builder import PRESETS, build, summary
from auface_jax.data.build.options import add_arguments


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; `arguments` replaces `sys.argv[1:]`."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.build",
        description="Builds a data set of face records from a source of faces.",
    )
    parser.add_argument("--out", required=True, help="folder of the data set")
    parser.add_argument(
        "--preset", choices=PRESETS, help="builtin, ict: --people and --frames of this data set"
    )
    add_arguments(parser)
    known, others = parser.parse_known_args(arguments)
    if others and known.runner is None:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options = vars(known) | {"runner_arguments": others}
    for name, value in PRESETS.get(options.pop("preset"), {}).items():
        options[name] = options[name] or value
    try:
        info = build(**options)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"stopped before {known.out} was built: the same command continues the build")
    print(f"{known.out}: {summary(info)}")
    for reason, count in info["left_out"].items():
        print(f"left out: {count} ({reason})")


if __name__ == "__main__":
    main()
