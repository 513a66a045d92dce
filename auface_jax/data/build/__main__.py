"""Builds a data set: `python -m auface_jax.data.build --source builtin --out datasets/faces`."""

import argparse
import sys

from auface_jax.data.build.builder import PRESETS, build, summary
from auface_jax.data.build.splits import SPLIT_MODES
from auface_jax.data.record import IMAGE_FORMATS
from auface_jax.data.sources.alignment import ALIGNMENTS
from auface_jax.data.sources.photographs import UNCODED_UNITS
from auface_jax.data.sources.registry import SOURCES


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.build",
        description="Builds a data set of face records from a source of faces.",
    )
    add = parser.add_argument
    add("--source", choices=SOURCES, required=True)
    add("--out", required=True, help="folder of the data set")
    add("--size", type=int, required=True, help="side of the images in pixels")
    add("--people", type=int, help="builtin, ict: number of people")
    add("--frames", type=int, help="builtin, ict: images of each person")
    add("--facekit", help="ict: a clone of the ICT-FaceKit repository")
    add("--preset", choices=PRESETS, help="builtin, ict: --people and --frames of this data set")
    add("--labels", help="folder: CSV of subject,task,frame,path,AU1,...,AU24")
    add("--threshold", type=float, help="folder: the CSV holds intensities, present from this on")
    add("--maximum", type=float, default=1.0, help="folder: the greatest intensity of the coding")
    add("--bp4d", help="bp4d: the folder of BP4D")
    add("--bp4d-plus", help="bp4d: the folder of BP4D+, alone or with BP4D")
    add(
        "--uncoded-units",
        choices=UNCODED_UNITS,
        help="bp4d, folder: of units that the source never codes (default: refuse)",
    )
    add(
        "--align",
        choices=("auto", *ALIGNMENTS),
        help="bp4d, folder: bring faces to one place by landmarks, by a detector, or take the "
        "middle of each picture (default auto: landmarks where the source has them)",
    )
    add("--margin", type=float, help="bp4d, folder: room around aligned faces")
    add("--seed", type=int, default=0)
    add(
        "--fractions",
        type=float,
        nargs=3,
        default=(0.8, 0.1, 0.1),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the people",
    )
    add("--split", choices=SPLIT_MODES, default="person", help="what is dealt to the splits")
    add(
        "--held-out-rows",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the label rows to test on: training never sees them (split unseen_held_out)",
    )
    add(
        "--novel-rows",
        type=int,
        default=0,
        metavar="NUMBER",
        help="of label rows that the data does not have (split unseen_novel)",
    )
    add("--image-format", choices=IMAGE_FORMATS, default="png")
    add("--shard-mib", type=float, default=128.0, help="about the size of a shard in MiB")
    add("--shard-records", type=int, help="records a shard, at most, in place of a size")
    add("--processes", type=int, help="worker processes; default: one a core")
    add("--runner", help="an Apache Beam runner to do the work; its own options may follow")
    given, others = parser.parse_known_args(arguments)
    if others and given.runner is None:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options = vars(given) | {"runner_arguments": others}
    for option, value in PRESETS.get(options.pop("preset"), {}).items():
        options[option] = options[option] or value
    try:
        info = build(**options)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"stopped before {given.out} was built: the same command goes on from here")
    print(f"{options['out']}: {summary(info)}")
    for reason, count in info["left_out"].items():
        print(f"left out: {count} ({reason})")


if __name__ == "__main__":
    main()
