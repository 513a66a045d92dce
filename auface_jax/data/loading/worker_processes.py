"""Training batches made in processes of their own, where one process's lock is the limit.

    worker w of N:  batches n + w, n + w + N, n + w + 2N, ... of the stream that it opens for itself
    this process:   takes the next batch of each in turn

So the batches are those that this process would make, whatever N is, and n is all of the state.

A batch comes through a slot in memory that a worker shares with this process, and where its arrays
are in the slot through a pipe; once they are copied out, the worker is told that the slot is free.
Grain's own processes (`mp_prefetch`) ask the system for new memory for every batch, which cost half
as much processor time again as all the rest, and more with small batches. When either side ends,
however it ends, the other one sees the end of the pipe.
"""

import itertools
import math
import multiprocessing
import signal
import traceback
from collections.abc import Callable
from multiprocessing import util
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import grain
import jax
import numpy as np
from jaxtyping import UInt8

from auface_jax.data.loading.collate import SkippedRecords
from auface_jax.data.record import RecordError

_SLOTS = 3  # a worker's: the batch that it makes, and those that wait
_ALIGNED = 64  # bytes that an array's place in a slot is a multiple of
_MOST_ARRAYS = 8

# Name of an array -> its type, shape and place in the slot.
_Places = dict[str, tuple[str, tuple[int, ...], int]]


class WorkerIterator(grain.DatasetIterator):
    """The batches of a stream, made by worker processes, which start with the first batch.

    Its state is that of Grain's iterator over the stream itself.

    Args:
      opener: With the arguments `skipped` and `empty`, opens the stream. It is sent to the workers.
      max_bytes: What the arrays of a batch take at most.
      workers: How many processes.
      skipped: Takes what a worker has left out, together with the batch that lacks it; None lets
        workers raise.

    Raises:
      ChildProcessError: While iterating: a worker was killed.
    """

    def __init__(
        self, opener: Callable, max_bytes: int, workers: int, skipped: SkippedRecords | None
    ):
        super().__init__()
        self._opener, self._count, self._skipped = opener, workers, skipped
        self._slot_bytes = max_bytes + _MOST_ARRAYS * _ALIGNED
        self._taken = 0
        self._begun = 0  # where the workers began
        self._workers: list[_Worker] = []
        self._end: util.Finalize | None = None

    def __next__(self) -> dict[str, np.ndarray]:
        self._assert_not_closed()
        self.start_prefetch()
        turn, number = divmod(self._taken - self._begun, self._count)
        worker = self._workers[number]
        try:
            places, left_out, error = worker.connection.recv()
            if error is None:
                batch = _copied(worker.slots[turn % _SLOTS], places)
                worker.connection.send_bytes(b"free")
        except OSError as gone:  # EOFError among them
            worker.process.join(5)
            code = worker.process.exitcode
            self._stop()
            raise ChildProcessError(
                f"a worker process of the data pipeline is gone (exit code {code}; -9 is often a "
                "machine out of memory). Fewer data.workers take less of it; a run goes on from "
                "its last checkpoint"
            ) from gone
        if error is not None:
            self._stop()
            raise error
        for where, message in left_out:
            self._skipped.add(where, RecordError(message))
        self._taken += 1
        return batch

    def get_state(self) -> dict[str, int]:
        return {"next_index": self._taken}

    def set_state(self, state: dict[str, int]) -> None:
        self._stop()
        self._taken = state["next_index"]

    def start_prefetch(self) -> None:
        """Starts the workers, if they do not run."""
        if self._workers:
            return
        self._begun = self._taken
        skip = self._skipped is not None
        for number in range(self._count):
            numbers = itertools.count(self._begun + number, self._count)
            self._workers.append(_start(self._opener, numbers, skip, self._slot_bytes))
        # Also when this iterator is forgotten, or the interpreter exits: before multiprocessing
        # itself waits for its processes.
        self._end = util.Finalize(self, _end, args=(self._workers,), exitpriority=1)

    def close(self) -> None:
        """Ends the workers."""
        self._stop()
        super().close()

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._workers, self._end = [], None


