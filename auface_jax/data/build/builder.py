"""Builds a data set: a source of faces -> shards, references, splits and `dataset.json`.

    python -m auface_jax.data.build --source builtin --out DIR --people 100 --frames 32 --size 64
    python -m auface_jax.data.build --source ict --facekit CLONE --out DIR --people 100 ...
    python -m auface_jax.data.build --source folder --labels labels.csv --out DIR --size 64
    python -m auface_jax.data.build --source bp4d --bp4d BP4D --bp4d-plus BP4D+ --out DIR --size 256

1. People are dealt to train, val and test by a seed, so that nobody is in two of them.
2. A person's reference is a random image with no active unit; where there is none, the one with
   the smallest index. All other images are targets, neutral ones among them.
3. Each target gets its constructs and the seed of its one text.
4. Shards are written beside DIR, which comes into being when all are done: it is complete or
   absent. The command can be repeated: what was finished before a kill is not done again.
5. What TensorFlow Datasets needs to open the shards is written beside them.

`--held-out-rows` and `--novel-rows` make splits of label rows that training never sees (see
`unseen`). Pieces of people are worked on in parallel, here (`local_build`) or by a Beam runner
(`--runner`, `beam_build`); the result depends on the options alone. The processes are spawned, so
a script that calls `build` needs `if __name__ == "__main__":`.
"""

import functools
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from auface_jax.data.build import local
from auface_jax.data.build.build_folder import partial_folder, remove, tidy
from auface_jax.data.build.splits import SPLIT_MODES
from auface_jax.data.build.workers import available_processes
from auface_jax.data.record import IMAGE_FORMATS
from auface_jax.data.shards import INFO_NAME, DatasetError, read_info
from auface_jax.data.sources.registry import open_source

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
    split: str = "person",
    held_out_rows: float = 0.0,
    novel_rows: int = 0,
    image_format: str = "png",
    shard_mib: float = 128.0,
    shard_records: int | None = None,
    processes: int | None = None,
    progress: bool = True,
    runner: str | None = None,
    runner_arguments: Sequence[str] = (),
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
      fractions: Shares in train, val and test; one person (or image) at least in each.
      split: "person" keeps all of a person in one split; "image" deals single images.
      held_out_rows: Share of the label rows of the images to test on that training never sees.
      novel_rows: How many label rows to describe, and to draw where the source draws, that the
        data does not have.
      image_format: One of `IMAGE_FORMATS`.
      shard_mib: About how many MiB a shard should have.
      shard_records: Records a shard, at most; None takes what `shard_mib` needs.
      processes: Worker processes; None takes one a CPU core. Has no effect on the result.
      progress: Whether to show a progress bar.
      runner: Name of an Apache Beam runner that does the work, see `beam_build`; None has this
        machine do it. Has no effect on the result.
      runner_arguments: The runner's own options, as on a command line.

    Returns:
      What `dataset.json` holds; `data/SCHEMA.md` describes it.

    Raises:
      SourceError: The source cannot be read; the message lists its faults.
      DatasetError: `out` holds something else already.
      ValueError: An option is missing or out of range.
    """
    _check(image_format, split, shard_records, shard_mib, processes)
    if runner is not None:
        from auface_jax.data.build import beam  # needs the extra `beam`
    opener = functools.partial(
        open_source,
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
    faces = opener()
    options = {
        "source": source,
        "size": size,
        "seed": seed,
        "split": split,
        "fractions": list(fractions),
        "held_out_rows": held_out_rows,
        "novel_rows": novel_rows,
        "image_format": image_format,
        "shard_mib": shard_mib,
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
    with partial_folder(out, options) as partial:
        # Another process may have built it while this one waited for the folder.
        if (found := _already_built(out, options)) is not None:
            remove(partial)
            return found
        try:
            if runner is None:
                info = local.run(
                    partial, faces, options, processes or available_processes(), progress
                )
            else:
                info = beam.run(partial, opener, options, runner, runner_arguments)
        except ValueError:  # of what was asked for: repeating it would not go further
            remove(partial)
            raise
        _describe_for_tfds(partial, out)
        if out.is_dir():
            out.rmdir()  # empty: `_already_built` refuses any other
        partial.rename(out)
        tidy(out)
    return info


def _describe_for_tfds(partial: Path, out: Path) -> None:
    """Lets TensorFlow Datasets open the set. It is no part of Beam's environment."""
    if importlib.util.find_spec("tensorflow_datasets") is None:
        print(
            "TensorFlow Datasets is not installed here; where it is, it can open the set after "
            f"python -m auface_jax.data.tfds_dataset {out}",
            flush=True,
        )
        return
    from auface_jax.data.tfds_dataset import write_description  # takes a second

    write_description(partial)


def _check(
    image_format: str,
    split: str,
    shard_records: int | None,
    shard_mib: float,
    processes: int | None,
) -> None:
    """Raises ValueError for options that are out of range whatever the source."""
    for name, value, legal in (
        ("image format", image_format, IMAGE_FORMATS),
        ("split", split, SPLIT_MODES),
    ):
        if value not in legal:
            raise ValueError(f"{name} {value!r}, expected {' or '.join(legal)}")
    if not shard_mib > 0:
        raise ValueError(f"shard_mib is {shard_mib}, expected more than 0")
    for name, value in (("shard_records", shard_records), ("processes", processes)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, expected 1 or more")


def build_if_absent(options: Mapping, directory: str | Path) -> dict:
    """`build(directory, **options)`, saying in one line what is found or about to be made.

    Args:
      options: Keyword arguments of `build`; a value None is as good as absent.
      directory: The folder.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if (Path(directory) / INFO_NAME).is_file():
        info = build(directory, **options)
        print(f"data: {directory}: {summary(info)}", flush=True)
    else:
        print(
            f"data: {directory} is not there yet, building it from the source "
            f"{options.get('source')} at {options.get('size')} px, once",
            flush=True,
        )
        info = build(directory, **options)
    return info


def summary(info: dict) -> str:
    counts = ", ".join(f"{info['counts'][split]} {split}" for split in info["people"])
    people = len({subject for members in info["people"].values() for subject in members})
    return (
        f"{info['source']} faces, {people} people, {info['size']} px, records: {counts}, "
        f"fingerprint {info['fingerprint'][:12]}"
    )


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
