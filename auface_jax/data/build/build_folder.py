"""The hidden folder of an unfinished build beside the data set: its lock, shards and notes.

A shard is written under a temporary name, takes its own name when it is complete, and then gets a
note about its content. A later build of the same options relies on the notes: a kill at any moment
loses only the shards that were being written.
"""

import contextlib
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from array_record.python import array_record_module

from auface_jax.data.build.plan import Shard
from auface_jax.data.build.work_units import WorkResult
from auface_jax.data.record import REFERENCES
from auface_jax.data.shards import WRITER_OPTIONS, DatasetError, check_shard
from auface_jax.runs.locks import claimed

_OPTIONS = "options.json"
_WRITING = ".writing"


@contextlib.contextmanager
def partial_folder(out: Path, options: dict) -> Iterator[Path]:
    """Opens the hidden folder beside `out`, locked for this process.

    The folder holds the shards that an earlier build of the same options finished, and nothing
    else.

    Args:
      out: folder of the data set.
      options: options of the build, as `dataset.json` holds them.

    Yields:
      The hidden folder.
    """
    with _locked(out):
        partial = out.with_name(f".{out.name}.partial")
        partial.mkdir(exist_ok=True)
        known = partial / _OPTIONS
        wanted = json.dumps(options)
        if not known.is_file() or known.read_text() != wanted:
            for path in partial.iterdir():  # left by a build with other options
                path.unlink()
            _write_whole(known, wanted)
        for path in partial.glob(f"*{_WRITING}"):
            path.unlink()
        yield partial


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Waits until no other process builds `out`, and holds the lock."""
    hidden = out.with_name(f".{out.name}")
    with claimed(hidden, wait=False) as mine:
        if mine:
            yield
            return
    print(f"another process is building {out}, waiting for it", flush=True)
    with claimed(hidden, wait=True):
        yield


def remove(partial: Path) -> None:
    """Removes the folder of a build that cannot succeed."""
    shutil.rmtree(partial, ignore_errors=True)


def write_shard(partial: Path, shard: Shard, results: Iterable[WorkResult]) -> dict:
    """Writes a shard, and beside it the references that its work units make.

    Args:
      partial: the hidden folder.
      shard: the planned shard.
      results: the result of each of its work units, in the same order.

    Returns:
      The shard's note: `file`, `split`, `records`, `bytes`, `sha256` over the records, `people`
      (subject -> records, in order), `left_out` and `faults` as in `LoadedImages`. A shard with
      faults counts as missing in a later build.
    """
    digest, size = hashlib.sha256(), 0
    people: dict[str, int] = {}
    left_out, faults = [], []
    with (
        _writer(partial, shard.file) as write,
        _writer(partial, shard.file + REFERENCES) as write_reference,
    ):
        for work_unit, result in zip(shard.work_units, results, strict=True):
            faults += result.faults
            left_out += result.left_out
            if faults:
                continue  # The build will fail, but with the faults of all images in one message.
            for data in result.records:
                write(data)
                size += len(data)
                digest.update(b"%d:" % len(data) + data)
            if result.reference is not None:
                write_reference(result.reference)
                digest.update(b"reference:" + result.reference)
            people[work_unit.subject] = people.get(work_unit.subject, 0) + len(result.records)
    note = {
        "file": shard.file,
        "split": shard.split,
        "records": sum(people.values()),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "people": people,
        "left_out": left_out,
        "faults": faults,
    }
    if not faults:
        _write_whole(_note(partial, shard), json.dumps(note))
    return note


def read_note(partial: Path, shard: Shard) -> dict | None:
    """Reads the note of a shard; None where the shard is missing, incomplete or damaged."""
    try:
        note = json.loads(_note(partial, shard).read_text())
        check_shard(partial / shard.file, note["records"])
        return note
    except (FileNotFoundError, DatasetError, ValueError):
        return None


def read_references(partial: Path, shard: Shard) -> list[bytes]:
    """Reads the encoded references that were written beside a shard."""
    reader = array_record_module.ArrayRecordReader(str(partial / (shard.file + REFERENCES)))
    try:
        return list(reader.read_all())
    finally:
        reader.close()


def tidy(partial: Path) -> None:
    """Removes the files that a finished data set does not need."""
    for pattern in ("*.array_record.json", f"*.array_record{REFERENCES}", _OPTIONS):
        for path in partial.glob(pattern):
            path.unlink()


def _note(partial: Path, shard: Shard) -> Path:
    return partial / f"{shard.file}.json"


@contextlib.contextmanager
def _writer(folder: Path, name: str) -> Iterator:
    """Yields a function that writes a record; the file takes its name when the block succeeds."""
    # The temporary name is unique, since a runner may write one shard twice at the same time.
    writing = folder / f"{name}.{uuid.uuid4().hex}{_WRITING}"
    writer = array_record_module.ArrayRecordWriter(str(writing), WRITER_OPTIONS)
    try:
        yield writer.write
    except BaseException:
        writer.close()
        writing.unlink()
        raise
    writer.close()
    writing.rename(folder / name)


def _write_whole(path: Path, text: str) -> None:
    writing = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_WRITING}")
    writing.write_text(text)
    writing.rename(path)
