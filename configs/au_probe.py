"""The small action-unit classifier that reads the pictures of Stage II's evaluation.

    python -m auface_jax.train --config configs/au_probe.py[:PRESET]

Trained on real pictures of the training people alone. Its figures accompany training; a trained
model is judged by a recogniser (`auface_jax.evaluate`).
"""

from ml_collections import ConfigDict

from auface_jax.runs import presets


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    preset, reason = presets.choose(preset, "configs/au_probe.py")
    config = ConfigDict(
        {
            "task": "au_probe",
            "preset": preset,
            "preset_reason": reason,
            "requires": {},
            "data": presets.data_config(preset),
            "mesh": presets.mesh_config("convolutions"),
            "seed": 1,
            "num_steps": 400,
            "batch_size": 32,
            "model": {"patch": 4, "channels": (48, 96), "dtype": "float32"},
            "optimizer": {
                "muon_lr_multiplier": 1.0,  # see configs/stage1.py
                "learning_rate": 2e-3,
                "warmup_steps": 50,
                "lr_decay_fraction": 0.5,
                "b1": 0.9,
                "b2": 0.99,
                "weight_decay": 1e-2,
                "clip_norm": 1.0,
            },
            "ema_decay": 0.98,
            "log_every": 50,
            "checkpoint_every": 200,
            "keep_checkpoints": 1,
            # What becomes of a step that went wrong: see `auface_jax.training.guard`.
            "guard": {"action": "stop", "grad_norm": 0.0, "spike": 0.0, "patience": 100},
            "sample_every": 0,  # it makes no pictures
            "eval_images": 256,
        }
    )
    if preset != "quickstart":
        config.model.update({"channels": (64, 128, 256), "dtype": "bfloat16"})
        config.optimizer.muon_lr_multiplier = 0.0
        config.update({"num_steps": 10_000, "batch_size": 128, "eval_images": 2_000})
        config.update({"checkpoint_every": 2_000, "log_every": 200})
    return config.lock()
