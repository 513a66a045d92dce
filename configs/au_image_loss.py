"""The image AU recogniser for training losses: another seed, backbone and half of the people.

    python -m auface_jax.train --config configs/au_image_loss.py[:PRESET]

Everything else is as in `configs/au_image.py`, whose recogniser evaluates what is trained with this
one.
"""

from auface_jax.configs import au_image, common
from ml_collections import ConfigDict

CHANGES = {"role": "loss", "seed": 4, "people.half": "first", "model.backbone": "resnet50"}
PRESETS = {
    "quickstart": {
        **au_image.PRESETS["quickstart"],
        **CHANGES,
        "model.backbone_fields.channels": (16, 32, 64),  # bottlenecks: four times as many come out
    },
    "open": {**au_image.PRESETS["open"], **CHANGES},
    "paper": {**au_image.PRESETS["paper"], **CHANGES, "model.backbone": "swin_tiny"},
}


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    return common.page_config(au_image.PAGE, PRESETS, preset, "au_image_loss").lock()
