"""Many tasks at a time, in processes of this machine."""

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

# How the libraries under numpy, scipy and numba are told their number of threads.
_THREAD_COUNTS = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


_process_work: Callable | None = None  # a pool process's own copy, so that it is sent once


def _start_process(work: Callable) -> None:
    global _process_work
    _process_work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the builder, who ends its pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone: a killed build leaves no orphans."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _in_process(task: Any) -> Any:
    return _process_work(task)


def each(work: Callable, tasks: Iterable, processes: int) -> Iterator:
    """What `work` makes of each task, in order; a few tasks ahead, never all of them."""
    tasks = iter(tasks)
    ahead = list(itertools.islice(tasks, processes))
    if len(ahead) <= 1 or processes == 1:
        yield from map(work, itertools.chain(ahead, tasks))
        return
    with (
        _one_thread_each(),
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
def _one_thread_each() -> Iterator[None]:
    """Lets processes that start meanwhile compute on one thread each.

    They are as many as the cores already. A linear algebra library that starts a thread a core in
    each of them spends most of the machine on waiting: drawing faces took 2.7 times as long.
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
    """How many processes can run at once here: cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
