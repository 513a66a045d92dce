"""Table of the published T5 encoders: T5, T5 v1.1 and Flan-T5 of any size."""

import jax
import jax.numpy as jnp

from auface_jax.models.t5 import FEED_FORWARDS, T5Encoder
from auface_jax.pretrained.tables import Network, Rule, linear_rules, norm_rules, refuse_options
from auface_jax.pretrained.weight_files import Source


def _fields(source: Source) -> dict[str, int | str]:
    """Reads the fields of `T5Encoder` from a checkpoint.

    Raises:
      ValueError: the folder's configuration has an option that this module does not implement.
    """
    supported = {
        "relative_attention_num_buckets": (32,),
        "relative_attention_max_distance": (128,),
        "layer_norm_epsilon": (1e-6,),
        "feed_forward_proj": FEED_FORWARDS,
    }
    refuse_options(source, "T5", supported)
    vocab_size, d_model = source.shape("shared.weight")
    _, num_heads = source.shape(f"{_ATTENTION.format(0)}.relative_attention_bias.weight")
    gated = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight" in source.shapes
    num_layers = 0
    while f"{_ATTENTION.format(num_layers)}.q.weight" in source.shapes:
        num_layers += 1
    return {
        "vocab_size": vocab_size,
        "d_model": d_model,
        "d_kv": source.shape(f"{_ATTENTION.format(0)}.q.weight")[0] // num_heads,
        "d_ff": source.shape("encoder.block.0.layer.1.DenseReluDense.wo.weight")[1],
        "num_layers": num_layers,
        "num_heads": num_heads,
        "feed_forward": "gated-gelu" if gated else "relu",
    }


_ATTENTION = "encoder.block.{}.layer.0.SelfAttention"
_LAYER_0, _LAYER_1 = (rf"encoder\.block\.(\d+)\.layer\.{layer}" for layer in (0, 1))

# Keys of Hugging Face's T5, of the encoder alone or of the whole.
NETWORK = Network(
    module=T5Encoder,
    inputs=(jax.ShapeDtypeStruct((1, 8), jnp.int32), jax.ShapeDtypeStruct((1, 8), jnp.bool_)),
    fields=_fields,
    rules=(
        Rule(r"shared\.weight", "params/embedding/embedding"),
        Rule(
            r"encoder\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.weight",
            "params/relative_bias/table",
        ),
        *linear_rules(rf"{_LAYER_0}\.SelfAttention\.q", r"block_\1/attention/query"),
        *linear_rules(rf"{_LAYER_0}\.SelfAttention\.k", r"block_\1/attention/key"),
        *linear_rules(rf"{_LAYER_0}\.SelfAttention\.v", r"block_\1/attention/value"),
        *linear_rules(rf"{_LAYER_0}\.SelfAttention\.o", r"block_\1/attention/out"),
        *norm_rules(rf"{_LAYER_0}\.layer_norm", r"block_\1/attention_norm"),
        *linear_rules(rf"{_LAYER_1}\.DenseReluDense\.wi", r"block_\1/feed_forward/hidden"),
        *linear_rules(rf"{_LAYER_1}\.DenseReluDense\.wi_0", r"block_\1/feed_forward/gate"),
        *linear_rules(rf"{_LAYER_1}\.DenseReluDense\.wi_1", r"block_\1/feed_forward/hidden"),
        *linear_rules(rf"{_LAYER_1}\.DenseReluDense\.wo", r"block_\1/feed_forward/out"),
        *norm_rules(rf"{_LAYER_1}\.layer_norm", r"block_\1/feed_forward_norm"),
        *norm_rules(r"encoder\.final_layer_norm", "final_norm"),
    ),
    # The decoder, its head, and a second name of the embedding.
    ignored=(r"decoder\..*", r"lm_head\..*", r"encoder\.embed_tokens\.weight"),
)
