"""The text AU recogniser: reads which units a description states.

    python -m auface_jax.train --config configs/au_text.py[:PRESET]

paper       features of a frozen T5-large (in weights/t5-large) on BP4D-AUText's label vectors
open        a small T5 encoder trained along, on the open faces' label vectors; one GPU
quickstart  a smaller one, two CPU cores

The run reads no image: of the data it takes the distinct label vectors alone.
"""

from auface_jax.configs import common
from ml_collections import ConfigDict

from auface_jax.models.t5 import SIZES
from auface_jax.runs.config_page import count, natural, share

PAGE = {
    "task": "au_text",
    # Descriptions drawn of each label vector, and the share of them that is put in other words.
    # `group` batches are drawn at once and parted by length: see data/loading/texts.py.
    "texts": {"per_row": count(5), "paraphrased": share(0.85), "group": count(8)},
    "mesh": common.mesh("transformer"),
    "seed": natural(4),
    "num_steps": count(1_000),
    "batch_size": count(64),
    "model": {
        "text_encoder": common.text_encoder(),
        "text_weights": "",  # a converted T5 to keep frozen; "" trains one along
        "width": count(128),  # of the perceptron
        "dtype": "float32",
    },
    "optimizer": common.optimizer(
        learning_rate=3e-3, muon_lr_multiplier=1.0, warmup_steps=100, b2=0.98
    ),
    "log_every": count(100),
    "checkpoint_every": count(500),
    "keep_checkpoints": count(1),
    "eval_images": count(2_000),  # label vectors
}
PRESETS = {
    "quickstart": {"data.buckets": (32, 48, 64, 96, 128, 256)},
    "open": {
        "num_steps": 20_000,
        "batch_size": 256,
        "data.buckets": (32, 64, 96, 128, 256, 512),
        "model.text_encoder.d_model": 256,
        "model.text_encoder.d_kv": 64,
        "model.text_encoder.d_ff": 512,
        "model.text_encoder.num_layers": 4,
        "model.text_encoder.num_heads": 4,
        "model.width": 512,
        "model.dtype": "bfloat16",
        "optimizer.muon_lr_multiplier": 0.0,
        "optimizer.learning_rate": 1e-3,
        "optimizer.warmup_steps": 500,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 2_000,
    },
    "paper": {
        "num_steps": 20_000,
        "batch_size": 32,
        "data.tokenizer": "t5-large",
        "data.buckets": (128, 256, 512, 1024, 2048),
        "model.text_encoder": SIZES["t5-large"],
        "model.text_weights": "weights/t5-large",
        "model.width": 1024,
        "model.dtype": "bfloat16",
        "optimizer.muon_lr_multiplier": 0.0,
        "optimizer.learning_rate": 3e-4,
        "optimizer.warmup_steps": 500,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 2_000,
    },
}


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    weights = ("weights/t5-large",)
    return common.page_config(PAGE, PRESETS, preset, "au_text", weights=weights).lock()
