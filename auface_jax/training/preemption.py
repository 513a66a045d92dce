"""Stopping on request: after SIGTERM or Ctrl-C a run finishes its step, saves, and ends."""

import signal
from collections.abc import Callable

import jax

from auface_jax.runs.console import say


class Interrupted(Exception):
    """A run was stopped by SIGTERM or Ctrl-C, after everything was saved."""


class StopSignal:
    """A context in which SIGTERM and SIGINT are noted; a second SIGINT ends the process at once.

    Any one of several processes may receive the signal. JAX's preemption service, which then owns
    SIGTERM, tells the others and settles on a step that none of them has passed yet.

    Args:
      reached_preemption: step -> whether all processes are to stop after it, as Orbax's checkpoint
        manager answers.
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

        Ask once a step: a signal may come at any moment.
        """
        return self._reached_preemption(step) if self._several else self._received

    def _note(self, number, frame):
        if self._received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = True
        say(f"{signal.Signals(number).name}: finishing this step, saving, then stopping")
        if self._several:
            signal.raise_signal(signal.SIGTERM)
