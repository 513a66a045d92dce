"""Readings of real pictures and references, kept from one evaluation to the next.

A reading depends on the records and on the network, and on nothing of the system that is evaluated.
Its file is named for the fingerprints of both, so that a changed data set or network is read anew;
so is a damaged file. Where no file can be written, an evaluation goes on without.
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

FORMAT_VERSION = 2  # raised when the arrays of a reading change
Arrays = tuple[np.ndarray, ...]


def cache_folder() -> Path:
    """Returns the folder of the files: auface_jax/readings in the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "auface_jax" / "readings"


def cached(compute: Callable[[], Arrays], *keys: str, folder: Path | None) -> Arrays:
    """Returns `compute()`, or the arrays that it gave before for the same keys.

    Args:
      compute: computes arrays.
      *keys: everything that the arrays depend on, such as fingerprints.
      folder: folder of the files, from `cache_folder`; None keeps nothing.
    """
    if folder is None:
        return compute()
    digest = hashlib.sha256("\n".join((str(FORMAT_VERSION), jax.__version__, *keys)).encode())
    path = folder / f"{digest.hexdigest()[:32]}.npz"
    # A file that is missing or damaged is computed and written again.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(path, allow_pickle=False) as stored:
            return tuple(stored[name] for name in sorted(stored.files))
    arrays = compute()
    try:
        _write(path, arrays)
    except OSError as error:
        _report_failed_write(folder, error.strerror or str(error))
    return arrays


def _write(path: Path, arrays: Arrays) -> None:
    """Writes the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(temporary, **{f"{number:02d}": array for number, array in enumerate(arrays)})
        temporary.rename(path)
    finally:  # a full disk holds a part of the file
        temporary.unlink(missing_ok=True)


@functools.cache  # one line for all readings of an evaluation
def _report_failed_write(folder: Path, reason: str) -> None:
    say(f"readings of real pictures are not kept, {folder} cannot be written ({reason})")
