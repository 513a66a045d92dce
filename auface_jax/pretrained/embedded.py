"""The text recogniser that the package contains: encoder, head, thresholds and tokenizer.

`embedded_text/README.md` says what it was made of and how. The largest matrix, the vectors of the
30,522 word pieces, is kept in int8 with a scale for each row, all else in float16.

    python -m auface_jax.recognition.embed runs/au_text-embedded auface_jax/pretrained/embedded_text

writes the files from a finished run.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import numpy as safetensors

from auface_jax.models.au_text_recognizer import AUQueryHead, AUTextRecognizer
from auface_jax.models.bert import BertEncoder

PyTree = Any

WEIGHTS, DESCRIPTION, TOKENIZER = "weights.safetensors", "network.json", "tokenizer.json"
TABLE = "params/encoder/embedding/embedding"
_SCALE = "scale"
_ENCODER_FIELDS = ("vocab_size", "d_model", "d_ff", "num_layers", "num_heads", "max_length")


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """The recogniser in memory.

    Attributes:
      fields: fields of `BertEncoder` under "encoder" and the width of `AUQueryHead` under "head".
      params: its parameters, float32.
      thresholds: probability of each unit from which it counts as stated.
      fingerprint: hex sha256 of the weights file.
    """

    fields: dict[str, dict[str, int]]
    params: PyTree
    thresholds: np.ndarray
    fingerprint: str


def folder() -> Traversable:
    """Returns the folder of the embedded files."""
    return importlib.resources.files("auface_jax.pretrained") / "embedded_text"


@functools.cache
def load() -> Embedded:
    """Loads the embedded recogniser.

    Raises:
      ValueError: the weights are not those that the description names: the file is damaged.
    """
    described = json.loads((folder() / DESCRIPTION).read_text(encoding="utf-8"))
    content = (folder() / WEIGHTS).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != described["sha256"]:
        raise ValueError(
            f"{folder() / WEIGHTS} is damaged: its sha256 is {digest[:12]}, not "
            f"{described['sha256'][:12]}; install the package again"
        )
    leaves = {name: leaf.astype(np.float32) for name, leaf in _leaves(content).items()}
    tree = unflatten_dict(leaves, sep="/")
    return Embedded(described["fields"], tree["params"], tree["thresholds"], digest)


def _leaves(content: bytes) -> dict[str, np.ndarray]:
    """Reads the leaves of a weights file, the table multiplied by its scales."""
    leaves = safetensors.load(content)
    scale = leaves.pop(f"{TABLE}/{_SCALE}").astype(np.float32)
    leaves[TABLE] = leaves[TABLE].astype(np.float32) * scale
    return leaves


def recognizer(
    fields: dict[str, dict[str, int]], dtype: jnp.dtype = jnp.float32
) -> AUTextRecognizer:
    """Builds the whole recogniser."""
    return AUTextRecognizer(
        encoder=BertEncoder(**fields["encoder"], dtype=dtype),
        head=AUQueryHead(**fields["head"], dtype=dtype),
    )


def write(
    destination: Path,
    module: AUTextRecognizer,
    weights: PyTree,
    tokenizer: str,
) -> None:
    """Writes a recogniser in the form that `load` reads.

    Args:
      destination: folder to write.
      module: the recogniser, a `BertEncoder` with an `AUQueryHead`.
      weights: its "params" and "thresholds".
      tokenizer: text of the `tokenizer.json` that it was trained with.
    """
    leaves = flatten_dict(weights, sep="/")
    table = np.asarray(leaves[TABLE], np.float32)
    largest = np.abs(table).max(1, keepdims=True)
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / 127
    stored = {name: np.asarray(leaf, np.float16) for name, leaf in leaves.items()}
    stored[TABLE] = np.round(table / scale).astype(np.int8)
    stored[f"{TABLE}/{_SCALE}"] = scale
    destination.mkdir(parents=True, exist_ok=True)
    safetensors.save_file(stored, destination / WEIGHTS)
    (destination / TOKENIZER).write_text(tokenizer, encoding="utf-8")
    description = {
        "fields": {
            "encoder": {name: getattr(module.encoder, name) for name in _ENCODER_FIELDS},
            "head": {"width": module.head.width},
        },
        "sha256": hashlib.sha256((destination / WEIGHTS).read_bytes()).hexdigest(),
    }
    text = json.dumps(description, indent=2) + "\n"
    (destination / DESCRIPTION).write_text(text, encoding="utf-8")
