"""Optimizers and learning rate schedules built from a config."""

import jax
import ml_collections
import optax
import optax.contrib

from auface_jax.training.state import PyTree


def learning_rate(config: ml_collections.ConfigDict, num_steps: int) -> optax.Schedule:
    """Builds a schedule of linear warm-up, constant rate, and linear decay to zero at the end.

    The first step has 1 / `warmup_steps` of the full rate and not zero, so that it has an effect.

    Args:
      config: `learning_rate`, `warmup_steps`, and `lr_decay_fraction`, the fraction of the steps
        in which the rate decays.
      num_steps: the number of updates in the run.
    """
    decay_steps = max(1, round(config.lr_decay_fraction * num_steps))
    warmup = max(1, config.warmup_steps)
    return optax.join_schedules(
        [
            optax.linear_schedule(
                config.learning_rate / warmup, config.learning_rate, max(1, warmup - 1)
            ),
            optax.constant_schedule(config.learning_rate),
            optax.linear_schedule(config.learning_rate, 0.0, decay_steps),
        ],
        [warmup - 1, max(warmup - 1, num_steps - decay_steps)],
    )


# Stage I's layers that read or write pixels; Muon is for hidden layers (Jordan et al. 2024).
OUTER_LAYERS = frozenset({"conv_in", "conv_out", "skip"})
# The module whose layers have stacked parameters, see `models.maskgit.MaskGIT.scan`.
LOOP = "blocks"


def optimizer(
    config: ml_collections.ConfigDict, num_steps: int, schedule: optax.Schedule | None = None
) -> optax.GradientTransformation:
    """Builds AdamW, or Muon with AdamW, behind clipping by the global gradient norm.

    `config.clip_norm` is the largest norm; 0 turns clipping off. `schedule` replaces the schedule
    of `learning_rate`.

    With `config.muon_lr_multiplier` above 0, Muon (Jordan et al. 2024) updates the kernels of
    hidden layers, at that multiple of the learning rate and with updates as large as Adam's (Liu et
    al. 2025), and Adam(W) with Nesterov momentum updates everything else. A small network then
    needs about half the steps.
    """
    rate = schedule or learning_rate(config, num_steps)
    adam = {"b1": config.b1, "b2": config.b2, "weight_decay": config.weight_decay}
    if config.muon_lr_multiplier:
        update = optax.contrib.muon(
            lambda step: config.muon_lr_multiplier * rate(step),
            # On two cores five iterations take a quarter of a step; three train as well.
            ns_steps=3,
            consistent_rms=0.2,
            muon_weight_dimension_numbers=muon_dimensions,
            weight_decay=config.weight_decay,
            adam_learning_rate=rate,
            **{f"adam_{name}": value for name, value in adam.items()},
        )
    else:
        update = optax.adamw(rate, **adam)
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    return optax.chain(clip, update)


def muon_dimensions(params: PyTree) -> PyTree:
    """Names the axes of each parameter that make a matrix for Muon; None leaves it to Adam."""

    def of_leaf(path, leaf):
        names = {getattr(key, "key", None) for key in path}
        if "kernel" not in names or names & OUTER_LAYERS or leaf.ndim < 2:
            return None
        # The first axis of stacked layers is that of the layer; each layer has its own matrix.
        first = 1 if LOOP in names else 0
        return optax.contrib.MuonDimensionNumbers(tuple(range(first, leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(of_leaf, params)
