"""What a config's leaves may be: looked at before anything is built, all faults told at once."""

import math

import ml_collections

from auface_jax.runs.run_config import flatten
from auface_jax.training.guard import Guard

# By the leaf's whole name or its last part: whole numbers of at least one, ...
COUNTS = {
    *(
        "num_steps",
        "batch_size",
        "num_microbatches",
        "init_examples",
        "log_every",
        "checkpoint_every",
    ),
    *("keep_checkpoints", "sample_every", "eval_images", "fsdp", "tensor", "size", "patience"),
    *("codes", "latent", "patch", "depth", "heads", "width", "num_layers", "num_heads", "crop"),
    *("d_model", "d_kv", "d_ff", "per_row", "group", "every"),
    *("model.num_quantizers", "decode.steps"),
}
# ... shares between nothing and all, ...
SHARES = {
    *("ema_decay", "b1", "b2", "label_smoothing", "full_mask_prob", "text", "reference", "both"),
    *(
        "optimizer.lr_decay_fraction",
        "discriminator_optimizer.lr_decay_fraction",
        "codebook.decay",
        "anatomical.decay",
    ),
    *("held_out_rows", "paraphrased", "dead_code_threshold", "top_p"),
}
# ... and none of the others is below nothing, but for these.
SIGNED = {"guidance", "margin"}
ZERO_WIDTH = {"model.width"}  # 0 is the published network's own


class ConfigError(ValueError):
    """A config has values that no run can have."""


def check_config(config: ml_collections.ConfigDict) -> None:
    """Raises a ConfigError that lists every number that makes no sense, and what would."""
    faults = []
    for name, value in flatten(config.to_dict()).items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if expected := _expected(name, number):
                faults.append(f"  {name}={value!r}: expected {expected}")
                break
    if "guard" in config:
        try:
            Guard(config.guard)
        except ValueError as error:
            faults.append(f"  {error}")
    if faults:
        raise ConfigError("the config cannot be trained with:\n" + "\n".join(faults))


def _expected(name: str, number: float) -> str | None:
    """What a leaf should be where it is not; None where it is."""
    last = name.rpartition(".")[2]
    if not math.isfinite(number):
        return "a finite number"
    if {name, last} & COUNTS and name not in ZERO_WIDTH and number < 1:
        return "1 or more"
    if {name, last} & SHARES and not 0 <= number <= 1:
        return "a share, from 0 to 1"
    if last not in SIGNED and number < 0:
        return "0 or more"
    return None
