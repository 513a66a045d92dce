"""Makes training batches in worker processes, for runs that one process's interpreter lock limits.

    worker w of N:  batches n + w, n + w + N, n + w + 2N, ... of the stream that it opens for itself
    this process:   takes the next batch of each worker in turn

The batches equal those that this process would make, for any N, and n is the whole state.

A worker writes a batch into a slot of memory that it shares with this process, and sends the
layout of the slot through a pipe. This process copies the arrays and answers that the slot is free.
Grain's own processes (`mp_prefetch`) allocate new memory for every batch, which took half as much
processor time again as all other work, and more with small batches. When one side ends, the other
sees the end of the pipe.
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

_SLOTS = 3  # of each worker: the batch that it makes, and batches that wait
_ALIGNMENT = 64  # bytes; arrays in a slot start at multiples of it
_MAX_ARRAYS = 8

# Name of an array -> its dtype, shape, and offset in the slot.
_Layout = dict[str, tuple[str, tuple[int, ...], int]]


class WorkerIterator(grain.DatasetIterator):
    """Iterates over the batches of a stream, made by worker processes.

    The workers start with the first batch. The state is compatible with that of Grain's iterator
    over the stream itself.

    Args:
      opener: function of `skipped` and `allocate` that opens the stream; it is sent to the workers.
      max_bytes: largest number of bytes that the arrays of a batch take.
      workers: number of processes.
      skipped: collects the records that a worker has skipped, when their batch is taken; None lets
        workers raise an error.

    Raises:
      ChildProcessError: while iterating, a worker was killed.
    """

    def __init__(
        self, opener: Callable, max_bytes: int, workers: int, skipped: SkippedRecords | None
    ):
        super().__init__()
        self._opener, self._count, self._skipped = opener, workers, skipped
        self._slot_bytes = max_bytes + _MAX_ARRAYS * _ALIGNMENT
        self._taken = 0
        self._first = 0  # number of the first batch that the workers made
        self._workers: list[_Worker] = []
        self._end: util.Finalize | None = None

    def __next__(self) -> dict[str, np.ndarray]:
        """Returns the next batch."""
        self._assert_not_closed()
        self.start_prefetch()
        turn, number = divmod(self._taken - self._first, self._count)
        worker = self._workers[number]
        try:
            layout, skipped, error = worker.connection.recv()
            if error is None:
                batch = _copy_arrays(worker.slots[turn % _SLOTS], layout)
                worker.connection.send_bytes(b"free")
        except OSError as gone:  # EOFError among them
            worker.process.join(5)
            code = worker.process.exitcode
            self._stop()
            raise ChildProcessError(
                f"a worker process of the data pipeline is gone (exit code {code}; -9 often means "
                "that the machine ran out of memory). Fewer data.workers take less memory; a run "
                "continues from its last checkpoint"
            ) from gone
        if error is not None:
            self._stop()
            raise error
        for where, message in skipped:
            self._skipped.add(where, RecordError(message))
        self._taken += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """Returns the number of batches taken."""
        return {"next_index": self._taken}

    def set_state(self, state: dict[str, int]) -> None:
        """Continues after the number of batches in `state`."""
        self._stop()
        self._taken = state["next_index"]

    def start_prefetch(self) -> None:
        """Starts the workers, unless they run."""
        if self._workers:
            return
        self._first = self._taken
        skip = self._skipped is not None
        for number in range(self._count):
            numbers = itertools.count(self._first + number, self._count)
            self._workers.append(_start(self._opener, numbers, skip, self._slot_bytes))
        # The workers also end when this iterator is garbage-collected or the interpreter exits,
        # before multiprocessing itself waits for its processes.
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
    """A worker process, this process's end of its pipe, and its slots."""

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
    theirs.close()  # An open copy here would hide the end of the worker.
    return _Worker(process, ours, _as_slots(memory))


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()
    for worker in workers:
        worker.process.join(10)
        worker.process.kill()  # This does nothing to a process that has ended.


def _work(
    connection: Connection, memory: Any, opener: Callable, numbers: itertools.count, skip: bool
) -> None:
    """Runs a worker: sends batch after batch, a few ahead, until the pipe is closed."""
    # Grain imports JAX, which must not take a device here: the trainer uses all of them.
    jax.config.update("jax_platforms", "cpu")
    # A run that receives a signal to stop still takes batches until it has saved a checkpoint.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    slots = _as_slots(memory)
    skipped = _NewSkippedRecords() if skip else None
    slot = slots[0]

    def allocate(shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        return slot[: math.prod(shape)].reshape(shape)  # Pixels are decoded right into the slot.

    try:
        stream = opener(skipped=skipped, allocate=allocate)
        for turn, number in enumerate(numbers):
            if turn >= _SLOTS:
                connection.recv_bytes()
            slot = slots[turn % _SLOTS]
            layout = _write_arrays(stream[number], slot)
            connection.send((layout, skipped.take_new() if skip else [], None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # The other side has closed the pipe.
    except Exception as error:
        _send_error(connection, error)


def _send_error(connection: Connection, error: Exception) -> None:
    error.add_note(f"in a worker process of the data pipeline:\n{traceback.format_exc()}")
    try:
        connection.send((None, None, error))
    except Exception:  # Not every error can be pickled.
        connection.send((None, None, RuntimeError(f"{type(error).__name__}: {error}")))


def _as_slots(memory: Any) -> UInt8[np.ndarray, "slots bytes"]:
    return np.frombuffer(memory, np.uint8).reshape(_SLOTS, -1)


def _write_arrays(batch: dict[str, np.ndarray], slot: UInt8[np.ndarray, "bytes"]) -> _Layout:
    """Copies the arrays that are not in the slot yet into it; returns the layout of all."""
    layout = {}
    for name, array in batch.items():
        if np.may_share_memory(array, slot):
            layout[name] = (array.dtype.str, array.shape, _address(array) - _address(slot))
    end = max((start + batch[name].nbytes for name, (*_, start) in layout.items()), default=0)
    for name, array in batch.items():
        if name not in layout:
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = start + array.nbytes
            slot[start:end] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            layout[name] = (array.dtype.str, array.shape, start)
    return {name: layout[name] for name in batch}


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _copy_arrays(slot: UInt8[np.ndarray, "bytes"], layout: _Layout) -> dict[str, np.ndarray]:
    """Copies the arrays of a slot into one block of memory, for the reason given in `collate`."""
    arrays = {
        name: np.ndarray(shape, dtype, slot, at) for name, (dtype, shape, at) in layout.items()
    }
    end = max(layout[name][2] + array.nbytes for name, array in arrays.items())
    copy = slot[:end].copy()
    return {name: np.ndarray(shape, dtype, copy, at) for name, (dtype, shape, at) in layout.items()}


class _NewSkippedRecords(SkippedRecords):
    """Collects skipped records until they are taken; each record once."""

    def __init__(self):
        super().__init__()
        self._new: list[tuple[str, str]] = []

    def add(self, where: str, error: RecordError) -> None:
        """Adds the record at `where`, unless it was added before."""
        if where not in self._seen:
            self._seen.add(where)
            self._new.append((where, str(error)))

    def take_new(self) -> list[tuple[str, str]]:
        """Returns file and error of the records that were skipped since the last call."""
        new, self._new = self._new, []
        return new
