"""The pre-trained networks through which Stage II reads text and reference face (paper, Stage II).

    T_T   T5's encoder on the text               `model.text_weights`
    T_S   CLIP's image encoder on the reference  `model.structure_weights`
    T_A   ArcFace on the reference               `model.appearance_weights`

Each is named by where its weights are (`pretrained.hub`); where none is named, a small network is
trained along in its place. They are frozen: their variables are an argument of every program.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.models.t5 import T5Encoder
from auface_jax.models.vq_auface import FACE_TOKENS
from auface_jax.pretrained import arcface
from auface_jax.pretrained.arcface import ArcFace
from auface_jax.pretrained.clip_vision import CLIPVision
from auface_jax.pretrained.hub import load_pretrained

PyTree = Any

# What each encoder is in `pretrained.convert.NETWORKS`.
NETWORKS = {"text": "t5", "structure": "clip_vision", "appearance": "arcface"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoders:
    """The frozen encoders of a run; hashable, a static part of its model.

    Attributes:
      text, structure, appearance: None where a small network is trained along.
      margin: room around the aligned faces, a share of the crop, as the data were built with.
    """

    text: T5Encoder | None = None
    structure: CLIPVision | None = None
    appearance: ArcFace | None = None
    margin: float = 0.0

    def of_text(
        self, variables: PyTree, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
    ) -> dict[str, Array]:
        """`text_features` [B, L, E] where the text has an encoder here; else nothing."""
        if self.text is None:
            return {}
        return {"text_features": self.text.apply(variables["text"], tokens, mask)}

    def of_reference(
        self, variables: PyTree, image: Float[Array, "B H W 3"]
    ) -> dict[str, Float[Array, "B ..."]]:
        """`structure` [B, S, E] and `appearance` [B, 512], of those that have an encoder here.

        Args:
          image: aligned crops in [-1, 1]; each network makes its own input of them.
        """
        made = {}
        if self.structure is not None:
            seen = self.structure.prepare(image)
            made["structure"] = self.structure.apply(variables["structure"], seen)
        if self.appearance is not None:
            side = np.array([image.shape[2], image.shape[1]])
            points = (arcface.IN_CROP + self.margin) / (1 + 2 * self.margin) * side
            points = jnp.broadcast_to(points, (image.shape[0], *points.shape))
            seen = arcface.prepare_images(image, points)
            embedding = self.appearance.apply(variables["appearance"], seen)
            # Only its direction says whose face it is.
            length = jnp.linalg.norm(embedding, axis=-1, keepdims=True)
            made["appearance"] = embedding / length * embedding.shape[-1] ** 0.5
        return made


def load_encoders(
    config: ml_collections.ConfigDict, vocab_size: int
) -> tuple[Encoders, PyTree, dict[str, str]]:
    """The encoders that a Stage II config names, their variables, and their fingerprints.

    Args:
      config: of a run; what its ablation leaves out is not loaded.
      vocab_size: of its tokenizer.

    Raises:
      ValueError: weights that are not there, or another network's; a tokenizer with more tokens
        than T5 has; see `load_pretrained`.
    """
    wanted = named_weights(config)
    dtype = jnp.dtype(config.model.dtype)
    loaded = {
        name: load_pretrained(where, NETWORKS[name], dtype=dtype) for name, where in wanted.items()
    }
    modules = {name: network.module for name, network in loaded.items()}
    if "text" in modules and modules["text"].vocab_size < vocab_size:
        raise ValueError(
            f"the tokenizer data.tokenizer={config.data.tokenizer!r} has {vocab_size} tokens, and "
            f"T5 in {wanted['text']} has {modules['text'].vocab_size}: name the tokenizer that it "
            "was trained with, such as --config.data.tokenizer=google-t5/t5-large"
        )
    variables = {name: network.variables for name, network in loaded.items()}
    fingerprints = {f"{name}_weights": network.fingerprint for name, network in loaded.items()}
    return Encoders(**modules, margin=config.data.margin), variables, fingerprints


def named_weights(config: ml_collections.ConfigDict) -> dict[str, str]:
    """Encoder -> where its weights are, of those that the config names and its model reads."""
    model, tokens = config.model, config.model.get("tokens", FACE_TOKENS)
    read = {
        "text": model.get("input", "text") == "text",
        "structure": "structure" in tokens,
        "appearance": "appearance" in tokens,
    }
    where = {name: model.get(f"{name}_weights", "") for name in NETWORKS}
    return {name: path for name, path in where.items() if path and read[name]}
