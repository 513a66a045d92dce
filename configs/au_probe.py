"""The small action unit classifier that reads the pictures of Stage II's evaluation.

    python -m auface_jax.train --config configs/au_probe.py[:PRESET]

It is trained on real pictures of the training people alone. Its figures accompany training; a
trained model is evaluated by a recogniser (`auface_jax.evaluate`).
"""

from auface_jax.configs import common
from ml_collections import ConfigDict

from auface_jax.runs.config_page import count, natural, share

PAGE = {
    "task": "au_probe",
    "mesh": common.mesh("convolutions"),
    "seed": natural(1),
    "num_steps": count(400),
    "batch_size": count(32),
    "model": {"patch": count(4), "channels": count((48, 96)), "dtype": "float32"},
    "loss": {"intensity": natural(1.0)},  # weight of the squared error of intensities
    "optimizer": common.optimizer(muon_lr_multiplier=1.0, learning_rate=2e-3),
    "ema_decay": share(0.98),
    "keep_checkpoints": count(1),
}
LARGE = {
    "num_steps": 10_000,
    "batch_size": 128,
    "model.channels": (64, 128, 256),
    "model.dtype": "bfloat16",
    "optimizer.muon_lr_multiplier": 0.0,
    "log_every": 200,
    "checkpoint_every": 2_000,
    "eval_images": 2_000,
}
PRESETS = {"quickstart": {}, "open": LARGE, "paper": LARGE}


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    return common.page_config(PAGE, PRESETS, preset, "au_probe").lock()
