"""Face models by name. A further one is a file that fills a `FaceModel`, and a line here."""

from pathlib import Path

from auface_jax.faces.mesh.face_model import FaceModel

MODELS = ("builtin", "ict")


def load_model(source: str = "builtin", facekit: str | Path | None = None) -> FaceModel:
    """Loads a face model, once in a process.

    Args:
        source: name of the model, one of `MODELS`.
        facekit: path of the clone of the ICT-FaceKit repository, for `ict` alone.

    Raises:
        ValueError: the name is unknown, or the path is missing, wrong or not used by the model.
    """
    if source not in MODELS:
        raise ValueError(f"face model {source!r}, expected one of {', '.join(MODELS)}")
    if (source == "ict") != (facekit is not None):
        raise ValueError(
            "source ict needs --facekit, the folder of a clone of the ICT-FaceKit repository"
            if source == "ict"
            else f"source {source} has no option --facekit"
        )
    # Imported here, since making one model needs neither the files nor the time of the other.
    if source == "ict":
        from auface_jax.faces.mesh import ict_facekit

        return ict_facekit.face_model(str(facekit))
    from auface_jax.faces.mesh import builtin

    return builtin.face_model()
