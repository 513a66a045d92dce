"""Stopping on request: SIGTERM and Ctrl-C end a step, save, and then the run."""

import signal

from auface_jax.log import say


class Interrupted(Exception):
    """SIGTERM or Ctrl-C came, and the run was saved."""


class StopSignal:
    """Notes SIGTERM and SIGINT while the loop runs; a second SIGINT ends the process at once."""

    def __init__(self):
        self.received = False
        self._previous = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = True
        say(f"{signal.Signals(number).name}: finishing this step, saving, then stopping")
