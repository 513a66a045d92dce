"""The face models that tests use.

`ict` needs the ICT-FaceKit, as a clone or as an .npz file of its arrays. The environment variable
AUFACE_FACEKIT names it; by default it is in the folder `shared` beside the repository.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.faces import registry

_SHARED = Path(__file__).parents[3] / "shared" / "ict_facekit" / "ict_facekit.npz"
FACEKIT = Path(os.environ.get("AUFACE_FACEKIT") or _SHARED)
needs_facekit = pytest.mark.skipif(not FACEKIT.exists(), reason="needs the ICT-FaceKit face")
EVERY_MODEL = (pytest.param("builtin"), pytest.param("ict", marks=needs_facekit))


def load(name):
    """Loads a face model by name."""
    return registry.load_model(name, FACEKIT if name == "ict" else None)


def units(*numbers, at=1.0):
    """Returns intensities [12]: `at` for the given units, 0 for the others."""
    return facs.labels_from_units(numbers) * np.float32(at)
