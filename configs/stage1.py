"""Stage I: the residual VQGAN that turns a face into tokens and back.

    python -m auface_jax.train --config configs/stage1.py[:PRESET]

paper       256 px, 16 x 16 positions x 8 levels x 8,192 codes; BP4D-AUText
open        128 px, 8 x 8 positions x 4 levels x 1,024 codes; open faces, one GPU
quickstart  64 px, 8 x 8 positions x 4 levels x 256 codes = 2,048 bits; open faces, two CPU cores
"""

from ml_collections import ConfigDict

from auface_jax.runs import presets


def get_config(preset: str = "") -> ConfigDict:
    """The locked config of `preset`; "" takes the best that this machine can run."""
    preset, reason = presets.choose(preset, "configs/stage1.py")
    config = ConfigDict(
        {
            "task": "vqgan",
            "preset": preset,
            "preset_reason": reason,
            "requires": {},
            "data": presets.data_config(preset),
            "mesh": presets.mesh_config("convolutions"),
            "seed": 0,
            "num_steps": 1_080,
            "batch_size": 16,
            "num_microbatches": 1,  # parts that a batch passes in, one after the other
            "init_examples": 384,  # records for principal components and k-means
            "model": {
                "image_size": 64,
                "num_quantizers": 4,  # Q
                "codebook_size": 256,  # K
                "latent_dim": 32,  # C
                "shared_codebook": False,  # one for all levels
                # Side of the map that each level quantises, such as (2, 4, 8, 8); empty: all of it.
                "scales": (),
                "channels": (64, 128),  # from fine to coarse, halving the size each time
                "patch": 4,  # pixels folded into channels before the first convolution
                "num_res_blocks": 2,
                "attention": False,
                "patch_skip": True,  # the linear path, started at principal components
                "remat": False,  # less memory: activations are computed again for the gradient
                "dtype": "float32",
            },
            "codebook": {
                "decay": 0.97,
                "dead_code_threshold": 0.03,
            },  # the second: share of mean use
            "loss": {
                "recon": 1.0,
                "l2": 10.0,
                "gradient": 0.1,
                "commit": 0.25,
                "perceptual": 0.0,
                "lpips": 0.0,
                "anatomical": 0.0,
            },
            # Converted weights of VGG16, or a run of configs/au_image_loss.py in its place.
            "perceptual": {"network": ""},
            # Converted weights of LPIPS' two parts.
            "lpips": {"backbone": "", "heads": ""},
            "anatomical": {
                "run": "",  # of configs/au_image_loss.py
                # The loss counts once the running mean of L_recon is below the threshold, and not
                # before the start step.
                "threshold": 0.15,
                "start_step": 0,
                "decay": 0.99,
            },
            "gan": {
                "weight": 0.0,
                "start_step": 0,
                "r1": {"weight": 0.0, "every": 16},  # the second: steps from one to the next
            },
            "discriminator": {"channels": 32, "num_layers": 2},
            "optimizer": {
                # Of the learning rate, for hidden layers' kernels; 0 updates all by AdamW.
                "muon_lr_multiplier": 2.0,
                "learning_rate": 1.5e-3,
                "warmup_steps": 50,  # steps
                "lr_decay_fraction": 0.5,  # last share of the steps, over which the rate falls to 0
                "b1": 0.9,
                "b2": 0.99,
                "weight_decay": 0.0,
                "clip_norm": 1.0,
            },
            "discriminator_optimizer": {
                "learning_rate": 5e-4,
                "warmup_steps": 1,
                "lr_decay_fraction": 0.4,
                "b1": 0.5,
                "b2": 0.9,
                "weight_decay": 0.0,
                "clip_norm": 1.0,
            },
            "ema_decay": 0.99,  # of the weights used for evaluation and by Stage II
            "log_every": 50,
            "checkpoint_every": 200,
            "keep_checkpoints": 2,
            # What becomes of a step that went wrong: see `auface_jax.training.guard`.
            "guard": {"action": "stop", "grad_norm": 0.0, "spike": 0.0, "patience": 100},
            "sample_every": 600,
            "eval_images": 256,  # held-out records, spread evenly over the held-out people
        }
    )
    if preset == "open":
        config.model.update(
            {
                "image_size": 128,
                "codebook_size": 1024,
                "latent_dim": 64,
                "channels": (128, 256, 256),
            }
        )
        config.model.update({"attention": True, "dtype": "bfloat16"})
        config.update({"num_steps": 60_000, "batch_size": 64, "init_examples": 2_048})
        config.update({"log_every": 200, "checkpoint_every": 2_000, "sample_every": 5_000})
        config.optimizer.muon_lr_multiplier = 0.0
        config.gan.update({"weight": 0.1, "start_step": 20_000})
        config.discriminator.update({"channels": 64, "num_layers": 3})
        config.update({"ema_decay": 0.999, "eval_images": 2_000})
    elif preset == "paper":
        config.model.update(
            {
                "image_size": 256,
                "num_quantizers": 8,
                "codebook_size": 8192,
                "latent_dim": 256,
                "patch": 1,
            }
        )
        config.model.update({"channels": (128, 128, 256, 256, 512), "attention": True})
        config.model.update({"patch_skip": False, "dtype": "bfloat16"})
        config.loss.update({"l2": 0.0, "gradient": 0.0, "perceptual": 1.0, "anatomical": 0.015})
        config.perceptual.network = "weights/vgg16"
        config.anatomical.run = "runs/au_image_loss-paper"
        config.gan.update({"weight": 0.1, "start_step": 20_000})
        config.discriminator.update({"channels": 64, "num_layers": 3})
        config.update({"num_steps": 150_000, "batch_size": 240, "init_examples": 240})
        config.update({"num_microbatches": 30})  # 8 images at a time: a card of 24 GB
        config.model.remat = True
        config.optimizer.update(
            {
                "muon_lr_multiplier": 0.0,
                "learning_rate": 3e-4,
                "lr_decay_fraction": 0.0,
                "b2": 0.999,
            }
        )
        config.discriminator_optimizer.update({"learning_rate": 3e-4, "lr_decay_fraction": 0.0})
        config.codebook.decay = 0.99
        config.update({"log_every": 200, "checkpoint_every": 5_000, "sample_every": 5_000})
        config.update({"ema_decay": 0.999, "eval_images": 2_000})
    return config.lock()
