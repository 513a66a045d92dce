"""FACS-aligned face synthesis: a reference face and a description of action units -> a picture.

    from auface_jax import Generator, describe

    generator = Generator.from_run("runs/stage2-quickstart")
    picture = generator(reference, "The lip corners are pulled up and the cheeks are raised.")

Packages, in the order in which one may import another, which is also a good order to read them:
    ops           operations that are written for speed, behind their textbook names
    facs          action units and their interactions; labels -> text
    images        pictures as pixels, files and sheets
    faces         open faces drawn from muscles, with exact labels
    parallel      meshes, shardings and processes
    runs          a run's folder: config, checkpoints, names
    models        the networks, readable beside the papers
    pretrained    published weights -> variables
    data          sources of faces -> records in shards -> batches
    metrics       figures by which faces are scored
    generation    text and reference face -> tokens -> picture
    recognition   pictures and texts -> action units
    training      one loop, several tasks
    evaluation    the figures of a system: this one's runs, or any other's
    reproduction  the paper's tables on open faces

Commands, thin modules beside the packages, each also `auface NAME`:
    train, generate, describe, recognize, reconstruct, evaluate, export, reproduce, cross_validate

Letters in shapes, types, einsums and comments:
    B  batch              N  token positions      D  width of a transformer
    H  image height       L  text tokens          K  codes in a codebook
    W  image width        S  context tokens       Q  quantizer levels
    C  channels           A  action units (12)    V  vocabulary

Images are float32 [B, H, W, C] in [-1, 1] in models and uint8 in records; labels are int8 [A] in
{0, 1}; intensities are float32 [A] in [0, 1].
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auface_jax.facs.processor import describe
    from auface_jax.generation.generator import Generator
    from auface_jax.generation.request import Request
    from auface_jax.recognition.image_recognizer import Recognizer
    from auface_jax.recognition.text_reader import TextReader

__version__ = "0.1.0"
__all__ = ["Generator", "Recognizer", "Request", "TextReader", "__version__", "describe"]

# Name -> the module that has it, imported when the name is first used: importing the package alone
# takes no time and starts no JAX backend.
_HOMES = {
    "Generator": "auface_jax.generation.generator",
    "Request": "auface_jax.generation.request",
    "Recognizer": "auface_jax.recognition.image_recognizer",
    "TextReader": "auface_jax.recognition.text_reader",
    "describe": "auface_jax.facs.processor",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
