"""A guard against bad steps: a loss that is not finite, or a gradient that is far too large.

guard.action      "stop" ends the run with an error; "skip" skips the update and counts it
guard.grad_norm   a gradient norm above this makes a step bad; 0 turns the check off. In Stage I the
                  generator's norm is measured; the discriminator's only has to be finite
guard.spike       a gradient norm above this multiple of its running mean (about the last hundred
                  steps) makes a step bad; 0 turns the check off
guard.patience    this many skipped steps in a row end the run, also with "skip"
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

ACTIONS = ("stop", "skip")
# Norms of the gradients: of the trained parameters, and of Stage I's discriminator.
GRADIENTS = ("grad_norm", "grad_norm_discriminator")
# Decay of the running mean of the norm, and the steps before the mean is used.
SPIKE_DECAY, SPIKE_WARMUP = 0.99, 20


class Guard:
    """Watches the steps of one run.

    Args:
      config: `action`, `grad_norm`, `spike` and `patience`, as above.

    Raises:
      ValueError: a value is out of range.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        if config.action not in ACTIONS:
            raise ValueError(f"guard.action={config.action!r} is not one of {', '.join(ACTIONS)}")
        if config.grad_norm < 0 or config.patience < 1:
            raise ValueError(
                f"guard.grad_norm is {config.grad_norm} and guard.patience {config.patience}; "
                "expected 0 or more, and 1 or more"
            )
        if config.spike != 0 and not config.spike > 1:
            raise ValueError(f"guard.spike is {config.spike}; expected 0, or more than 1")
        self._config = config
        self._checked = self._in_row = self._skipped = 0

    def watched(self, init_fn: Callable) -> Callable:
        """Wraps a task's `init`: the state also holds the running mean that `guarded` updates."""
        if not self._config.spike:
            return init_fn

        def init(rng, batch):
            state = init_fn(rng, batch)
            mean = {"grad_norm": jnp.zeros(()), "steps": jnp.zeros((), jnp.int32)}
            return state.replace(variables=state.variables | {"guard": mean})

        return init

    def guarded(self, step_fn: Callable) -> Callable:
        """Wraps a task's step, so that it skips or marks bad updates.

        A skipped update changes only `state.step`, so that random keys and schedules that depend on
        it advance; the optimizers' own counts do not. With "stop" and without a running mean, the
        step is returned unchanged.
        """
        skipping = self._config.action == "skip"
        if not (skipping or self._config.spike):
            return step_fn

        def step(state, frozen, batch, rng):
            mean = state.variables.get("guard")
            own = {name: tree for name, tree in state.variables.items() if name != "guard"}
            state = state.replace(variables=own)
            after, metrics = step_fn(state, frozen, batch, rng)
            norm = metrics["grad_norm"]
            right = jnp.isfinite(jnp.stack([metrics[name] for name in _finite(metrics)])).all()
            if self._config.grad_norm:
                right &= norm <= self._config.grad_norm
            if mean is not None:
                limit = jnp.where(
                    mean["steps"] >= SPIKE_WARMUP, self._config.spike * mean["grad_norm"], jnp.inf
                )
                right &= norm <= limit
                metrics |= {"grad_norm_limit": limit}
                # The first steps have equal weights in the mean; bad steps are left out.
                share = jnp.where(
                    right, jnp.maximum(1.0 - SPIKE_DECAY, 1.0 / (mean["steps"] + 1.0)), 0.0
                )
                moved = mean["grad_norm"] + share * (
                    jnp.where(right, norm, 0.0) - mean["grad_norm"]
                )
                mean = {"grad_norm": moved, "steps": mean["steps"] + right}
            if skipping:
                kept = jax.tree.map(lambda new, old: jnp.where(right, new, old), after, state)
                after = kept.replace(step=after.step)
                metrics |= {"skipped": 1.0 - right}
            if mean is not None:
                after = after.replace(variables=after.variables | {"guard": mean})
            return after, metrics

        return step

    def check(self, step: int, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Converts metrics to floats and checks them.

        Raises:
          FloatingPointError: the step is bad and the action is "stop", or too many steps in a row
            were skipped; the message has the step and every part of the loss.
        """
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        limit = self._config.grad_norm
        parts = ", ".join(f"{name}={value:.4g}" for name, value in values.items())
        stops = self._config.action == "stop"
        instead = "guard.action=skip" if stops else "a larger guard.patience"
        advice = (
            f"({parts}); nothing was saved after the last checkpoint. Go on from it with "
            f"{instead}, look at the data near this step, or begin anew with a lower "
            "optimizer.learning_rate"
        )
        if stops:
            for name in _finite(values):
                if not np.isfinite(values[name]):
                    what = "loss" if name == "loss" else f"gradient's length ({name})"
                    raise FloatingPointError(
                        f"the {what} is {values[name]} at step {step} {advice}"
                    )
            if limit and values.get("grad_norm", 0.0) > limit:
                raise FloatingPointError(
                    f"the gradient is longer than guard.grad_norm={limit:g} at step {step} {advice}"
                )
            if values.get("grad_norm", 0.0) > values.get("grad_norm_limit", np.inf):
                raise FloatingPointError(
                    f"the gradient is longer than guard.spike={self._config.spike:g} times its "
                    f"mean at step {step} {advice}"
                )
        elif step > self._checked:  # a step may be checked twice
            self._checked = step
            skipped = values["skipped"] > 0
            self._in_row = self._in_row + 1 if skipped else 0
            self._skipped += skipped
            if self._in_row >= self._config.patience:
                raise FloatingPointError(
                    f"{self._in_row} steps in a row were skipped, the last at step {step} {advice}"
                )
        return values

    def report(self) -> dict[str, float]:
        """Counts the steps skipped since the last report; empty with the action "stop"."""
        if self._config.action == "stop":
            return {}
        skipped, self._skipped = self._skipped, 0
        return {"skipped_steps": float(skipped)}


def _finite(metrics: dict) -> list[str]:
    """Names the metrics that must be finite.

    These are the loss and the gradient norms, which can be bad while the loss is still finite.
    """
    return ["loss", *(name for name in metrics if name in GRADIENTS)]
