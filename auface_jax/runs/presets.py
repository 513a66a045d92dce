"""Which preset of a config to take, and the run folders that it implies.

`paper` is the paper's sizes on BP4D-AUText with public weights, `open` 128 px open faces for one
GPU, `quickstart` 64 px open faces for two CPU cores. With none given, the first that this machine
can run is taken.
"""

import hashlib
import pathlib

import jax
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PRESETS = ("paper", "open", "quickstart")
PAPER_DATA = pathlib.Path("datasets/bp4d-autext")


def choose(preset: str, config_name: str, weights: tuple[str, ...] = ()) -> tuple[str, str]:
    """A preset's name, and one line that says why it was taken and how to insist on another.

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


def data_config(preset: str) -> ConfigDict:
    """The `data` part that all stages of a preset share, so that they see the same records."""
    data = ConfigDict(
        {
            # What to build when `dir` is absent: see `auface_jax.data.build.builder.build`.
            "source": "builtin",  # or "ict" or "folder"
            "people": 360,
            "frames": 12,
            "facekit": "",  # the ict source's clone of ICT-FaceKit
            "labels": "",  # the folder source's CSV
            # Intensity from which a unit is present, for a CSV of intensities.
            "threshold": placeholder(float),
            "maximum": 1.0,  # what intensities of that CSV are divided by
            "uncoded_units": "refuse",  # or "absent": units that no line of that CSV codes
            "align": "auto",  # or "landmarks", "detector" or "off": how its faces are framed
            "margin": 0.0,  # room around aligned faces, a share of the crop
            # Label rows that training never sees: a share of the data's, and a number of new ones.
            "held_out_rows": 0.0,
            "novel_rows": 0,
            "size": 64,  # pixels
            "seed": 0,
            "dir": "",  # "" takes a folder under datasets/ named for all of the above
            # How to read it.
            "flip": True,  # mirror image and reference together, half of the time
            "redescribe": True,  # another text of the same constructs each time
            "dictionary": "",  # "" is the project's own; else a file in its form
            # Go on without records and shards that cannot be read, counted in metrics.jsonl.
            "skip_corrupt": False,
            # Processes that make the batches of each training process; 0: its own threads do. For
            # data sets too large to be kept decoded; texts alone need none and have none.
            "workers": 0,
            "degrees": False,  # a FACS degree word before each construct, where intensities exist
            "tokenizer": "",  # "" is the one shipped; else a Hugging Face name or folder
            # Text lengths in tokens; a batch is padded to the shortest that fits.
            "buckets": (160,),
        }
    )
    if preset == "open":
        data.update({"people": 2_000, "frames": 50, "size": 128, "buckets": (128, 256, 512)})
        data.update({"held_out_rows": 0.1, "novel_rows": 2_000})
    elif preset == "paper":
        data.update({"source": "bp4d", "size": 256, "dir": str(PAPER_DATA), "redescribe": False})
        data.update({"people": 0, "frames": 0, "buckets": (128, 256, 512, 1024, 2048)})
        data.flip = False
    return data


# Which axes of the mesh each dimension is split over: see `parallel.sharding`. A network of
# convolutions sends more than its weights are, so that `tensor` only splits rows and storage there.
MESH_RULES = {
    "transformer": {
        "batch": ("data", "fsdp"),
        "embed": ("fsdp",),
        "heads": ("tensor",),
        "mlp": ("tensor",),
        "vocab": ("tensor",),
        "weight": ("fsdp", "tensor"),
    },
    "convolutions": {"batch": ("data", "fsdp", "tensor"), "weight": ("fsdp", "tensor")},
}


def mesh_config(network: str) -> ConfigDict:
    """The `mesh` part: one device, or data-parallel on all there are; docs/guide/scaling.md has more.

    Args:
      network: whose rules: one of `MESH_RULES`.
    """
    # Devices that share one copy of the parameters, and that share each layer's work.
    return ConfigDict({"fsdp": 1, "tensor": 1, "rules": MESH_RULES[network]})


def data_folder(data: ConfigDict) -> pathlib.Path:
    """Where a `data` config's records are, or are to be built."""
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
