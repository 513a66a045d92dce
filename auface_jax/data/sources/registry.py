"""The sources of faces by name, as a command line and a config call them."""

from auface_jax.data.sources.base import Source
from auface_jax.data.sources.bp4d import BP4DFaces
from auface_jax.data.sources.folder import FolderFaces

SOURCES = ("bp4d", "builtin", "folder", "ict")


def open_source(name: str, *, size: int, seed: int, given: dict) -> Source:
    """The source called `name`; ValueError when its options are missing or another's are given."""
    if name not in SOURCES:
        raise ValueError(f"source {name!r}, expected one of {', '.join(SOURCES)}")
    photographs = ("uncoded_units", "align", "margin")
    needed, optional = {
        "builtin": (("people", "frames"), ()),
        "ict": (("people", "frames", "facekit"), ()),
        "folder": (("labels",), ("threshold", "maximum", *photographs)),
        "bp4d": ((), ("bp4d", "bp4d_plus", *photographs)),
    }[name]
    given = {option: value for option, value in given.items() if value is not None}
    if missing := [option for option in needed if option not in given]:
        raise ValueError(f"source {name} needs {' and '.join(map(_flag, missing))}")
    if extra := [option for option in given if option not in needed + optional]:
        raise ValueError(f"source {name} has no option {', '.join(map(_flag, extra))}")
    if name == "bp4d":
        return BP4DFaces(size=size, **given)
    if name == "folder":
        return FolderFaces(size=size, **given)
    # Imported here: its renderer compiles, and a set of somebody's own images has no use for it.
    from auface_jax.data.sources.open_faces import OpenFaces

    return OpenFaces(size=size, seed=seed, name=name, **given)


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")
