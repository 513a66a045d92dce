"""Pre-trained encoders of text and reference face (paper, Stage II).

    T_T   the embedded encoder, T5's or BERT's   `model.text_weights`
    T_S   CLIP's image encoder on the reference  `model.structure_weights`
    T_A   ArcFace on the reference               `model.appearance_weights`

A config gives the location of each network's weights (`pretrained.hub`); without one, a small
network is trained along in its place. The encoders are frozen: their variables are an argument of
every program.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from auface_jax.models.au_text_recognizer import UnitTokens
from auface_jax.models.bert import BertEncoder
from auface_jax.models.clip_vision import CLIPVision
from auface_jax.models.t5 import T5Encoder
from auface_jax.models.vq_auface import FACE_TOKENS
from auface_jax.pretrained import arcface
from auface_jax.pretrained.arcface import ArcFace
from auface_jax.pretrained.hub import load_pretrained
from auface_jax.pretrained.text_encoders import check_tokenizer, load_text_encoder

PyTree = Any

ENCODERS = ("text", "structure", "appearance")
# Encoder of the reference -> name of its network in `pretrained.convert.NETWORKS`.
NETWORKS = {"structure": "clip_vision", "appearance": "arcface"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoders:
    """Frozen encoders of a run; hashable, a static part of its model.

    Attributes:
      text: encoder of the text; None where a small network is trained along.
      structure: encoder of the reference's structure, or None.
      appearance: encoder of the reference's appearance, or None.
      margin: margin around the aligned faces that the data were built with, a share of the crop.
    """

    text: T5Encoder | BertEncoder | UnitTokens | None = None
    structure: CLIPVision | None = None
    appearance: ArcFace | None = None
    margin: float = 0.0

    def encode_text(
        self, variables: PyTree, tokens: Int[Array, "B L"], mask: Bool[Array, "B L"]
    ) -> dict[str, Array]:
        """Computes `text_features` [B, L, E]; {} without a text encoder.

        `UnitTokens` make a text longer, and give `text_mask` [B, L] too.
        """
        if self.text is None:
            return {}
        features = self.text.apply(variables["text"], tokens, mask)
        if isinstance(self.text, UnitTokens):
            return dict(zip(("text_features", "text_mask"), features, strict=True))
        return {"text_features": features}

    def encode_reference(
        self, variables: PyTree, image: Float[Array, "B H W 3"]
    ) -> dict[str, Float[Array, "B ..."]]:
        """Computes `structure` [B, S, E] and `appearance` [B, 512], as far as there are encoders.

        Args:
          variables: variables of the encoders by name.
          image: aligned crops in [-1, 1], which are preprocessed for each encoder.
        """
        features = {}
        if self.structure is not None:
            prepared = self.structure.prepare(image)
            features["structure"] = self.structure.apply(variables["structure"], prepared)
        if self.appearance is not None:
            side = np.array([image.shape[2], image.shape[1]])
            points = (arcface.IN_CROP + self.margin) / (1 + 2 * self.margin) * side
            points = jnp.broadcast_to(points, (image.shape[0], *points.shape))
            prepared = arcface.prepare_images(image, points)
            embedding = self.appearance.apply(variables["appearance"], prepared)
            # Only the direction of the embedding encodes identity.
            length = jnp.linalg.norm(embedding, axis=-1, keepdims=True)
            features["appearance"] = embedding / length * embedding.shape[-1] ** 0.5
        return features


def load_encoders(
    config: ml_collections.ConfigDict, vocab_size: int
) -> tuple[Encoders, PyTree, dict[str, str]]:
    """Loads the encoders that a Stage II config names.

    Args:
      config: config of a run; encoders that its ablation leaves out are not loaded.
      vocab_size: vocabulary of its tokenizer.

    Returns:
      The encoders, their variables, and their fingerprints.

    Raises:
      ValueError: weights do not exist or belong to another network (see `load_pretrained`), or the
        tokenizer is not the text encoder's.
    """
    wanted = named_weights(config)
    dtype = jnp.dtype(config.model.dtype)
    loaded = {
        name: load_text_encoder(where, units=True, dtype=dtype)
        if name == "text"
        else load_pretrained(where, NETWORKS[name], dtype=dtype)
        for name, where in wanted.items()
    }
    modules = {name: network.module for name, network in loaded.items()}
    if "text" in modules:
        check_tokenizer(
            wanted["text"], modules["text"].vocab_size, config.data.tokenizer, vocab_size
        )
    variables = {name: network.variables for name, network in loaded.items()}
    fingerprints = {f"{name}_weights": network.fingerprint for name, network in loaded.items()}
    return Encoders(**modules, margin=config.data.margin), variables, fingerprints


def named_weights(config: ml_collections.ConfigDict) -> dict[str, str]:
    """Returns encoder -> location of its weights, for the encoders that the model uses."""
    model, tokens = config.model, config.model.get("tokens", FACE_TOKENS)
    read = {
        "text": model.get("input", "text") == "text",
        "structure": "structure" in tokens,
        "appearance": "appearance" in tokens,
    }
    where = {name: model.get(f"{name}_weights", "") for name in ENCODERS}
    return {name: path for name, path in where.items() if path and read[name]}
