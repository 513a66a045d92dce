"""The image AU recogniser that evaluates: ME-GraphAU, both of its stages in one run.

    python -m auface_jax.train --config configs/au_image.py[:PRESET]

paper       ResNet-50 on 224 of BP4D's 256 px
open        ResNet-18 at 128 px on open faces, one GPU
quickstart  a narrow ResNet-18 at 64 px on open faces, two CPU cores

`configs/au_image_loss.py` is the other recogniser, for training losses.
"""

from auface_jax.configs import common
from ml_collections import ConfigDict

from auface_jax.runs.config_page import count, natural, share

PAGE = {
    "task": "au_image",
    # "": the set's own split; else names, or a file of names. half: every other one.
    "people": {"train": "", "test": "", "half": "second"},
    "role": "score",  # or "loss"; what the finished run may be used for
    "mesh": common.mesh("convolutions"),
    "seed": natural(3),
    "num_steps": count(1_500),
    "stage1_steps": natural(1_000),  # the first of the steps; the others are stage 2's
    "batch_size": count(32),
    "model": {
        "backbone": "resnet18",
        # Fields that replace those of the published backbone.
        "backbone_fields": {
            "patch": count(4),
            "channels": count((32, 64, 128)),
            "depths": count((2, 2, 2)),
        },
        "width": natural(64),  # of nodes and edges; 0 is the original's share of the backbone's
        "crop": count(64),  # pixels read of each image: a random part in training, else the middle
        "dtype": "float32",
    },
    # Pixels by which the edges are repeated, and shares by which colours change.
    "augment": {
        "shift": natural(4),
        "brightness": natural(0.2),
        "contrast": natural(0.2),
        "saturation": natural(0.2),
    },
    "edge_weight": natural(0.05),
    "learning_rates": {"stage1": natural(2e-3), "stage2": natural(1e-3)},
    "optimizer": common.optimizer(learning_rate=None, lr_decay_fraction=0.6),
    "ema_decay": share(0.98),
    "checkpoint_every": count(500),
    "keep_checkpoints": count(1),
    "eval_images": count(10_000),
}
PRESETS = {
    "quickstart": {},
    "open": {
        "num_steps": 30_000,
        "stage1_steps": 20_000,
        "batch_size": 64,
        "model.backbone_fields": {},
        "model.width": 0,
        "model.crop": 128,
        "model.dtype": "bfloat16",
        "augment.shift": 8,
        "learning_rates.stage1": 1e-3,
        "learning_rates.stage2": 3e-4,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 2_000,
    },
    # The original's settings, without its ImageNet weights at the start: 20 epochs a stage.
    "paper": {
        "num_steps": 60_000,
        "stage1_steps": 30_000,
        "batch_size": 64,
        "data.flip": True,
        "model.backbone": "resnet50",
        "model.backbone_fields": {},
        "model.width": 0,
        "model.crop": 224,
        "model.dtype": "bfloat16",
        "augment.shift": 0,
        "augment.brightness": 0.4,
        "augment.contrast": 0.4,
        "augment.saturation": 0.4,
        "learning_rates.stage1": 1e-4,
        "learning_rates.stage2": 1e-5,
        "optimizer.lr_decay_fraction": 1.0,
        "optimizer.b2": 0.999,
        "optimizer.weight_decay": 5e-4,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 5_000,
        "eval_images": 1_000_000,
    },
}


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    return common.page_config(PAGE, PRESETS, preset, "au_image").lock()
