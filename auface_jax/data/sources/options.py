"""The options of each source of faces, each declared once.

A source's class inherits its options from here, and the command line, the configs and `build` read
them here without importing the source itself, whose renderer or detector may be slow to import.
"""

import dataclasses
from typing import Any

from auface_jax.data.options import OptionError, check_options, flag, is_required, option
from auface_jax.data.sources.alignment import ALIGNMENTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnOptions:
    """Options of the `builtin` source, which draws people that do not exist."""

    people: int = option(help="number of people", at_least=3)
    # The first two are neutral: one becomes the reference, the other a neutral target.
    frames: int = option(help="images of each person", at_least=3)

    __post_init__ = check_options


@dataclasses.dataclass(frozen=True, kw_only=True)
class ICTOptions(DrawnOptions):
    """Options of the `ict` source, which draws the shapes of ICT-FaceKit."""

    facekit: str = option(help="folder of a clone of the ICT-FaceKit repository")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotographOptions:
    """Options of every source that reads image files."""

    uncoded_units: str = option(
        "refuse",
        help="units that the source never codes are an error (refuse), or are marked as not coded "
        "and described as absent (absent); default refuse",
        choices=("refuse", "absent"),
    )
    align: str = option(
        "auto",
        help="how faces are brought onto the template: by landmarks, by a detector, or not at all "
        "(off: the central square of each picture); default auto: by landmarks where the source "
        "has them",
        choices=("auto", *ALIGNMENTS),
    )
    margin: float = option(
        0.0,
        help="room around an aligned face on each side, as a share of the template; default 0",
        above=-0.25,
        at_most=1,
    )

    def __post_init__(self):
        check_options(self)
        if self.margin and self.align == "off":
            raise OptionError(
                f"margin is {self.margin}, but align is off: leave margin at 0, or align faces"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderOptions(PhotographOptions):
    """Options of the `folder` source, any images with a table of their action units."""

    labels: str = option(help="CSV of subject,task,frame,path,AU1,...,AU24")
    threshold: float | None = option(
        None,
        help="read the values of the CSV as intensities; a unit is present from this one on",
        above=0,
    )
    maximum: float = option(
        1.0, help="the greatest intensity of the coding, stored as 1; default 1", above=0
    )

    def __post_init__(self):
        super().__post_init__()
        if self.threshold is None and self.maximum != 1.0:
            raise OptionError(
                f"maximum is {self.maximum}, which belongs to intensities: set threshold too"
            )
        if self.threshold is not None and self.threshold > self.maximum:
            raise OptionError(
                f"threshold is {self.threshold}, expected at most the maximum, {self.maximum}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BP4DOptions(PhotographOptions):
    """Options of the `bp4d` source, the corpora BP4D and BP4D+ as they are published."""

    bp4d: str | None = option(None, help="folder of BP4D")
    bp4d_plus: str | None = option(None, help="folder of BP4D+, alone or together with BP4D")

    def __post_init__(self):
        super().__post_init__()
        if self.bp4d is None and self.bp4d_plus is None:
            raise OptionError("bp4d and bp4d_plus are both missing: name one folder or both")


SOURCE_OPTIONS: dict[str, type] = {
    "bp4d": BP4DOptions,
    "builtin": DrawnOptions,
    "folder": FolderOptions,
    "ict": ICTOptions,
}
SOURCES = tuple(SOURCE_OPTIONS)


def source_fields() -> dict[str, tuple[dataclasses.Field, tuple[str, ...]]]:
    """All options of all sources: name -> field, and the names of the sources that have it."""
    fields: dict[str, tuple[dataclasses.Field, tuple[str, ...]]] = {}
    for source, options in SOURCE_OPTIONS.items():
        for field in dataclasses.fields(options):
            _, sources = fields.get(field.name, (field, ()))
            fields[field.name] = field, (*sources, source)
    return fields


def make_source_options(source: str, **given: Any) -> Any:
    """The options of a source from keyword arguments; None is as good as absent.

    Args:
      source: a name of `SOURCES`.
      **given: fields of the source's class in `SOURCE_OPTIONS`.

    Raises:
      OptionError: a required option is missing, or an option is of another source or illegal.
    """
    fields = dataclasses.fields(SOURCE_OPTIONS[source])
    given = {name: value for name, value in given.items() if value is not None}
    missing = [f.name for f in fields if is_required(f) and f.name not in given]
    if missing:
        raise OptionError(f"source {source} needs {' and '.join(map(flag, missing))}")
    if extra := given.keys() - {field.name for field in fields}:
        raise OptionError(f"source {source} has no option {', '.join(map(flag, sorted(extra)))}")
    return SOURCE_OPTIONS[source](**given)
