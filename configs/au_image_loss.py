"""The image AU recogniser for training losses: another seed, backbone and half of the people.

    python -m auface_jax.train --config configs/au_image_loss.py[:PRESET]

All else is as in `configs/au_image.py`, whose recogniser judges what is trained with this one.
"""

import importlib.util
import pathlib

from ml_collections import ConfigDict


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    path = pathlib.Path(__file__).with_name("au_image.py")
    spec = importlib.util.spec_from_file_location("config_au_image", path)
    au_image = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(au_image)
    config = au_image.get_config(preset)
    with config.unlocked():
        config.update({"role": "loss", "seed": 4})
        config.people.half = "first"
        config.model.backbone = "swin_tiny" if config.preset == "paper" else "resnet50"
        if config.preset == "quickstart":
            config.model.backbone_fields.channels = (16, 32, 64)  # bottlenecks: x 4 come out
    return config.lock()
