"""The data set that a config's `data` part describes, built where it is absent."""

import pathlib

from ml_collections import ConfigDict as Config

from auface_jax.data.build import builder
from auface_jax.data.shards import read_info
from auface_jax.runs.console import say
from auface_jax.runs.run_config import BUILDABLE, UNSEEN_OPTIONS


def build_data(data: Config) -> None:
    """Builds the records that `data` describes, when they are absent; see also `as_built`.

    Raises:
      FileNotFoundError: the set is absent, and training cannot build it.
      ValueError: the set was built with other options; see `build`.
    """
    if data.source not in BUILDABLE:
        if not pathlib.Path(data.dir).exists():
            raise FileNotFoundError(
                f"no data set at data.dir={data.dir}, and the source {data.source!r} is not one "
                f"that training can build itself ({', '.join(BUILDABLE)}); build it there first "
                f"(python -m auface_jax.data.build --source {data.source} --out {data.dir} ...), "
                "or take another preset"
            )
        as_built(data)
        return
    options = {"source": data.source, "size": data.size, "seed": data.seed}
    if data.source in ("builtin", "ict"):
        options |= {"people": data.people, "frames": data.frames, "facekit": data.facekit or None}
    else:
        names = ("labels", "threshold", "maximum", "uncoded_units", "align", "margin")
        options |= {name: data[name] for name in names}
    options |= {"held_out_rows": data.held_out_rows, "novel_rows": data.novel_rows}
    builder.build_if_absent(options, data.dir)


def as_built(data: Config) -> None:
    """Writes into `data` how a set was built that training cannot build itself.

    Nothing else would know its margin, and the config of a run is not to tell of splits that its
    set lacks.
    """
    built = read_info(data.dir)["options"]
    for name in ("margin", *UNSEEN_OPTIONS):
        value = built.get(name, 0)
        if value != data[name]:
            say(f"data.{name} is {value}, as {data.dir} was built, not {data[name]}")
            data[name] = type(data[name])(value)
