"""Stopping on request: SIGTERM and Ctrl-C end a step, save, and then the run."""

import signal

import jax
from jax.experimental import multihost_utils

from auface_jax.runs.console import say


class Interrupted(Exception):
    """SIGTERM or Ctrl-C came, and the run was saved."""


class StopSignal:
    """Notes SIGTERM and SIGINT while the loop runs; a second SIGINT ends the process at once.

    Of several processes any one may be told. JAX's preemption service, which has SIGTERM to itself
    then, tells the others and settles a step that none has passed yet.
    """

    def __init__(self):
        self._received = False
        self._several = jax.process_count() > 1
        self._previous = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGINT,) if self._several else (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def due(self, step: int) -> bool:
        """Whether to save and stop after `step`; the same answer in all processes. Ask it once a
        step: a signal may come at any moment."""
        if self._several:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._received

    def _note(self, number, frame):
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = True
        say(f"{signal.Signals(number).name}: finishing this step, saving, then stopping")
        if self._several:
            signal.raise_signal(signal.SIGTERM)
