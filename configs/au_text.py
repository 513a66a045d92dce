"""The text AU recogniser: reads which units a description states, and to which degrees.

    python -m auface_jax.train --config configs/au_text.py[:PRESET]

paper       features of a frozen T5-large (in weights/t5-large) on BP4D-AUText's label vectors
open        the embedded encoder trained further, on the open faces' label vectors; one GPU
quickstart  the same in a few minutes, two CPU cores

The run reads no image: of the data it takes the distinct label vectors alone.
"""

from auface_jax.configs import common
from ml_collections import ConfigDict

from auface_jax.runs.config_page import count, natural, share

PAGE = {
    "task": "au_text",
    # Descriptions of each label vector in an epoch; the share of the label vectors that are random
    # sets of units in place of the data's; and the share of the texts that speak of no face.
    "texts": {
        "per_row": count(5),
        "random_rows": share(0.5),
        "unrelated": share(0.03),
    },
    "mesh": common.mesh("transformer"),
    "seed": natural(4),
    "num_steps": count(300),
    "batch_size": count(64),
    "model": {
        # "embedded", or the location of a T5 or BERT; "" trains a small T5 from random weights.
        "text_weights": "embedded",
        "text_layers": natural(0),  # its first blocks that are used; 0 uses all
        "train_text": True,  # train the encoder too; False keeps it as it is
        "text_encoder": common.text_encoder(),  # of the small T5
        "head": "queries",  # or "mean", the paper's
        "width": count(128),  # of the head's perceptron
        "dtype": "float32",
    },
    "loss": {"degrees": natural(0.1)},  # weight of reading degrees
    "optimizer": common.optimizer(learning_rate=5e-4, warmup_steps=30, b2=0.98),
    "log_every": count(100),
    "checkpoint_every": count(300),
    "keep_checkpoints": count(1),
    "eval_images": count(2_000),  # label vectors
}
WORDS = {"data.wording.dictionary": 0.2, "data.wording.paraphrase": 0.4}  # the corpus has the rest
PRESETS = {
    "quickstart": WORDS | {"data.buckets": (32, 48, 64, 96, 128, 256)},
    "open": WORDS
    | {
        "data.buckets": (32, 64, 96, 128, 256),
        "num_steps": 20_000,
        "batch_size": 256,
        "model.dtype": "bfloat16",
        "optimizer.warmup_steps": 500,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 2_000,
    },
    "paper": {
        "num_steps": 20_000,
        "batch_size": 32,
        "data.group": 8,
        "texts.random_rows": 0.0,
        "texts.unrelated": 0.0,
        "data.buckets": (128, 256, 512, 1024, 2048),
        "data.wording.dictionary": 0.15,
        "data.wording.paraphrase": 0.85,
        "data.wording.corpus": 0.0,
        "data.wording.degrees": 0.0,
        "model.text_weights": "weights/t5-large",
        "model.train_text": False,
        "model.head": "mean",
        "model.width": 1024,
        "model.dtype": "bfloat16",
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
