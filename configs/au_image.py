"""The image AU recogniser that judges: ME-GraphAU, both of its stages in one run.

    python -m auface_jax.train --config configs/au_image.py[:PRESET]

paper       ResNet-50 on 224 of BP4D's 256 px
open        ResNet-18 at 128 px on open faces, one GPU
quickstart  a narrow ResNet-18 at 64 px on open faces, two CPU cores

`configs/au_image_loss.py` is the other recogniser, for training losses.
"""

from ml_collections import ConfigDict

from auface_jax.runs import presets


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    preset, reason = presets.choose(preset, "configs/au_image.py")
    config = ConfigDict(
        {
            "task": "au_image",
            "preset": preset,
            "preset_reason": reason,
            "requires": {},
            "data": presets.data_config(preset),
            # "": the set's own split; else names, or a file of names. half: every other one.
            "people": {"train": "", "test": "", "half": "second"},
            "role": "score",  # or "loss"; what the finished run may be used for
            "mesh": presets.mesh_config("convolutions"),
            "seed": 3,
            "num_steps": 1_500,
            "stage1_steps": 1_000,  # of them; the others are stage 2's
            "batch_size": 32,
            "model": {
                "backbone": "resnet18",
                # What replaces the fields of the published one.
                "backbone_fields": {"patch": 4, "channels": (32, 64, 128), "depths": (2, 2, 2)},
                "width": 64,  # of nodes and edges; 0 is the original's share of the backbone's
                "crop": 64,  # pixels read of each image: a random part in training, the middle else
                "dtype": "float32",
            },
            # Pixels that the edges are repeated by, and shares of brightness and so on.
            "augment": {"shift": 4, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
            "edge_weight": 0.05,
            "learning_rates": {"stage1": 2e-3, "stage2": 1e-3},
            "optimizer": {
                "warmup_steps": 50,
                "lr_decay_fraction": 0.6,
                "b1": 0.9,
                "b2": 0.99,
                "weight_decay": 1e-2,
                "clip_norm": 1.0,
            },
            "ema_decay": 0.98,
            "log_every": 50,
            "checkpoint_every": 500,
            "keep_checkpoints": 1,
            # What becomes of a step that went wrong: see `auface_jax.training.guard`.
            "guard": {"action": "stop", "grad_norm": 0.0, "spike": 0.0, "patience": 100},
            "sample_every": 0,  # it makes no pictures
            "eval_images": 10_000,
        }
    )
    if preset in ("open", "paper"):
        config.model.backbone_fields = ConfigDict()  # `update` with {} would change nothing
    if preset == "open":
        config.model.update({"width": 0, "crop": 128, "dtype": "bfloat16"})
        config.update({"num_steps": 30_000, "stage1_steps": 20_000, "batch_size": 64})
        config.augment.shift = 8
        config.update({"log_every": 200, "checkpoint_every": 2_000, "ema_decay": 0.999})
        config.learning_rates.update({"stage1": 1e-3, "stage2": 3e-4})
    elif preset == "paper":
        # The original's, but that it begins with weights from ImageNet: 20 epochs a stage.
        config.model.update({"backbone": "resnet50", "width": 0})
        config.model.update({"crop": 224, "dtype": "bfloat16"})
        config.data.flip = True
        config.update({"num_steps": 60_000, "stage1_steps": 30_000, "batch_size": 64})
        config.augment.update({"shift": 0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4})
        config.learning_rates.update({"stage1": 1e-4, "stage2": 1e-5})
        config.optimizer.update({"lr_decay_fraction": 1.0, "b2": 0.999, "weight_decay": 5e-4})
        config.update({"log_every": 200, "checkpoint_every": 5_000, "ema_decay": 0.999})
        config.eval_images = 1_000_000
    return config.lock()
