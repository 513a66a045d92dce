"""What to do about a step that went wrong: a loss that is not finite, or a gradient far too large.

guard.action      "stop" ends the run with an error, "skip" leaves the update out and counts it
guard.grad_norm   gradients longer than this count as wrong; 0 lets every length pass
guard.patience    so many steps skipped in a row end the run all the same
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

ACTIONS = ("stop", "skip")


class Guard:
    """Watches the steps of one run.

    Args:
      config: `action`, `grad_norm` and `patience`, as above.

    Raises:
      ValueError: one of them makes no sense.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        if config.action not in ACTIONS:
            raise ValueError(f"guard.action={config.action!r} is not one of {', '.join(ACTIONS)}")
        if config.grad_norm < 0 or config.patience < 1:
            raise ValueError(
                f"guard.grad_norm is {config.grad_norm} and guard.patience {config.patience}; "
                "expected 0 or more, and 1 or more"
            )
        self._config = config
        self._checked = self._in_row = self._skipped = 0

    def guarded(self, step_fn: Callable) -> Callable:
        """A task's step that leaves wrong updates out; the very step where the run is to stop.

        Nothing changes in a step that is skipped but the state's number of steps, so that random
        keys and schedules by that number go on; optimisers' own counts stand still.
        """
        if self._config.action == "stop":
            return step_fn

        def step(state, frozen, batch, rng):
            after, metrics = step_fn(state, frozen, batch, rng)
            right = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
            if self._config.grad_norm:
                right &= metrics["grad_norm"] <= self._config.grad_norm
            kept = jax.tree.map(lambda new, old: jnp.where(right, new, old), after, state)
            return kept.replace(step=after.step), metrics | {"skipped": 1.0 - right}

        return step

    def check(self, step: int, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Metrics as floats.

        Raises:
          FloatingPointError: the step went wrong and is not skipped, or one too many was; the
            message has the step and every part.
        """
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        finite, limit = np.isfinite(values["loss"]), self._config.grad_norm
        parts = ", ".join(f"{name}={value:.4g}" for name, value in values.items())
        advice = (
            f"({parts}); nothing was saved after the last checkpoint. Lower "
            "optimizer.learning_rate or look at the data near this step"
        )
        if self._config.action == "stop":
            if not finite:
                raise FloatingPointError(f"the loss is {values['loss']} at step {step} {advice}")
            if limit and values.get("grad_norm", 0.0) > limit:
                raise FloatingPointError(
                    f"the gradient is longer than guard.grad_norm={limit:g} at step {step} {advice}"
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
        """How many steps were skipped since the last report; nothing where none ever is."""
        if self._config.action == "stop":
            return {}
        skipped, self._skipped = self._skipped, 0
        return {"skipped_steps": float(skipped)}
