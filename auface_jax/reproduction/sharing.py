"""Several processes at one study: each takes what is not done yet and nobody else is at.

What is taken is locked, by a file beside its folder; the system lifts a lock when its process ends,
however that ends, so that what a killed one left is taken up by another.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from auface_jax.runs.locks import claimed


@dataclasses.dataclass(frozen=True)
class Job:
    """Something that makes, or goes on making, a file or folder.

    Attributes:
      makes: the file or folder.
      done: whether there is nothing left to do.
      run: does it; nobody else does meanwhile.
      needs: what must be done before.
    """

    makes: Path
    done: Callable[[], bool]
    run: Callable[[], None]
    needs: Sequence["Job"] = ()

    @property
    def ready(self) -> bool:
        return all(job.done() for job in self.needs)


def share(jobs: Sequence[Job]) -> None:
    """Returns once all of `jobs` are done, by this process or by others at the same list.

    The first job that nobody is at and whose needs are done is always the next. Needs must be of
    the list themselves, before the job, or done.
    """
    while left := [job for job in jobs if not job.done()]:
        if not any(_done_here(job, wait=False) for job in left if job.ready):
            # The first one's needs are done: somebody else is at it.
            _done_here(left[0], wait=True)


def _done_here(job: Job, *, wait: bool) -> bool:
    """Whether this process had the job for itself, and so has seen to it."""
    with claimed(job.makes, wait=wait) as mine:
        if mine and not job.done():
            job.run()
            if not job.done():  # it would be begun again for ever
                raise RuntimeError(f"{job.makes} is not whole, though all that makes it was done")
        return mine
