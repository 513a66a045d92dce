"""The face models by name. A further one is a file that fills a `FaceModel`, and a line here."""

from __future__ import annotations

from pathlib import Path

from auface_jax.faces.mesh.face_model import FaceModel

MODELS = ("builtin", "ict")


def load_model(source: str = "builtin", facekit: str | Path | None = None) -> FaceModel:
    """The face model called `source`, made once a process.

    Args:
        source: one of `MODELS`.
        facekit: for `ict`, the clone of the ICT-FaceKit repository.

    Raises:
        ValueError: for an unknown name, or a path that is missing, wrong or not asked for.
    """
    if source not in MODELS:
        raise ValueError(f"face model {source!r}, expected one of {', '.join(MODELS)}")
    if (source == "ict") != (facekit is not None):
        raise ValueError(
            "source ict needs --facekit, the folder of a clone of the ICT-FaceKit repository"
            if source == "ict"
            else f"source {source} has no option --facekit"
        )
    # Imported here: one model has no use for the files, or the time, of the other.
    if source == "ict":
        from auface_jax.faces.mesh import ict_facekit

        return ict_facekit.face_model(str(facekit))
    from auface_jax.faces.mesh import builtin

    return builtin.face_model()
