"""An inter-process lock for a path, held on `PATH.lock` beside it.

The lock works between machines that see the folder. The system releases it when its process ends,
however that ends; the file stays, since everybody must wait for the same one.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock


@contextlib.contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """A context in which this process alone may make `path`.

    Args:
      path: a file or a folder, which need not exist.
      wait: wait for whoever holds the lock, instead of giving up.

    Yields:
      True while the lock is held; False where another process holds it and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(blocking=wait)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
