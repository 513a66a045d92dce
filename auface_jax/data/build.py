"""Builds a data set: a source of faces -> shards, references, splits and `dataset.json`.

    python -m auface_jax.data.build --source builtin --out DIR --people 100 --frames 32 --size 64
    python -m auface_jax.data.build --source ict --facekit CLONE --out DIR --people 100 ...
    python -m auface_jax.data.build --source folder --labels labels.csv --out DIR --size 64
    python -m auface_jax.data.build --source bp4d --bp4d BP4D --bp4d-plus BP4D+ --out DIR --size 256

1. People are dealt to train, val and test by a seed, so that nobody is in two of them.
2. A person's reference is a random image with no active unit; where there is none, the one with
   the smallest index. All other images are targets, neutral ones among them.
3. Each target gets its constructs and the seed of its one text.
4. Shards are written beside DIR and take its name when all is done: DIR is complete or absent.

People are worked on in parallel; the result depends on the options alone. The processes are
spawned, so a script that calls `build` needs `if __name__ == "__main__":`.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import tqdm

from auface_jax import facs
from auface_jax.data.align import ALIGNMENTS
from auface_jax.data.bp4d import BP4DFaces
from auface_jax.data.folder import FolderFaces
from auface_jax.data.open_faces import OpenFaces
from auface_jax.data.people import (
    PersonRecords,
    PersonResult,
    available_processes,
    each_person,
    split_people,
)
from auface_jax.data.photographs import UNCODED_UNITS
from auface_jax.data.records import IMAGE_FORMATS, SCHEMA_VERSION, SPLITS
from auface_jax.data.samples import Source, SourceError, count_reasons, listed
from auface_jax.data.shards import INFO_NAME, REFERENCES, DatasetError, ShardWriter, read_info

SOURCES = ("bp4d", "builtin", "folder", "ict")
# Open faces as many as BP4D-AUText: people of BP4D (41) and BP4D+ (140), and the number of images
# of each that brings those with an active unit nearest to its 302,169.
PRESETS = {"bp4d-autext": {"people": 181, "frames": 1671}}


def build(
    out: str | Path,
    *,
    source: str,
    size: int,
    seed: int = 0,
    people: int | None = None,
    frames: int | None = None,
    facekit: str | None = None,
    labels: str | None = None,
    threshold: float | None = None,
    maximum: float = 1.0,
    bp4d: str | None = None,
    bp4d_plus: str | None = None,
    uncoded_units: str | None = None,
    align: str | None = None,
    margin: float | None = None,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    image_format: str = "png",
    shard_records: int = 4096,
    processes: int | None = None,
    progress: bool = True,
) -> dict:
    """Builds a data set in the folder `out`, or finds it there.

    Args:
      out: The folder. Complete with the same options, it is left alone.
      source: One of `SOURCES`.
      size: Side of the images, in pixels.
      seed: Of the split, the references and the texts, and of the drawn faces.
      people: Number of drawn people (builtin, ict).
      frames: Images of each drawn person.
      facekit: Of the ict source: the clone of the ICT-FaceKit repository.
      labels: Path of the folder source's CSV.
      threshold: Of the folder source: see `FolderFaces`.
      maximum: Of the folder source: see `FolderFaces`.
      bp4d, bp4d_plus: Of the bp4d source: roots of the corpora, one or both.
      uncoded_units, align, margin: Of both sources of photographs: see `FolderFaces`.
      fractions: Shares of the people in train, val and test; one person at least in each.
      image_format: One of `IMAGE_FORMATS`.
      shard_records: Records a shard, at most.
      processes: Worker processes; None takes one a CPU core. Has no effect on the result.
      progress: Whether to show a progress bar.

    Returns:
      What `dataset.json` holds; `data/SCHEMA.md` describes it.

    Raises:
      SourceError: The source cannot be read; the message lists its faults.
      DatasetError: `out` holds something else already.
      ValueError: An option is missing or out of range.
    """
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"image format {image_format!r}, expected {' or '.join(IMAGE_FORMATS)}")
    if shard_records < 1:
        raise ValueError(f"shard_records is {shard_records}, expected 1 or more")
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}, expected 1 or more")
    faces = _open_source(
        source,
        size=size,
        seed=seed,
        given={
            "people": people,
            "frames": frames,
            "facekit": facekit,
            "labels": labels,
            "threshold": threshold,
            "maximum": None if maximum == 1.0 else maximum,
            "bp4d": bp4d,
            "bp4d_plus": bp4d_plus,
            "uncoded_units": uncoded_units,
            "align": align,
            "margin": margin,
        },
    )
    splits = split_people(faces.subjects, fractions=fractions, seed=seed)
    options = {
        "source": source,
        "size": size,
        "seed": seed,
        "fractions": list(fractions),
        "image_format": image_format,
        "shard_records": shard_records,
        **faces.options,
    }
    if progress:
        for line in faces.found:
            print(line, flush=True)
    out = Path(out).absolute()
    if (found := _already_built(out, options)) is not None:
        return found
    out.parent.mkdir(parents=True, exist_ok=True)
    with _partial_folder(out) as partial:
        # Another process may have built it while this one waited for the folder.
        if (found := _already_built(out, options)) is not None:
            partial.rmdir()
            return found
        work = PersonRecords(faces, seed=seed, image_format=image_format)
        results = each_person(work, splits, processes or available_processes())
        if progress:
            results = tqdm.tqdm(
                results,
                total=len(splits),
                desc=f"building {out.name}",
                unit="person",
                # A log file needs a line now and then, not a bar that moves.
                mininterval=0.1 if sys.stderr.isatty() else 15,
            )
        info = _write(partial, results, splits, faces, options)
        (partial / INFO_NAME).write_text(json.dumps(info, indent=1) + "\n")
        if out.is_dir():
            out.rmdir()  # empty: `_already_built` refuses any other
        partial.rename(out)
    return info


def build_if_absent(options: Mapping, directory: str | Path) -> dict:
    """`build(directory, **options)`, saying in one line what is found or about to be made.

    Args:
      options: Keyword arguments of `build`; a value None is as good as absent.
      directory: The folder.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if (Path(directory) / INFO_NAME).is_file():
        info = build(directory, **options)
        print(f"data: {directory}: {_summary(info)}", flush=True)
    else:
        print(
            f"data: {directory} is not there yet, building it from the source "
            f"{options.get('source')} at {options.get('size')} px, once",
            flush=True,
        )
        info = build(directory, **options)
    return info


