"""A build under way: the hidden folder beside the data set, its lock, and what is done in it.

A shard is written under a temporary name, takes its own name when it is whole, and then gets a
note of what is in it. A note is what a later build of the same options trusts, so a kill at any
moment loses the shards that were being written and nothing else, and repeats nothing.
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
from auface_jax.data.build.work_units import Made
from auface_jax.data.record import REFERENCES
from auface_jax.data.shards import WRITER_OPTIONS, DatasetError, check_shard
from auface_jax.runs.locks import claimed

_OPTIONS = "options.json"
_WRITING = ".writing"


@contextlib.contextmanager
def partial_folder(out: Path, options: dict) -> Iterator[Path]:
    """The folder beside `out` where it comes into being, held by this process alone.

    It has what an earlier build of the same options finished, and nothing else.
    """
    with _alone(out):
        partial = out.with_name(f".{out.name}.partial")
        partial.mkdir(exist_ok=True)
        known = partial / _OPTIONS
        wanted = json.dumps(options)
        if not known.is_file() or known.read_text() != wanted:
            for left in partial.iterdir():  # by a build of something else
                left.unlink()
            _write_whole(known, wanted)
        for left in partial.glob(f"*{_WRITING}"):
            left.unlink()
        yield partial


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Waits until no other process builds `out`."""
    hidden = out.with_name(f".{out.name}")
    with claimed(hidden, wait=False) as mine:
        if mine:
            yield
            return
    print(f"another process is building {out}, waiting for it", flush=True)
    with claimed(hidden, wait=True):
        yield


def remove(partial: Path) -> None:
    """Removes all of a build that nothing will come of."""
    shutil.rmtree(partial, ignore_errors=True)


def write_shard(partial: Path, shard: Shard, made: Iterable[Made]) -> dict:
    """Writes a shard, and beside it the references that its pieces make.

    Args:
      partial: The folder.
      shard: What is to be written.
      made: What became of each of its pieces, in their order.

    Returns:
      The shard's note: `file`, `split`, `records`, `bytes`, `sha256` over the records, `people`
      (subject -> records, in order), `left_out` and `faults` as in `Loaded`. With faults the
      shard is not done.
    """
    digest, size = hashlib.sha256(), 0
    people: dict[str, int] = {}
    left_out, faults = [], []
    with _writer(partial, shard.file) as write, _writer(partial, shard.file + REFERENCES) as keep:
        for piece, result in zip(shard.pieces, made, strict=True):
            faults += result.faults
            left_out += result.left_out
            if faults:
                continue  # nothing will come of it, but all faults shall be told at once
            for data in result.records:
                write(data)
                size += len(data)
                digest.update(b"%d:" % len(data) + data)
            if result.reference is not None:
                keep(result.reference)
                digest.update(b"reference:" + result.reference)
            people[piece.subject] = people.get(piece.subject, 0) + len(result.records)
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
    """The note of a shard that is done; None where it is still to be written."""
    try:
        note = json.loads(_note(partial, shard).read_text())
        check_shard(partial / shard.file, note["records"])
        return note
    except (FileNotFoundError, DatasetError, ValueError):
        return None


def read_references(partial: Path, shard: Shard) -> list[bytes]:
    """The references that were written beside a shard."""
    reader = array_record_module.ArrayRecordReader(str(partial / (shard.file + REFERENCES)))
    try:
        return list(reader.read_all())
    finally:
        reader.close()


def tidy(partial: Path) -> None:
    """Removes what a finished data set does not need."""
    for pattern in ("*.array_record.json", f"*.array_record{REFERENCES}", _OPTIONS):
        for path in partial.glob(pattern):
            path.unlink()


def _note(partial: Path, shard: Shard) -> Path:
    return partial / f"{shard.file}.json"


@contextlib.contextmanager
def _writer(folder: Path, name: str) -> Iterator:
    """`write(bytes)` of a file of records, which takes its name when the block ends well."""
    # A name of its own, since a runner may have one shard written twice at the same time.
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
