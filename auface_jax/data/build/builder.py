"""Builds a data set: a source of faces becomes shards, references, splits and `dataset.json`.

    python -m auface_jax.data.build --source builtin --out DIR --people 100 --frames 32 --size 64
    python -m auface_jax.data.build --source ict --facekit CLONE --out DIR --people 100 ...
    python -m auface_jax.data.build --source folder --labels labels.csv --out DIR --size 64
    python -m auface_jax.data.build --source bp4d --bp4d BP4D --bp4d-plus BP4D+ --out DIR --size 256

1. A seed assigns people to train, val and test, so that nobody is in two of them.
2. A person's reference is a random image with no active unit; a person without such an image gets
   the one with the smallest index. All other images are targets, neutral ones included.
3. Each target gets its constructs and the seed of its one text.
4. Shards are written into a hidden folder beside DIR, which is renamed to DIR when all of them are
   done: a data set is complete or absent. The same command continues an interrupted build.
5. The files that TensorFlow Datasets needs to open the shards are written beside them.

`--held-out-rows` and `--novel-rows` make splits of AU combinations that training never sees (see
`unseen`). Work units are processed in parallel, on this machine (`local`) or by a Beam runner
(`--runner`, `beam`); the result depends on the options alone. The processes are spawned, so a
script that calls `build` needs `if __name__ == "__main__":`.
"""

import functools
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auface_jax.data.build import local
from auface_jax.data.build.build_folder import partial_folder, remove, tidy
from auface_jax.data.build.options import ExecutionOptions, parse_options
from auface_jax.data.build.workers import available_processes
from auface_jax.data.shards import INFO_NAME, DatasetError, read_info
from auface_jax.data.sources.base import FaceSource
from auface_jax.data.sources.registry import open_source

# Open faces in the size of BP4D-AUText: the people of BP4D (41) and BP4D+ (140), and the number of
# images of each that brings the number of entries with an active unit nearest to its 302,169.
PRESETS = {"bp4d-autext": {"people": 181, "frames": 1671}}


def build(out: str | Path, **options: Any) -> dict:
    """Builds a data set in the folder `out`, unless the same data set is there already.

    Args:
      out: folder of the data set.
      **options: fields of `DatasetOptions`, of `ExecutionOptions`, and of the options of the
        source (`SOURCE_OPTIONS`).

    Returns:
      The content of `dataset.json`, which `data/SCHEMA.md` describes.

    Raises:
      OptionError: an option is missing, unknown or illegal.
      SourceError: the source cannot be read; the message lists its faults.
      DatasetError: `out` holds something else already.
    """
    dataset, source_options, execution = parse_options(options)
    if execution.runner is not None:
        from auface_jax.data.build import beam  # noqa: F401  fails early without the extra `beam`
    opener = functools.partial(
        open_source, dataset.source, source_options, size=dataset.size, seed=dataset.seed
    )
    source = opener()
    recorded = dataset.recorded() | source.options
    if execution.progress:
        for line in source.summary_lines:
            print(line, flush=True)
    out = Path(out).absolute()
    if (info := _read_matching(out, recorded)) is not None:
        return info
    out.parent.mkdir(parents=True, exist_ok=True)
    with partial_folder(out, recorded) as partial:
        # Another process may have built the data set while this one waited for the folder.
        if (info := _read_matching(out, recorded)) is not None:
            remove(partial)
            return info
        try:
            info = _build_shards(partial, source, opener, recorded, execution)
        except ValueError:  # The options or the source are at fault: a retry would fail alike.
            remove(partial)
            raise
        _describe_for_tfds(partial, out)
        if out.is_dir():
            out.rmdir()  # It is empty: `_read_matching` refuses any other folder.
        partial.rename(out)
        tidy(out)
    return info


def _build_shards(
    partial: Path,
    source: FaceSource,
    opener: functools.partial,
    recorded: dict,
    execution: ExecutionOptions,
) -> dict:
    """Runs the build in the folder `partial`, by this machine or by a Beam runner."""
    if execution.runner is not None:
        from auface_jax.data.build import beam

        return beam.run(partial, opener, recorded, execution.runner, execution.runner_arguments)
    processes = execution.processes or available_processes()
    return local.run(partial, source, recorded, processes, execution.progress)


def _describe_for_tfds(partial: Path, out: Path) -> None:
    """Writes the files by which TensorFlow Datasets opens the set, where it is installed."""
    if importlib.util.find_spec("tensorflow_datasets") is None:
        print(
            "TensorFlow Datasets is not installed here. To open the data set with it, run "
            f"python -m auface_jax.data.tfds_dataset {out} where it is installed",
            flush=True,
        )
        return
    from auface_jax.data.tfds_dataset import write_description  # The import takes a second.

    write_description(partial)


def build_if_absent(options: Mapping[str, Any], directory: str | Path) -> dict:
    """Calls `build(directory, **options)` and prints one line about the data set.

    Args:
      options: keyword arguments of `build`; an option that is None counts as absent.
      directory: folder of the data set.
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
    """One line about a data set: its source, people, size, records and fingerprint."""
    counts = ", ".join(f"{info['counts'][split]} {split}" for split in info["people"])
    people = len({subject for members in info["people"].values() for subject in members})
    return (
        f"{info['source']} faces, {people} people, {info['size']} px, records: {counts}, "
        f"fingerprint {info['fingerprint'][:12]}"
    )


def _read_matching(out: Path, recorded: dict) -> dict | None:
    """Returns the content of `dataset.json` in `out`, or None where `out` is absent or empty.

    Raises:
      DatasetError: `out` is no data set, or one that was built with other options.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / INFO_NAME).is_file():
        raise DatasetError(f"{out} exists and is no data set: name another folder or remove it")
    info = read_info(out)
    built, wanted = info["options"], json.loads(json.dumps(recorded))
    differences = [
        f"{name} {built.get(name)!r}, asked for {wanted.get(name)!r}"
        for name in sorted(wanted.keys() | built.keys())
        if built.get(name) != wanted.get(name)
    ]
    if differences:
        raise DatasetError(
            f"{out} was built with other options ({'; '.join(differences)}): "
            "name another folder or remove it"
        )
    return info