def _open_source(name: str, *, size: int, seed: int, given: dict) -> Source:
    """The source called `name`; ValueError when its options are missing or another's are given."""
    if name not in SOURCES:
        raise ValueError(f"source {name!r}, expected one of {', '.join(SOURCES)}")
    photographs = ("uncoded_units", "align", "margin")
    needed, optional = {
        "builtin": (("people", "frames"), ()),
        "ict": (("people", "frames", "facekit"), ()),
        "folder": (("labels",), ("threshold", "maximum", *photographs)),
        "bp4d": ((), ("bp4d", "bp4d_plus", *photographs)),
    }[name]
    given = {option: value for option, value in given.items() if value is not None}
    if missing := [option for option in needed if option not in given]:
        raise ValueError(f"source {name} needs {' and '.join(map(_flag, missing))}")
    if extra := [option for option in given if option not in needed + optional]:
        raise ValueError(f"source {name} has no option {', '.join(map(_flag, extra))}")
    if name == "bp4d":
        return BP4DFaces(size=size, **given)
    if name == "folder":
        return FolderFaces(size=size, **given)
    return OpenFaces(size=size, seed=seed, name=name, **given)


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _write(
    folder: Path,
    results: Iterator[PersonResult],
    splits: dict[str, str],
    source: Source,
    options: dict,
) -> dict:
    """Writes all shards into `folder`; returns what `dataset.json` is to hold."""
    writers = {
        name: ShardWriter(folder, name, shard_records=options["shard_records"])
        for name in (*SPLITS, REFERENCES)
    }
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    people = {split: {} for split in SPLITS}
    faults, left_out = [], []
    for (subject, split), result in zip(splits.items(), results, strict=True):
        faults += result.faults
        left_out += result.left_out
        if faults or not result.records:
            continue  # with faults nothing will come of it, but all shall be told at once
        for index, data in enumerate(result.records):
            writers[split if index else REFERENCES].write(data)
            digest.update(b"%d:" % len(data) + data)
        people[split][subject] = len(result.records) - 1
    shards = {name: writer.close() for name, writer in writers.items()}
    if faults:
        raise SourceError(listed(faults, "images that cannot be used"))
    left_out = source.left_out | count_reasons(left_out)
    if empty := [split for split in SPLITS if not people[split]]:
        reasons = [f"{count} x {reason}" for reason, count in left_out.items()]
        raise SourceError(listed(reasons, f"nobody is left in {', '.join(empty)}"))
    return {
        "schema_version": SCHEMA_VERSION,
        "source": source.name,
        "size": options["size"],
        "units": list(facs.AU_NUMBERS),
        "counts": {name: sum(s["records"] for s in shards[name]) for name in shards},
        "left_out": left_out,
        "options": options,
        "fingerprint": digest.hexdigest(),
        "shards": shards,
        "people": people,
    }


