"""The text AU recogniser: reads which units a description states.

    python -m auface_jax.train --config configs/au_text.py[:PRESET]

paper       features of a frozen T5-large (in weights/t5-large) on BP4D-AUText's label rows
open        a small T5 encoder trained along, on the open faces' label rows; one GPU
quickstart  a smaller one, two CPU cores

It reads no image: of the data it takes the distinct label rows alone.
"""

from ml_collections import ConfigDict

from auface_jax.models.t5 import SIZES
from auface_jax.runs import presets


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    preset, reason = presets.choose(preset, "configs/au_text.py", weights=("weights/t5-large",))
    config = ConfigDict(
        {
            "task": "au_text",
            "preset": preset,
            "preset_reason": reason,
            "requires": {},
            "data": presets.data_config(preset),
            # Descriptions drawn of each label row, and how often one is put in other words.
            # `group` batches are drawn at once and parted by length: see data/texts.py.
            "texts": {"per_row": 5, "paraphrased": 0.85, "group": 8},
            "mesh": presets.mesh_config("transformer"),
            "seed": 4,
            "num_steps": 1_000,
            "batch_size": 64,
            "model": {
                "text_encoder": {
                    "d_model": 64,
                    "d_kv": 32,
                    "d_ff": 128,
                    "num_layers": 2,
                    "num_heads": 2,
                    "feed_forward": "gated-gelu",
                },
                "text_weights": "",  # a converted T5 to keep as it is; "" trains one along
                "width": 128,  # of the perceptron
                "dtype": "float32",
            },
            "optimizer": {
                "learning_rate": 3e-3,
                "muon_lr_multiplier": 1.0,  # see configs/stage1.py
                "warmup_steps": 100,
                "lr_decay_fraction": 0.5,
                "b1": 0.9,
                "b2": 0.98,
                "weight_decay": 1e-2,
                "clip_norm": 1.0,
            },
            "ema_decay": 0.99,
            "log_every": 100,
            "checkpoint_every": 500,
            "keep_checkpoints": 1,
            # What becomes of a step that went wrong: see `auface_jax.training.guard`.
            "guard": {"action": "stop", "grad_norm": 0.0, "spike": 0.0, "patience": 100},
            "sample_every": 0,  # it makes no pictures
            "eval_images": 2_000,  # label rows
        }
    )
    config.data.buckets = (32, 48, 64, 96, 128, 256)
    if preset == "open":
        config.model.text_encoder.update(
            {"d_model": 256, "d_kv": 64, "d_ff": 512, "num_layers": 4, "num_heads": 4}
        )
        config.model.update({"width": 512, "dtype": "bfloat16"})
        config.update({"num_steps": 20_000, "batch_size": 256, "log_every": 200})
        config.update({"checkpoint_every": 2_000, "ema_decay": 0.999})
        config.optimizer.update(
            {"muon_lr_multiplier": 0.0, "learning_rate": 1e-3, "warmup_steps": 500}
        )
        config.data.buckets = (32, 64, 96, 128, 256, 512)
    elif preset == "paper":
        config.model.text_encoder = ConfigDict(SIZES["t5-large"])
        config.model.update({"text_weights": "weights/t5-large", "width": 1024})
        config.model.dtype = "bfloat16"
        config.data.tokenizer = "t5-large"
        config.data.buckets = (128, 256, 512, 1024, 2048)
        config.update({"num_steps": 20_000, "batch_size": 32, "log_every": 200})
        config.update({"checkpoint_every": 2_000, "ema_decay": 0.999})
        config.optimizer.update(
            {"muon_lr_multiplier": 0.0, "learning_rate": 3e-4, "warmup_steps": 500}
        )
    return config.lock()
