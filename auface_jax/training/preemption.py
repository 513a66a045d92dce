"""Stopping on request: after SIGTERM or Ctrl-C a run finishes its step, saves, and ends."""

import signal
from collections.abc import Callable

import jax

from auface_jax.runs.console import say


class Interrupted(Exception):
    """A run was stopped by SIGTERM or Ctrl-C, after everything was saved."""


class StopSignal:
    """A context that records SIGTERM and SIGINT; a second SIGINT ends the process at once.

    Any one of several processes may receive the signal. JAX's preemption service, which then
    handles SIGTERM, notifies the others and chooses a step that no process has passed yet.

    Args:
      reached_preemption: the method of Orbax's checkpoint manager: step -> True if all processes
        must stop after it.
    """

    def __init__(self, reached_preemption: Callable[[int], bool]):
        self._reached_preemption = reached_preemption
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
        """Tells whether to save and stop after `step`; all processes get the same answer.

        Call this once for each step, since a signal may arrive at any moment.
        """
        return self._reached_preemption(step) if self._several else self._received

    def _note(self, number, frame):
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = True
        say(f"{signal.Signals(number).name}: finishing this step, saving, then stopping")
        if self._several:
            signal.raise_signal(signal.SIGTERM)
