"""Blocks that all config pages share, and the choice of a preset.

`paper` has the paper's sizes on BP4D-AUText with public weights, `open` trains on 128 px open faces
on one GPU, `quickstart` on 64 px open faces on two CPU cores.
"""

from typing import Any

from ml_collections import ConfigDict

from auface_jax.runs import presets
from auface_jax.runs.config_page import Ranged, count, make_config, natural, real, share

# Where the records are, or what to build where `dir` is absent, and how they are read.
DATA = {
    # What to build: see `auface_jax.data.build.builder.build`.
    "source": "builtin",  # or "ict" or "folder"
    "people": natural(360),
    "frames": natural(12),
    "facekit": "",  # the ict source's clone of ICT-FaceKit
    "labels": "",  # the folder source's CSV
    # Intensity from which a unit is present, for a CSV of intensities.
    "threshold": Ranged(None, 0, None),
    "maximum": natural(1.0),  # the value that the intensities of that CSV are divided by
    "uncoded_units": "refuse",  # or "absent": units that no line of that CSV codes
    "align": "auto",  # or "landmarks", "detector" or "off": how its faces are framed
    "margin": real(0.0),  # room around aligned faces, as a share of the crop
    # AU combinations that training never sees: a share of the data's, and a number of new ones.
    "held_out_rows": share(0.0),
    "novel_rows": natural(0),
    "size": count(64),  # pixels
    "seed": natural(0),
    "dir": "",  # "" takes a folder under datasets/ named after all of the above
    # How to read it.
    "flip": True,  # mirror image and reference together, half of the time
    "redescribe": True,  # draw another text of the same constructs each time
    "dictionary": "",  # "" is the project's own; else a file of the same form
    # Continue without records and shards that cannot be read; metrics.jsonl counts them.
    "skip_corrupt": False,
    # Processes that make the batches of each training process; 0 uses threads. For data sets that
    # are too large to be kept decoded; texts alone never use processes.
    "workers": natural(0),
    # The words of the texts (`facs.wording`): shares of the dictionary's sentences, of their
    # paraphrases and of the corpus, and the share that states degrees, where intensities exist.
    "wording": {
        "dictionary": share(0.3),
        "paraphrase": share(0.3),
        "corpus": share(0.4),
        "degrees": share(0.4),
    },
    # "embedded" is that of the embedded text encoder, "" one of the dictionary's words alone; else
    # a Hugging Face name or folder.
    "tokenizer": "embedded",
    # Text lengths in tokens; a batch is padded to the shortest that fits. So many batches are drawn
    # at once and parted by length.
    "buckets": count((64, 128, 256)),
    "group": count(8),
}
DATA_PRESETS = {
    "quickstart": {},
    "open": {
        "data.people": 2_000,
        "data.frames": 50,
        "data.size": 128,
        "data.buckets": (128, 256, 512),
        "data.held_out_rows": 0.1,
        "data.novel_rows": 2_000,
    },
    "paper": {
        "data.source": "bp4d",
        "data.size": 256,
        "data.dir": str(presets.PAPER_DATA),
        "data.redescribe": False,
        "data.tokenizer": "t5-large",
        "data.group": 1,
        "data.people": 0,
        "data.frames": 0,
        "data.buckets": (128, 256, 512, 1024, 2048),
        "data.flip": False,
    },
}

# The mesh's axes that each dimension is split over: see `parallel.sharding`. Networks of
# convolutions exchange more than their weights, so `tensor` splits only their examples and storage.
MESH_RULES = {
    "transformer": {
        "batch": ("data", "fsdp"),
        "embed": ("fsdp",),
        "heads": ("tensor",),
        "mlp": ("tensor",),
        "vocab": ("tensor",),
        "weight": ("fsdp", "tensor"),
    },
    "convolutions": {"batch": ("data", "fsdp", "tensor"), "weight": ("fsdp", "tensor")},
}

# Reports, checkpoints, and what happens after a bad step.
RUN = {
    "ema_decay": share(0.99),  # of the averaged weights, which evaluation and later stages use
    "log_every": count(50),
    "checkpoint_every": count(200),
    "keep_checkpoints": count(2),
    "sample_every": natural(0),  # steps from one sample sheet to the next; 0 draws none
    "eval_images": count(256),  # held-out examples, spread evenly over the held-out people
    # See `auface_jax.training.guard`.
    "guard": {
        "action": "stop",  # or "skip"
        "grad_norm": natural(0.0),
        "spike": natural(0.0),
        "patience": count(100),
    },
}


def mesh(network: str) -> dict[str, Any]:
    """The mesh of one device, or of data parallelism over all devices.

    Args:
      network: whose rules, a key of `MESH_RULES`.
    """
    # Devices that share one copy of the parameters, and that share each layer's work.
    return {"fsdp": count(1), "tensor": count(1), "rules": MESH_RULES[network]}


def optimizer(*, learning_rate: float | None, **changes: Any) -> dict[str, Any]:
    """Adam(W) with a schedule: see `auface_jax.training.optimizers`.

    Args:
      learning_rate: the highest rate of the schedule; None leaves the leaf out, for a page that has
        several rates.
      changes: leaves that differ from the defaults.
    """
    defaults = {
        # Muon's learning rate for the kernels of hidden layers, as a multiple of the learning rate;
        # 0 updates all parameters by AdamW.
        "muon_lr_multiplier": natural(0.0),
        "warmup_steps": natural(50),
        "lr_decay_fraction": share(0.5),  # last share of the steps, over which the rate falls to 0
        "b1": share(0.9),
        "b2": share(0.99),
        "weight_decay": natural(1e-2),
        "clip_norm": natural(1.0),  # bound of the global gradient norm; 0 is none
    }
    if unknown := changes.keys() - defaults.keys():
        raise KeyError(f"no leaves of an optimizer: {', '.join(sorted(unknown))}")
    rate = {} if learning_rate is None else {"learning_rate": natural(learning_rate)}
    return rate | {
        name: default._replace(value=changes.get(name, default.value))
        for name, default in defaults.items()
    }


def text_encoder() -> dict[str, Any]:
    """A small T5 encoder that is trained along."""
    return {
        "d_model": count(64),
        "d_kv": count(32),
        "d_ff": count(128),
        "num_layers": count(2),
        "num_heads": count(2),
        "feed_forward": "gated-gelu",
    }


def page_config(
    page: dict[str, Any],
    page_presets: dict[str, dict[str, Any]],
    preset: str,
    name: str,
    *,
    weights: tuple[str, ...] = (),
) -> ConfigDict:
    """The config of a page's preset, not locked.

    Args:
      page: the page's leaves; what all pages share is added.
      page_presets: preset -> its changes to the page.
      preset: a preset's name; "" takes the best that this machine can run.
      name: the page's file, `configs/NAME.py`.
      weights: folders of outside weights that the preset `paper` needs beside its data.
    """
    preset, reason = presets.choose(preset, f"configs/{name}.py", weights=weights)
    start = {"preset": preset, "preset_reason": reason, "requires": {}, "data": DATA}
    changes = DATA_PRESETS[preset] | page_presets[preset]
    return make_config(start | RUN | page, {preset: changes}, preset)
