"""Opens a source of faces by its name."""

from typing import Any

from auface_jax.data.sources.base import FaceSource
from auface_jax.data.sources.bp4d import BP4DFaces
from auface_jax.data.sources.folder import FolderFaces


def open_source(name: str, options: Any, *, size: int, seed: int) -> FaceSource:
    """Opens a source.

    Args:
      name: a name of `sources.options.SOURCES`.
      options: the source's options, an instance of `SOURCE_OPTIONS[name]`.
      size: side of the images, in pixels.
      seed: seed of drawn faces.

    Raises:
      SourceError: the source cannot be read; the message lists its faults.
    """
    if name == "bp4d":
        return BP4DFaces(size=size, **vars(options))
    if name == "folder":
        return FolderFaces(size=size, **vars(options))
    # Imported here because the renderer compiles at import, and photographs do not need it.
    from auface_jax.data.sources.open_faces import OpenFaces

    return OpenFaces(size=size, seed=seed, name=name, **vars(options))
