"""Readings of real pictures and references, kept from one evaluation to the next.

They depend on the records and on the network that read them, and on nothing of the system that is
judged. A file is named for both fingerprints, so that a data set or a network that changed is read
anew; a damaged file is too. Where none can be written, an evaluation goes on without.
"""

import contextlib
import functools
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from auface_jax.runs.console import say

FORMAT_VERSION = 2  # raised when another thing is read, or read otherwise
Arrays = tuple[np.ndarray, ...]


def cache_folder() -> Path:
    """Where such files are: auface_jax/readings in the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "auface_jax" / "readings"


def kept(compute: Callable[[], Arrays], *what: str, folder: Path | None) -> Arrays:
    """`compute()`, or what it gave before for the same `what`.

    Args:
      compute: gives arrays.
      what: all that they depend on, such as fingerprints.
      folder: of the files, from `cache_folder`; None keeps nothing.
    """
    if folder is None:
        return compute()
    key = hashlib.sha256(
        "\n".join((str(FORMAT_VERSION), jax.__version__, *what)).encode()
    ).hexdigest()
    path = folder / f"{key[:32]}.npz"
    # Not there yet, or damaged: computed, and written again.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(path, allow_pickle=False) as stored:
            return tuple(stored[name] for name in sorted(stored.files))
    arrays = compute()
    try:
        _write(path, arrays)
    except OSError as error:
        _say_not_kept(folder, error.strerror or str(error))
    return arrays


def _write(path: Path, arrays: Arrays) -> None:
    """Writes the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(temporary, **{f"{number:02d}": array for number, array in enumerate(arrays)})
        temporary.rename(path)
    finally:  # a full disk has a part of it
        temporary.unlink(missing_ok=True)


@functools.cache  # a line for all readings of an evaluation
def _say_not_kept(folder: Path, why: str) -> None:
    say(f"readings of real pictures are not kept, {folder} cannot be written ({why})")
