"""Stage II: VQ-AUFace, from a reference face and a description of action units to image tokens.

    python -m auface_jax.train --config configs/stage2.py[:PRESET]

paper       256 px, flat layout, 2,048 tokens; BP4D-AUText
open        128 px, depth layout; open faces, one GPU
quickstart  64 px, depth layout; open faces, two CPU cores

It builds on Stage I's run, and its evaluation on the probe's; `open` and `quickstart` train them
first when they are absent.

The paper's ablations are variants of a preset, in run folders of their own:

    --config configs/stage2.py:quickstart,ablation=no_structure      one of ABLATIONS
    --config configs/stage2.py:quickstart,anatomical=on              on a Stage I with (on) or
                                                                     without (off) that loss
"""

from ml_collections import ConfigDict

from auface_jax.runs import presets

# Changes to `model`: what is left out of the reference's tokens, or labels in place of the text.
ABLATIONS = {
    "labels": {"input": "labels"},
    "no_structure": {"tokens": ("appearance", "reference")},  # without T_S
    "no_appearance": {"tokens": ("structure", "reference")},  # without T_A
    "no_reference": {"tokens": ("appearance", "structure")},  # without T_V
    "no_face": {"tokens": ()},  # without all three
}
# Weight of Stage I's anatomical loss where it is switched on: as `paper` has it.
ANATOMICAL = 0.015
WEIGHTS = {  # of `paper`, as pretrained.convert writes them
    "text_weights": "weights/t5-large",
    "structure_weights": "weights/clip-vit-large-patch14",
    "appearance_weights": "weights/arcface-r100",
}


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`, "" for the best that this machine can run, or of a variant."""
    preset, *changes = preset.split(",")
    preset, reason = presets.choose(preset, "configs/stage2.py", weights=tuple(WEIGHTS.values()))
    config = ConfigDict(
        {
            "task": "maskgit",
            "preset": preset,
            "preset_reason": reason,
            # Finished runs that this one builds on; "" is the sibling of this run's folder.
            "requires": {"stage1": {"run": ""}, "au_probe": {"run": ""}},
            "data": presets.data_config(preset),
            "mesh": presets.mesh_config("transformer"),
            "seed": 0,
            "num_steps": 1_350,
            "batch_size": 16,
            "model": {
                "text_encoder": {
                    "d_model": 64,
                    "d_kv": 32,
                    "d_ff": 128,
                    "num_layers": 2,
                    "num_heads": 2,
                    "feed_forward": "gated-gelu",
                },
                "face_encoder": {"patch": 4, "channels": 48},
                # Pre-trained networks in their place, kept as they are: a folder that
                # pretrained.convert wrote, one as published, or hf:OWNER/NAME; "" is none.
                "text_weights": "",  # T5
                "structure_weights": "",  # CLIP
                "appearance_weights": "",  # ArcFace
                "input": "text",  # or "labels"
                # What the model is given of the reference: T_A, T_S, T_V.
                "tokens": ("appearance", "structure", "reference"),
                "transformer": {
                    "layout": "depth",  # or "flat"
                    "d_model": 128,  # D
                    "num_layers": 3,
                    "num_heads": 4,
                    "mlp_ratio": 2.0,  # of the gated feed-forward: three matrices, not two
                    "num_text_maps": 32,  # learned maps over the grid that the pooled text mixes
                    # The same function in less memory, or in a shorter program (models/maskgit.py).
                    "scan": False,  # a loop over stacked layers
                    "remat": "",  # or "products" or "nothing": what is kept for the gradient
                },
                "dtype": "float32",
            },
            "label_smoothing": 0.1,
            "loss": {
                # Weight of a token of each level, the last for all further ones: what an expression
                # is stands in the coarse levels.
                "quantizer_weights": (2.0, 1.0, 0.5),
                # Weight of reading the units from the pooled text; 0 with a pre-trained encoder.
                "units": 0.5,
            },
            # Keep on the device what frozen networks make of each reference, in place of computing
            # it in every step; needs augment to be off.
            "cache_references": False,
            # The same model trained with less arithmetic or in less memory; 0 switches each off.
            "speed": {
                # Mask ratios are stratified over so many neighbouring examples, and logits are
                # computed for masked tokens alone.
                "mask_group": 0,
                # Depth layout, with mask_group: a masked position is predicted at so many of its
                # quantizer levels in a step, by turns.
                "quantizers_per_step": 0,
                # Heads of self-attention at a time, where cuDNN has no kernel.
                "heads_per_step": 0,
            },
            "full_mask_prob": 0.3,  # share of the rows where no token is given
            # Image and reference together: at most so many pixels, such a share a colour channel.
            "augment": {"shift": 3, "tint": 0.1},
            # Shares of the rows that lose their text alone, their reference alone, or both.
            "dropout": {"text": 0.1, "reference": 0.03, "both": 0.05},
            "decode": {
                "steps": 12,
                "guidance": 5.0,
                "temperature": 0.3,
                "choice_temperature": 2.0,
                "order": "confidence",  # or "halton"
                "guidance_schedule": "constant",  # or "linear" or "cosine", up to guidance
                "top_k": 0,  # draw among so many codes; 0 is all
                "top_p": 1.0,  # draw among codes that are together so probable; 1 is all
                "level_steps": (),  # flat layout: of the steps, those of each level
            },
            "optimizer": {
                # Of the learning rate, for hidden layers' kernels; 0 updates all by AdamW.
                "muon_lr_multiplier": 1.5,
                "learning_rate": 2e-3,
                "warmup_steps": 100,
                "lr_decay_fraction": 0.5,
                "b1": 0.9,
                "b2": 0.98,
                "weight_decay": 0.01,
                "clip_norm": 1.0,
            },
            "ema_decay": 0.99,
            "log_every": 50,
            "checkpoint_every": 300,
            "keep_checkpoints": 2,
            # What becomes of a step that went wrong: see `auface_jax.training.guard`.
            "guard": {"action": "stop", "grad_norm": 0.0, "spike": 0.0, "patience": 100},
            "sample_every": 700,
            "eval_images": 256,
        }
    )
    if preset == "open":
        config.model.text_encoder.update(
            {"d_model": 256, "d_kv": 64, "d_ff": 512, "num_layers": 4, "num_heads": 4}
        )
        config.model.face_encoder.update({"patch": 4, "channels": 128})
        config.model.transformer.update({"d_model": 512, "num_layers": 8, "num_heads": 8})
        config.model.transformer.update({"scan": True, "remat": "products"})
        config.model.dtype = "bfloat16"
        config.decode.guidance = 3.0
        config.speed.mask_group = 16
        config.update({"num_steps": 100_000, "batch_size": 128, "eval_images": 2_000})
        config.update({"log_every": 200, "checkpoint_every": 2_000, "sample_every": 5_000})
        config.optimizer.update(
            {"muon_lr_multiplier": 0.0, "learning_rate": 3e-4, "warmup_steps": 1_000}
        )
        config.ema_decay = 0.999
    elif preset == "paper":
        config.model.text_encoder.update(
            {"d_model": 1024, "d_kv": 64, "d_ff": 4096, "num_layers": 24, "num_heads": 16}
        )
        config.model.text_encoder.feed_forward = "relu"  # T5-large's
        config.model.update(WEIGHTS)
        config.data.tokenizer = "t5-large"
        config.cache_references = True
        config.model.face_encoder.update({"patch": 8, "channels": 256})
        config.model.transformer.update(
            {"layout": "flat", "d_model": 512, "num_layers": 12, "num_heads": 8}
        )
        config.model.transformer.update({"num_text_maps": 0, "scan": True, "remat": "products"})
        config.speed.heads_per_step = 1
        config.speed.mask_group = 2  # the rows of one of eight devices
        config.loss.update({"quantizer_weights": (1.0,), "units": 0.0})
        config.augment.update({"shift": 0, "tint": 0.0})
        config.full_mask_prob = 0.0
        config.model.dtype = "bfloat16"
        config.decode.guidance = 3.0
        config.update({"num_steps": 151_000, "batch_size": 16, "eval_images": 2_000})  # 8 epochs
        config.update({"log_every": 200, "checkpoint_every": 5_000, "sample_every": 5_000})
        config.optimizer.update(
            {
                "muon_lr_multiplier": 0.0,
                "learning_rate": 3e-4,
                "warmup_steps": 1_000,
                "lr_decay_fraction": 0.0,
            }
        )
        config.ema_decay = 0.999
    for change in changes:
        apply_change(config, change)
    return config.lock()


def apply_change(config: ConfigDict, change: str) -> None:
    """Makes `config` that of a variant: `ablation=NAME`, `anatomical=on` or `anatomical=off`.

    Raises:
      ValueError: anything else.
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