def _already_built(out: Path, options: dict) -> dict | None:
    """The data set in `out`; None where there is none; DatasetError where another thing is."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / INFO_NAME).is_file():
        raise DatasetError(f"{out} exists and is no data set: name another folder or remove it")
    info = read_info(out)
    wanted = json.loads(json.dumps(options))
    names = sorted(wanted.keys() | info["options"].keys())
    differing = [
        f"{name} {info['options'].get(name)!r}, asked for {wanted.get(name)!r}"
        for name in names
        if info["options"].get(name) != wanted.get(name)
    ]
    if differing:
        raise DatasetError(
            f"{out} was built with other options ({'; '.join(differing)}): "
            "name another folder or remove it"
        )
    return info


@contextlib.contextmanager
def _partial_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, held by this process alone; removed when the work fails.

    The lock is on the folder itself, so it ends with its holder, however that comes to an end.
    """
    partial = out.with_name(f".{out.name}.partial")
    while True:
        partial.mkdir(exist_ok=True)
        handle = os.open(partial, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process is building {out}, waiting for it", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        # While this process waited, the one before may have renamed or removed the folder.
        if partial.is_dir() and os.path.samestat(os.fstat(handle), os.stat(partial)):
            break
        os.close(handle)
    try:
        for left in partial.iterdir():  # by a build that was killed
            left.unlink()
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def _summary(info: dict) -> str:
    counts = ", ".join(f"{info['counts'][split]} {split}" for split in SPLITS)
    people = sum(len(members) for members in info["people"].values())
    return (
        f"{info['source']} faces, {people} people, {info['size']} px, records: {counts}, "
        f"fingerprint {info['fingerprint'][:12]}"
    )


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.data.build",
        description="Builds a data set of face records from a source of faces.",
    )
    parser.add_argument("--source", choices=SOURCES, required=True)
    parser.add_argument("--out", required=True, help="folder of the data set")
    parser.add_argument("--size", type=int, required=True, help="side of the images in pixels")
    parser.add_argument("--people", type=int, help="builtin, ict: number of people")
    parser.add_argument("--frames", type=int, help="builtin, ict: images of each person")
    parser.add_argument("--facekit", help="ict: a clone of the ICT-FaceKit repository")
    parser.add_argument(
        "--preset", choices=PRESETS, help="builtin, ict: --people and --frames of this data set"
    )
    parser.add_argument("--labels", help="folder: CSV of subject,task,frame,path,AU1,...,AU24")
    parser.add_argument(
        "--threshold", type=float, help="folder: the CSV holds intensities, present from this on"
    )
    parser.add_argument(
        "--maximum", type=float, default=1.0, help="folder: the greatest intensity of the coding"
    )
    parser.add_argument("--bp4d", help="bp4d: the folder of BP4D")
    parser.add_argument("--bp4d-plus", help="bp4d: the folder of BP4D+, alone or with BP4D")
    parser.add_argument(
        "--uncoded-units",
        choices=UNCODED_UNITS,
        help="bp4d, folder: of units that the source never codes (default: refuse)",
    )
    parser.add_argument(
        "--align",
        choices=("auto", *ALIGNMENTS),
        help="bp4d, folder: bring faces to one place by landmarks, by a detector, or take the "
        "middle of each picture (default auto: landmarks where the source has them)",
    )
    parser.add_argument("--margin", type=float, help="bp4d, folder: room around aligned faces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        default=(0.8, 0.1, 0.1),
        metavar=("TRAIN", "VAL", "TEST"),
        help="shares of the people",
    )
    parser.add_argument("--image-format", choices=IMAGE_FORMATS, default="png")
    parser.add_argument("--shard-records", type=int, default=4096, help="records a shard, at most")
    parser.add_argument("--processes", type=int, help="worker processes; default: one a core")
    options = vars(parser.parse_args(arguments))
    for option, value in PRESETS.get(options.pop("preset"), {}).items():
        options[option] = options[option] or value
    try:
        info = build(**options)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(f"stopped: {options['out']} was not built, and nothing of it is left")
    print(f"{options['out']}: {_summary(info)}")
    for reason, count in info["left_out"].items():
        print(f"left out: {count} ({reason})")


if __name__ == "__main__":
    main()
