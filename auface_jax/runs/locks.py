"""What one process at a time may make: a lock on a file beside it.

Of any machine that sees the folder, NFS included, which has no locks on folders. The system lifts a
lock when its process ends, however that ends. The file stays: whoever waits must wait for the same
one as everybody else.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether `path` is this process's alone for the time of the context; sure to be with `wait`,
    which waits for whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
