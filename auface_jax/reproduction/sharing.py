"""Several processes at one study: each takes what is not done yet and nobody else is at.

What is taken is locked, by a file beside its folder; the system lifts a lock when its process ends,
however that ends, so that what a killed one left is taken up by another.
"""

import contextlib
import dataclasses
import fcntl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Job:
    """Something that makes, or goes on making, a file or folder.

    Attributes:
      makes: the file or folder.
      done: whether there is nothing left to do.
      run: does it; nobody else does meanwhile.
    """

    makes: Path
    done: Callable[[], bool]
    run: Callable[[], None]


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


def share(jobs: Sequence[Job]) -> None:
    """Returns once all of `jobs` are done, by this process or by others at the same list."""
    left = [job for job in jobs if not job.done()]
    for wait in (False, True):
        taken_by_others = []
        for job in left:
            with claimed(job.makes, wait=wait) as mine:
                if not mine:
                    taken_by_others.append(job)
                elif not job.done():
                    job.run()
        left = taken_by_others
