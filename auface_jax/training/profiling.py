"""Traces of a few steps, for TensorBoard's profile plug-in or XProf."""

import pathlib

import jax


class Profile:
    """Records the steps from `first` to `last` in `workdir/profile/`.

    Args:
      workdir: the run's folder.
      steps: "FIRST-LAST"; None records nothing.

    Raises:
      ValueError: `steps` does not have this form.
    """

    def __init__(self, workdir: pathlib.Path, steps: str | None):
        self._folder = workdir / "profile"
        self._first, self._last = _span(steps) if steps else (None, None)
        self._running = False

    def before(self, step: int) -> None:
        """Starts the trace before the first step."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Ends the trace after the last step, once `metrics` are computed."""
        if self._running and step == self._last:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Ends a running trace, also before its last step."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()


def _span(steps: str) -> tuple[int, int]:
    first, dash, last = steps.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise ValueError(f"--profile_steps={steps}: expected FIRST-LAST, as in 100-110")
    return int(first), int(last)
