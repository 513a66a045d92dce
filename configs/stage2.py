"""Stage II: VQ-AUFace, from a reference face and a description of action units to image tokens.

    python -m auface_jax.train --config configs/stage2.py[:PRESET]

paper       256 px, flat layout, 2,048 tokens; BP4D-AUText
open        128 px, depth layout; open faces, one GPU
quickstart  64 px, depth layout; open faces, two CPU cores

The run builds on Stage I's run, and its evaluation on the probe's; `open` and `quickstart` train
them first when they are absent.

The paper's ablations are variants of a preset, in run folders of their own:

    --config configs/stage2.py:quickstart,ablation=no_structure      one of ABLATIONS
    --config configs/stage2.py:quickstart,anatomical=on              on a Stage I with (on) or
                                                                     without (off) that loss
"""

from auface_jax.configs import common
from ml_collections import ConfigDict

from auface_jax.runs.config_page import count, natural, share

# Changes to `model`: what is left out of the reference's tokens, or labels in place of the text.
ABLATIONS = {
    "labels": {"input": "labels"},
    "no_structure": {"tokens": ("appearance", "reference")},  # without T_S
    "no_appearance": {"tokens": ("structure", "reference")},  # without T_A
    "no_reference": {"tokens": ("appearance", "structure")},  # without T_V
    "no_face": {"tokens": ()},  # without all three
}
# Weight of Stage I's anatomical loss where it is switched on, as in `paper`.
ANATOMICAL = 0.015
WEIGHTS = {  # of `paper`, as pretrained.convert writes them
    "text_weights": "weights/t5-large",
    "structure_weights": "weights/clip-vit-large-patch14",
    "appearance_weights": "weights/arcface-r100",
}

