"""A run's config: read from a file of `configs/`, kept in the run's folder, compared with what is
there; and the data set that it describes."""

import importlib.util
import json
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict as Config

from auface_jax.checkpoints import CheckpointError
from auface_jax.data import build
from auface_jax.data.shards import read_info
from auface_jax.json_files import read_object, write_object
from auface_jax.log import say


def load_config_file(path: pathlib.Path, preset: str) -> Config:
    """`get_config(preset)` of a config file."""
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(preset)


def write_config(config: Config, workdir: pathlib.Path) -> None:
    """Writes `config.json`, or checks that the run in `workdir` has this very config.

    `mesh` and `data.workers` may differ: they say where a run is computed, and a run may go on
    elsewhere. So may a leaf that older runs do not have, as long as it is off: 0, empty, False.

    Raises:
      CheckpointError: it has another one; every difference is listed.
    """
    path = workdir / "config.json"
    ours = json.loads(config.to_json_best_effort())
    if path.exists():
        theirs = read_object(path, CheckpointError)
        flat_ours, flat_theirs = flatten(ours), flatten(theirs)
        changed = [
            f"  {key}: {flat_theirs.get(key, 'absent')} there, {flat_ours.get(key, 'absent')} now"
            for key in sorted(flat_ours.keys() | flat_theirs.keys())
            if not key.startswith("mesh.")
            and key != "data.workers"
            and (key in flat_theirs or flat_ours[key])
            and flat_ours.get(key) != flat_theirs.get(key)
        ]
        if changed:
            raise CheckpointError(
                f"{workdir} is a run of another config:\n"
                + "\n".join(changed)
                + "\ntrain with that config, or choose another --workdir"
            )
    elif jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        write_object(path, ours)  # in one step: another process may be about to read it


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> {"a.b": leaf}."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def build_data(data: Config) -> None:
    """Builds the records that `data` describes, when they are absent.

    How a set was built that training cannot build itself is written into `data`: nothing else
    would know its margin, and the run's config shall not tell of splits that the set lacks.

    Raises:
      FileNotFoundError: the set is absent, and training cannot build it.
      ValueError: the set was built with other options; see `build`.
    """
    buildable = ("builtin", "folder", "ict")
    if data.source not in buildable:
        if not pathlib.Path(data.dir).exists():
            raise FileNotFoundError(
                f"no data set at data.dir={data.dir}, and the source {data.source!r} is not one "
                f"that training can build itself ({', '.join(buildable)}); build it there first "
                f"(python -m auface_jax.data.build --source {data.source} --out {data.dir} ...), "
                "or take another preset"
            )
        built = read_info(data.dir)["options"]
        for name in ("margin", "held_out_rows", "novel_rows"):
            value = built.get(name, 0)
            if value != data[name]:
                say(f"data.{name} is {value}, as {data.dir} was built, not {data[name]}")
                data[name] = type(data[name])(value)
        return
    options = {"source": data.source, "size": data.size, "seed": data.seed}
    if data.source in ("builtin", "ict"):
        options |= {"people": data.people, "frames": data.frames, "facekit": data.facekit or None}
    else:
        names = ("labels", "threshold", "maximum", "uncoded_units", "align", "margin")
        options |= {name: data[name] for name in names}
    options |= {"held_out_rows": data.held_out_rows, "novel_rows": data.novel_rows}
    build.build_if_absent(options, data.dir)
