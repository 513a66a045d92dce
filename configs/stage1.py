"""Stage I: the residual VQGAN that turns a face into tokens and back.

    python -m auface_jax.train --config configs/stage1.py[:PRESET]

paper       256 px, 16 x 16 positions x 8 quantizer levels x 8,192 codes; BP4D-AUText
open        128 px, 8 x 8 positions x 4 quantizer levels x 1,024 codes; open faces, one GPU
quickstart  64 px, 8 x 8 positions x 4 quantizer levels x 256 codes = 2,048 bits; open faces, two
            CPU cores
"""

from auface_jax.configs import common
from ml_collections import ConfigDict

from auface_jax.runs.config_page import count, natural, share

PAGE = {
    "task": "vqgan",
    "mesh": common.mesh("convolutions"),
    "seed": natural(0),
    "num_steps": count(1_080),
    "batch_size": count(16),
    "num_microbatches": count(1),  # parts that a batch passes in, one after the other
    "init_examples": count(384),  # examples for principal components and k-means
    "model": {
        "image_size": count(64),
        "num_quantizers": count(4),  # Q
        "codebook_size": count(256),  # K
        "latent_dim": count(32),  # C
        "shared_codebook": False,  # one codebook for all quantizer levels
        # Side of the map that each level quantises, such as (2, 4, 8, 8); empty: the whole grid.
        "scales": (),
        "channels": count((64, 128)),  # from fine to coarse, halving the size each time
        "patch": count(4),  # pixels folded into channels before the first convolution
        "num_res_blocks": count(2),
        "attention": False,
        "patch_skip": True,  # the linear path, started at principal components
        "remat": False,  # recompute activations for the gradient, which saves memory
        "dtype": "float32",
    },
    "codebook": {
        "decay": share(0.97),  # of the moving averages
        # A code is restarted below this share of the mean use.
        "dead_code_threshold": share(0.03),
    },
    "loss": {
        "recon": natural(1.0),
        "l2": natural(10.0),
        "gradient": natural(0.1),
        "commit": natural(0.25),
        "perceptual": natural(0.0),
        "lpips": natural(0.0),
        "anatomical": natural(0.0),
    },
    # Converted weights of VGG16, or a run of configs/au_image_loss.py in its place.
    "perceptual": {"network": ""},
    # Converted weights of LPIPS' two parts.
    "lpips": {"backbone": "", "heads": ""},
    "anatomical": {
        "run": "",  # of configs/au_image_loss.py
        # The loss counts once the running mean of L_recon is below the threshold, and not before
        # the start step.
        "threshold": natural(0.15),
        "start_step": natural(0),
        "decay": share(0.99),
    },
    "gan": {
        "weight": natural(0.0),
        "start_step": natural(0),
        "r1": {"weight": natural(0.0), "every": count(16)},  # every so many steps
    },
    "discriminator": {"channels": count(32), "num_layers": count(2)},
    "optimizer": common.optimizer(
        muon_lr_multiplier=2.0, learning_rate=1.5e-3, warmup_steps=50, weight_decay=0.0
    ),
    "discriminator_optimizer": common.optimizer(
        learning_rate=5e-4,
        warmup_steps=1,
        lr_decay_fraction=0.4,
        b1=0.5,
        b2=0.9,
        weight_decay=0.0,
    ),
    "sample_every": natural(600),
}
PRESETS = {
    "quickstart": {},
    "open": {
        "num_steps": 60_000,
        "batch_size": 64,
        "init_examples": 2_048,
        "model.image_size": 128,
        "model.codebook_size": 1024,
        "model.latent_dim": 64,
        "model.channels": (128, 256, 256),
        "model.attention": True,
        "model.dtype": "bfloat16",
        "gan.weight": 0.1,
        "gan.start_step": 20_000,
        "discriminator.channels": 64,
        "discriminator.num_layers": 3,
        "optimizer.muon_lr_multiplier": 0.0,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 2_000,
        "sample_every": 5_000,
        "eval_images": 2_000,
    },
    "paper": {
        "num_steps": 150_000,
        "batch_size": 240,
        "num_microbatches": 30,  # 8 images at a time: a card of 24 GB
        "init_examples": 240,
        "model.image_size": 256,
        "model.num_quantizers": 8,
        "model.codebook_size": 8192,
        "model.latent_dim": 256,
        "model.channels": (128, 128, 256, 256, 512),
        "model.patch": 1,
        "model.attention": True,
        "model.patch_skip": False,
        "model.remat": True,
        "model.dtype": "bfloat16",
        "codebook.decay": 0.99,
        "loss.l2": 0.0,
        "loss.gradient": 0.0,
        "loss.perceptual": 1.0,
        "loss.anatomical": 0.015,
        "perceptual.network": "weights/vgg16",
        "anatomical.run": "runs/au_image_loss-paper",
        "gan.weight": 0.1,
        "gan.start_step": 20_000,
        "discriminator.channels": 64,
        "discriminator.num_layers": 3,
        "optimizer.muon_lr_multiplier": 0.0,
        "optimizer.learning_rate": 3e-4,
        "optimizer.lr_decay_fraction": 0.0,
        "optimizer.b2": 0.999,
        "discriminator_optimizer.learning_rate": 3e-4,
        "discriminator_optimizer.lr_decay_fraction": 0.0,
        "ema_decay": 0.999,
        "log_every": 200,
        "checkpoint_every": 5_000,
        "sample_every": 5_000,
        "eval_images": 2_000,
    },
}


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    return common.page_config(PAGE, PRESETS, preset, "stage1").lock()