class _Worker(NamedTuple):
    """A worker as this process sees it."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    slots: UInt8[np.ndarray, "slots bytes"]


def _start(opener: Callable, numbers: itertools.count, skip: bool, slot_bytes: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    memory = context.RawArray("B", _SLOTS * slot_bytes)
    process = context.Process(
        target=_work, args=(theirs, memory, opener, numbers, skip), name="data worker", daemon=True
    )
    process.start()
    theirs.close()  # or its end would not be seen
    return _Worker(process, ours, _as_slots(memory))


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()
    for worker in workers:
        worker.process.join(10)
        worker.process.kill()  # unless it is gone, as it should be


def _work(
    connection: Connection, memory: Any, opener: Callable, numbers: itertools.count, skip: bool
) -> None:
    """What a worker does: sends batch after batch, a few ahead, until nobody takes them."""
    # Grain imports JAX, which must never look for a device here: the trainer has them.
    jax.config.update("jax_platforms", "cpu")
    # A run that is told to stop takes batches until it has saved, and then ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    slots = _as_slots(memory)
    left_out = _LeftOut() if skip else None
    slot = slots[0]

    def empty(shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        return slot[: math.prod(shape)].reshape(shape)  # so pixels need not be copied into it

    try:
        stream = opener(skipped=left_out, empty=empty)
        for turn, number in enumerate(numbers):
            if turn >= _SLOTS:
                connection.recv_bytes()
            slot = slots[turn % _SLOTS]
            places = _put(stream[number], slot)
            connection.send((places, left_out.news() if skip else [], None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the end
    except Exception as error:
        _send_error(connection, error)


def _send_error(connection: Connection, error: Exception) -> None:
    error.add_note(f"in a worker process of the data pipeline:\n{traceback.format_exc()}")
    try:
        connection.send((None, None, error))
    except Exception:  # not every error can be sent
        connection.send((None, None, RuntimeError(f"{type(error).__name__}: {error}")))


def _as_slots(memory: Any) -> UInt8[np.ndarray, "slots bytes"]:
    return np.frombuffer(memory, np.uint8).reshape(_SLOTS, -1)


def _put(batch: dict[str, np.ndarray], slot: UInt8[np.ndarray, "bytes"]) -> _Places:
    """Copies into a slot the arrays that are not there yet; says where all of them are."""
    places = {}
    for name, array in batch.items():
        if np.may_share_memory(array, slot):
            places[name] = (array.dtype.str, array.shape, _address(array) - _address(slot))
    end = max((start + batch[name].nbytes for name, (*_, start) in places.items()), default=0)
    for name, array in batch.items():
        if name not in places:
            start = -(-end // _ALIGNED) * _ALIGNED
            end = start + array.nbytes
            slot[start:end] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            places[name] = (array.dtype.str, array.shape, start)
    return {name: places[name] for name in batch}


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _copied(slot: UInt8[np.ndarray, "bytes"], places: _Places) -> dict[str, np.ndarray]:
    """The arrays in a slot, all in one new piece of memory, for the reason that `batches` gives."""
    arrays = {
        name: np.ndarray(shape, dtype, slot, at) for name, (dtype, shape, at) in places.items()
    }
    end = max(places[name][2] + array.nbytes for name, array in arrays.items())
    copy = slot[:end].copy()
    return {name: np.ndarray(shape, dtype, copy, at) for name, (dtype, shape, at) in places.items()}


class _LeftOut(SkippedRecords):
    """Keeps what is left out until it is asked for; each record once."""

    def __init__(self):
        super().__init__()
        self._news: list[tuple[str, str]] = []

    def add(self, where: str, error: RecordError) -> None:
        if where not in self._seen:
            self._seen.add(where)
            self._news.append((where, str(error)))

    def news(self) -> list[tuple[str, str]]:
        """Place and error of what was left out since the last time."""
        news, self._news = self._news, []
        return news
