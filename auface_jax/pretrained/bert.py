"""Table of the published encoders of BERT's form: BERT, MiniLM, E5 and their like.

    python -m auface_jax.pretrained.convert bert all-MiniLM-L6-v2/ weights/all-minilm-l6-v2

The network itself is `models/bert.py`.
"""

import re

import jax
import jax.numpy as jnp

from auface_jax.models.bert import EPSILON, BertEncoder
from auface_jax.pretrained.tables import Network, Rule, linear_rules, norm_rules, refuse_options
from auface_jax.pretrained.weight_files import Source

_LAYER = r"(?:bert\.)?encoder\.layer\.(\d+)"
_PREFIX = r"(?:bert\.)?"
# Options of a configuration that the module implements in one way alone.
_SUPPORTED = {
    "model_type": ("bert",),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "layer_norm_eps": (EPSILON,),
    "type_vocab_size": (2,),
    "is_decoder": (False,),
}


def _fields(source: Source) -> dict[str, int]:
    """Reads the fields of `BertEncoder` from a checkpoint and its configuration.

    Raises:
      ValueError: the configuration does not tell the number of heads, or has an option that this
        module does not implement.
    """
    refuse_options(source, "BERT", _SUPPORTED)
    if "num_attention_heads" not in source.config:
        raise ValueError(
            f"{source.name} does not tell how many attention heads the network has: give the "
            "folder, with its config.json, in place of the file"
        )
    prefix = "bert." if any(key.startswith("bert.") for key in source.shapes) else ""
    vocab_size, d_model = source.shape(f"{prefix}embeddings.word_embeddings.weight")
    layers = [int(match[1]) for key in source.shapes if (match := re.match(_LAYER, key))]
    return {
        "vocab_size": vocab_size,
        "d_model": d_model,
        "d_ff": source.shape(f"{prefix}encoder.layer.0.intermediate.dense.weight")[0],
        "num_layers": 1 + max(layers),
        "num_heads": source.config["num_attention_heads"],
        "max_length": source.shape(f"{prefix}embeddings.position_embeddings.weight")[0],
    }


def _norms(source: str, target: str) -> tuple[Rule, ...]:
    """Returns the rules of a layer norm, whose leaves the oldest files call gamma and beta."""
    return (
        *norm_rules(source, target),
        Rule(rf"{source}\.gamma", f"params/{target}/scale"),
        Rule(rf"{source}\.beta", f"params/{target}/bias"),
    )


# Keys of Hugging Face's BERT, alone or inside a network with a head.
NETWORK = Network(
    module=BertEncoder,
    inputs=(jax.ShapeDtypeStruct((1, 8), jnp.int32), jax.ShapeDtypeStruct((1, 8), jnp.bool_)),
    fields=_fields,
    rules=(
        Rule(rf"{_PREFIX}embeddings\.word_embeddings\.weight", "params/embedding/embedding"),
        Rule(rf"{_PREFIX}embeddings\.position_embeddings\.weight", "params/position"),
        Rule(rf"{_PREFIX}embeddings\.token_type_embeddings\.weight", "params/segment"),
        *_norms(rf"{_PREFIX}embeddings\.LayerNorm", "embedding_norm"),
        *linear_rules(rf"{_LAYER}\.attention\.self\.query", r"block_\1/attention/query"),
        *linear_rules(rf"{_LAYER}\.attention\.self\.key", r"block_\1/attention/key"),
        *linear_rules(rf"{_LAYER}\.attention\.self\.value", r"block_\1/attention/value"),
        *linear_rules(rf"{_LAYER}\.attention\.output\.dense", r"block_\1/attention/out"),
        *_norms(rf"{_LAYER}\.attention\.output\.LayerNorm", r"block_\1/attention_norm"),
        *linear_rules(rf"{_LAYER}\.intermediate\.dense", r"block_\1/hidden"),
        *linear_rules(rf"{_LAYER}\.output\.dense", r"block_\1/out"),
        *_norms(rf"{_LAYER}\.output\.LayerNorm", r"block_\1/feed_forward_norm"),
    ),
    # The vector of a whole text, the heads of pre-training, and numbers of positions.
    ignored=(
        rf"{_PREFIX}pooler\..*",
        r"cls\..*",
        rf"{_PREFIX}embeddings\.position_ids",
    ),
)
