"""Work of one study, shared by several processes: each takes an item that no other process does.

An item is locked by a file beside the one that it makes. The system lifts a lock when its process
ends for any reason, so that another process takes up the work of a killed one.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from auface_jax.runs.locks import claimed


@dataclasses.dataclass(frozen=True)
class WorkItem:
    """Work that makes a file or folder, or goes on making it.

    Attributes:
      makes: the file or folder.
      done: returns whether nothing is left to do.
      run: does the work, while no other process does.
      needs: items that must be done before.
    """

    makes: Path
    done: Callable[[], bool]
    run: Callable[[], None]
    needs: Sequence["WorkItem"] = ()

    @property
    def ready(self) -> bool:
        """True once all needs are done."""
        return all(item.done() for item in self.needs)


def share(items: Sequence[WorkItem]) -> None:
    """Returns once all items are done, by this process or by others with the same list.

    This process always takes the first item that is ready and that no other process does.

    Args:
      items: the work; an item's needs must stand before it in the list, or be done.
    """
    while left := [item for item in items if not item.done()]:
        if not any(_do(item, wait=False) for item in left if item.ready):
            # The needs of the first item are done, so that another process is doing the item.
            _do(left[0], wait=True)


def _do(item: WorkItem, *, wait: bool) -> bool:
    """Does an item unless another process does it; returns True if this process had the lock."""
    with claimed(item.makes, wait=wait) as mine:
        if mine and not item.done():
            item.run()
            if not item.done():  # the item would be done again for ever
                raise RuntimeError(f"{item.makes} is not complete after all its work")
        return mine
