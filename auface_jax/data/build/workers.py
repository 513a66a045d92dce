"""Runs many tasks at a time, in processes of this machine."""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Environment variables that set the thread counts of the libraries under numpy, scipy and numba.
_THREAD_COUNTS = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_process_work: Callable | None = None  # a worker process's own copy, which is sent only once


def _start_process(work: Callable) -> None:
    global _process_work
    _process_work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its pool.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, so that a killed build leaves no orphans."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _in_process(task: Any) -> Any:
    return _process_work(task)


def map_in_processes(work: Callable, tasks: Iterable, processes: int) -> Iterator:
    """Yields `work(task)` for each task in order, computed by several processes.

    Args:
      work: function of a task; it is pickled once for each process.
      tasks: the tasks, which are taken only a few ahead of the results.
      processes: number of processes; 1 runs the tasks in this process.
    """
    tasks = iter(tasks)
    ahead = list(itertools.islice(tasks, processes))
    if len(ahead) <= 1 or processes == 1:
        yield from map(work, itertools.chain(ahead, tasks))
        return
    with (
        _one_thread_per_process(),
        concurrent.futures.ProcessPoolExecutor(
            len(ahead),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(work,),
        ) as pool,
    ):
        waiting = collections.deque()
        try:
            for task in itertools.chain(ahead, tasks):
                waiting.append(pool.submit(_in_process, task))
                if len(waiting) > 4 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _one_thread_per_process() -> Iterator[None]:
    """Limits the processes that start in this context to one thread each.

    There are already as many processes as cores. A linear algebra library that starts a thread for
    each core in each process makes them wait for each other: drawing faces took 2.7 times as long.
    """
    before = {name: os.environ.get(name) for name in _THREAD_COUNTS}
    os.environ.update(dict.fromkeys(_THREAD_COUNTS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def available_processes() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
