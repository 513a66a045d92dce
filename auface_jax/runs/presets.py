"""The choice of a config's preset, and the folders of runs and data that follow from it."""

import hashlib
import pathlib

import jax
from ml_collections import ConfigDict

PRESETS = ("paper", "open", "quickstart")
PAPER_DATA = pathlib.Path("datasets/bp4d-autext")


def choose(preset: str, config_name: str, weights: tuple[str, ...] = ()) -> tuple[str, str]:
    """Chooses a preset and says in one line why, and how to insist on another.

    With none given, the first of `PRESETS` is taken that this machine can run.

    Args:
      preset: what the user asked for after the colon; "" for the best that can run here.
      config_name: for the message, as in `configs/stage2.py`.
      weights: folders of outside weights that `paper` needs beside its data.

    Raises:
      ValueError: `preset` is not a preset's name.
    """
    insist = f"insist with --config {config_name}:PRESET, PRESET one of {', '.join(PRESETS)}"
    if preset:
        if preset not in PRESETS:
            raise ValueError(f"preset {preset!r} is not one of {', '.join(PRESETS)}; {insist}")
        return preset, f"preset {preset}, as asked"
    missing = [str(path) for path in (PAPER_DATA, *map(pathlib.Path, weights)) if not path.exists()]
    if not missing:
        return "paper", f"preset paper: its data and weights are here; {insist}"
    absent = f"paper needs {', '.join(missing)}"
    if jax.default_backend() != "cpu":
        return "open", f"preset open: {absent}, and there is a {jax.default_backend()}; {insist}"
    return "quickstart", f"preset quickstart: {absent}, open needs a GPU or TPU; {insist}"


def sibling_run(workdir: pathlib.Path, own: str, other: str) -> pathlib.Path:
    """The folder of the run that `workdir` builds on, when the config names none.

    `runs/stage2-quickstart` -> `runs/stage1-quickstart`; a name without `own` in it, `runs/mine`,
    -> `runs/mine-stage1`.
    """
    if own in workdir.name:
        return workdir.with_name(workdir.name.replace(own, other))
    return workdir.with_name(f"{workdir.name}-{other}")


def data_folder(data: ConfigDict) -> pathlib.Path:
    """The folder of the records of a config's `data` part, whether they are built or not."""
    if data.dir:
        return pathlib.Path(data.dir)
    if data.source in ("builtin", "ict"):
        name = f"{data.source}-{data.people}x{data.frames}-{data.size}px-seed{data.seed}"
    else:
        labels = pathlib.Path(data.labels).resolve()
        how = (data.threshold, data.maximum, data.uncoded_units, data.align, data.margin)
        digest = hashlib.sha256(f"{labels} {how}".encode()).hexdigest()[:8]
        name = f"{data.source}-{labels.parent.name}-{data.size}px-seed{data.seed}-{digest}"
    if data.held_out_rows or data.novel_rows:
        name += f"-unseen-{data.held_out_rows:g}-{data.novel_rows}"
    return pathlib.Path("datasets") / name