PAGE = {
    "task": "maskgit",
    # Finished runs that this one builds on; "" is the sibling of this run's folder.
    "requires": {"stage1": {"run": ""}, "au_probe": {"run": ""}},
    "mesh": common.mesh("transformer"),
    "seed": natural(0),
    "num_steps": count(1_350),
    "batch_size": count(16),
    "model": {
        "text_encoder": common.text_encoder(),
        "face_encoder": {"patch": count(4), "channels": count(48)},
        # Pre-trained networks in their place, kept frozen: a folder that pretrained.convert wrote,
        # one as published, or hf:OWNER/NAME; "" is none.
        "text_weights": "embedded",  # T5 or BERT; "embedded" is in the package
        "structure_weights": "",  # CLIP
        "appearance_weights": "",  # ArcFace
        "input": "text",  # or "labels"
        # Tokens of the reference that the model is given: T_A, T_S, T_V.
        "tokens": ("appearance", "structure", "reference"),
        "transformer": {
            "layout": "depth",  # or "flat"
            "d_model": count(128),  # D
            "num_layers": count(3),
            "num_heads": count(4),
            "mlp_ratio": natural(2.0),  # of the gated feed-forward: three matrices, not two
            "num_text_maps": natural(32),  # learned maps over the grid that the pooled text mixes
            # The same function in less memory, or in a shorter program (models/maskgit.py).
            "scan": False,  # a loop over stacked layers
            "remat": "",  # or "products" or "nothing": what is kept for the gradient
        },
        "dtype": "float32",
    },
    "label_smoothing": share(0.1),
    "loss": {
        # Weight of a token of each quantizer level, the last for all further ones: an expression
        # stands in the coarse levels.
        "quantizer_weights": natural((2.0, 1.0, 0.5)),
        # Weight of reading the units from the pooled text.
        "units": natural(0.5),
    },
    # Keep on the device what frozen networks compute of each reference, in place of computing it
    # in every step; augment must be off.
    "cache_references": False,
    # The same model trained with less arithmetic or in less memory; 0 switches each off.
    "speed": {
        # Mask ratios are stratified over so many neighbouring examples, and logits are computed
        # for masked tokens alone.
        "mask_group": natural(0),
        # Depth layout, with mask_group: a masked position is predicted at so many of its quantizer
        # levels in a step, by turns.
        "quantizers_per_step": natural(0),
        # Heads of self-attention at a time, where cuDNN has no kernel.
        "heads_per_step": natural(0),
    },
    "full_mask_prob": share(0.3),  # share of the examples whose tokens are all masked
    # Image and reference together: at most so many pixels, and such a share of a colour channel.
    "augment": {"shift": natural(3), "tint": natural(0.1)},
    # Shares of the examples that lose their text alone, their reference alone, or both.
    "dropout": {"text": share(0.1), "reference": share(0.03), "both": share(0.05)},
    "decode": {
        "steps": count(12),
        "guidance": natural(5.0),
        "temperature": natural(0.3),
        "choice_temperature": natural(2.0),
        "order": "confidence",  # or "halton"
        "guidance_schedule": "constant",  # or "linear" or "cosine", up to guidance
        "top_k": natural(0),  # sample among so many codes; 0 is all
        "top_p": share(1.0),  # sample among codes of this joint probability; 1 is all
        "level_steps": count(()),  # flat layout: of the steps, those of each quantizer level
    },
    "optimizer": common.optimizer(
        muon_lr_multiplier=1.5, learning_rate=2e-3, warmup_steps=100, b2=0.98
    ),
    "checkpoint_every": count(300),
    "sample_every": natural(700),
}
PRESETS = {
    "quickstart": {},
    "open": {
        "num_steps": 100_000,
        "batch_size": 128,
        "model.text_encoder.d_model": 256,
        "model.text_encoder.d_kv": 64,
        "model.text_encoder.d_ff": 512,
        "model.text_encoder.num_layers": 4,
        "model.text_encoder.num_heads": 4,
        "model.face_encoder.channels": 128,
        "model.transformer.d_model": 512,
        "model.transformer.num_layers": 8,
        "model.transformer.num_heads": 8,
        "model.transformer.scan": True,
        "model.transformer.remat": "products",
        "model.dtype": "bfloat16",
        "speed.mask_group": 16,
        "decode.guidance": 3.0,
        "optimizer.muon_lr_multiplier": 0.0,
        "optimizer.learning_rate": 3e-4,
        "optimizer.warmup_steps": 1_000,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 2_000,
        "sample_every": 5_000,
        "eval_images": 2_000,
    },
    "paper": {
        "num_steps": 151_000,  # 8 epochs
        "data.tokenizer": "t5-large",
        "model.text_encoder.d_model": 1024,  # T5-large's
        "model.text_encoder.d_kv": 64,
        "model.text_encoder.d_ff": 4096,
        "model.text_encoder.num_layers": 24,
        "model.text_encoder.num_heads": 16,
        "model.text_encoder.feed_forward": "relu",
        "model.face_encoder.patch": 8,
        "model.face_encoder.channels": 256,
        **{f"model.{name}": folder for name, folder in WEIGHTS.items()},
        "model.transformer.layout": "flat",
        "model.transformer.d_model": 512,
        "model.transformer.num_layers": 12,
        "model.transformer.num_heads": 8,
        "model.transformer.num_text_maps": 0,
        "model.transformer.scan": True,
        "model.transformer.remat": "products",
        "model.dtype": "bfloat16",
        "loss.quantizer_weights": (1.0,),
        "loss.units": 0.0,
        "cache_references": True,
        "speed.mask_group": 2,  # the examples of one of eight devices
        "speed.heads_per_step": 1,
        "full_mask_prob": 0.0,
        "augment.shift": 0,
        "augment.tint": 0.0,
        "decode.guidance": 3.0,
        "optimizer.muon_lr_multiplier": 0.0,
        "optimizer.learning_rate": 3e-4,
        "optimizer.warmup_steps": 1_000,
        "optimizer.lr_decay_fraction": 0.0,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 5_000,
        "sample_every": 5_000,
        "eval_images": 2_000,
    },
}


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`, "" for the best that this machine can run, or of a variant."""
    preset, *changes = preset.split(",")
    weights = tuple(WEIGHTS.values())
    config = common.page_config(PAGE, PRESETS, preset, "stage2", weights=weights)
    for change in changes:
        apply_change(config, change)
    return config.lock()


def apply_change(config: ConfigDict, change: str) -> None:
    """Makes `config` that of a variant: `ablation=NAME`, `anatomical=on` or `anatomical=off`.

    Raises:
      ValueError: the change is none of these.
    """
    what, _, value = change.partition("=")
    if what == "ablation" and value in ABLATIONS:
        config.model.update(ABLATIONS[value])
        name = value
    elif what == "anatomical" and value in ("on", "off"):
        if (value == "on") == (config.preset == "paper"):
            return  # Stage I has it so anyway
        name = "anatomical" if value == "on" else "no_anatomical"
        recognizer = f"runs/au_image_loss-{config.preset}" if value == "on" else ""
        weight = ANATOMICAL if value == "on" else 0.0
        loss = {"loss": {"anatomical": weight}, "anatomical": {"run": recognizer}}
        config.requires.stage1 = ConfigDict({"run": "", "variant": name, "changes": loss})
    else:
        raise ValueError(
            f"{change!r} is no variant; legal are ablation={'|'.join(ABLATIONS)} and "
            "anatomical=on|off, after a preset and a comma"
        )
    config.variant = f"{config.variant}-{name}" if "variant" in config else name
