"""Files of published weights: safetensors, sharded or in a Hugging Face folder, and torch.

Nothing is unpickled: torch checkpoints are read with `weights_only=True`, which accepts tensors and
plain containers alone. Only these need torch (the extra `convert`).
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (numpy and safetensors know bfloat16 once this is imported)
import numpy as np
from safetensors import SafetensorError, safe_open

from auface_jax.runs.json_files import read_object

# Key -> shape, and a function that reads the tensor.
Tensors = dict[str, tuple[tuple[int, ...], Callable[[], np.ndarray]]]

# Files that a folder is searched for, in this order. The last two are OpenCLIP's.
FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
# Names under which training scripts save a network's tensors.
STATE_NAMES = ("state_dict", "model_state_dict", "model", "params", "network")


class WeightFileError(ValueError):
    """Raised for a path without readable weights."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Named tensors that are read one at a time.

    Attributes:
      name: name in messages.
      shapes: shape of every tensor, by its key.
      read: function key -> array, in the precision of the file.
      files: files of the tensors; empty for tensors in memory.
      config: `config.json` of the folder, with its `preprocessor_config.json` under
        "preprocessing", or OpenCLIP's `open_clip_config.json`; {} without these.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    files: tuple[Path, ...] = ()
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def shape(self, key: str) -> tuple[int, ...]:
        """Returns the shape of one tensor.

        Raises:
          WeightFileError: the key does not exist.
        """
        if key not in self.shapes:
            first = ", ".join(sorted(self.shapes)[:5])
            raise WeightFileError(
                f"{self.name} has no key {key!r}; its first of {len(self.shapes)} are: {first}. "
                "Is it the checkpoint of this network?"
            )
        return self.shapes[key]

    def fingerprint(self) -> str:
        """Returns the hex sha256 of the files' names and contents."""
        digest = hashlib.sha256()
        for path in sorted(self.files):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name} {content}\n".encode())
        return digest.hexdigest()


def from_arrays(arrays: Mapping[str, np.ndarray], name: str = "arrays") -> Source:
    """Makes a source of arrays in memory, such as a torch module's state dict."""
    shapes = {key: tuple(array.shape) for key, array in arrays.items()}
    return Source(name, shapes, lambda key: np.asarray(arrays[key]))


def open_source(path: str | Path) -> Source:
    """Opens a file or folder of weights.

    Args:
      path: a `.safetensors` file, its `.index.json`, a torch checkpoint (`.pth` and the like), or
        a Hugging Face folder with one of `FOLDER_FILES`. The tensors of a torch checkpoint may be
        under one of `STATE_NAMES`, and the prefix `module.`, which data-parallel training adds to
        every key, is cut off.

    Raises:
      WeightFileError: the path does not exist or has no known file, a file of an index is missing,
        or a torch checkpoint contains more than tensors and plain containers.
      ImportError: the path is a torch checkpoint, and torch is not installed.
    """
    path = Path(path)
    config: dict[str, Any] = {}
    if path.is_dir():
        found = [path / name for name in FOLDER_FILES if (path / name).is_file()]
        if not found:
            raise WeightFileError(f"{path} holds none of {', '.join(FOLDER_FILES)}")
        path = found[0]
        config = _config_beside(path)
    if not path.is_file():
        raise WeightFileError(f"there is no file or folder {path}")
    files = _files_of_index(path) if path.name.endswith(".index.json") else (path,)
    tensors: Tensors = {}
    for file in files:
        if file.suffix == ".safetensors":
            tensors |= _safetensors(file)
        elif file.suffix in TORCH_SUFFIXES:
            tensors |= _torch_tensors(file)
        else:
            raise WeightFileError(
                f"{file} is neither .safetensors nor one of {', '.join(TORCH_SUFFIXES)}"
            )
    shapes = {key: shape for key, (shape, _) in tensors.items()}
    return Source(str(path), shapes, lambda key: tensors[key][1](), files, config)


def _config_beside(weights: Path) -> dict[str, Any]:
    """Reads the description of the network in the folder of a weights file."""

    def read(name: str) -> dict[str, Any]:
        path = weights.parent / name
        return read_object(path, WeightFileError) if path.is_file() else {}

    if weights.name.startswith("open_clip_"):
        return read("open_clip_config.json")
    config, preprocessing = read("config.json"), read("preprocessor_config.json")
    return {**config, "preprocessing": preprocessing} if preprocessing else config


def shard_names(index: Path) -> list[str]:
    """Returns the sorted names of the files that an index lists.

    Raises:
      WeightFileError: the file is damaged, is not an index, or lists files of another folder.
    """
    table = read_object(index, WeightFileError).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise WeightFileError(f"{index} has no weight_map, a table of keys and file names")
    names = sorted(set(table.values()))
    if outside := [name for name in names if not name or Path(name).name != name]:
        raise WeightFileError(f"{index} names files outside of its folder: {', '.join(outside)}")
    return names


def _files_of_index(index: Path) -> tuple[Path, ...]:
    """Returns the shards that an index lists, all of which exist."""
    names = shard_names(index)
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise WeightFileError(f"{index} names files that do not exist: {', '.join(missing)}")
    return tuple(index.parent / name for name in names)


def _safetensors(path: Path) -> Tensors:
    """Returns shape and reader of each tensor of a safetensors file."""
    try:
        file = safe_open(path, framework="numpy")
        return {
            key: (tuple(file.get_slice(key).get_shape()), lambda key=key: file.get_tensor(key))
            for key in file.keys()  # noqa: SIM118  (not a mapping)
        }
    except SafetensorError as error:
        raise WeightFileError(f"{path} is not a safetensors file: {error}") from error


def _torch_tensors(path: Path) -> Tensors:
    """Returns shape and reader of each tensor of a torch checkpoint."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is a torch checkpoint, and torch is not installed: "
            ".venv/bin/python -m pip install -c constraints.txt -e '.[convert]'"
        ) from error
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of exceptions
        raise WeightFileError(
            f"{path} cannot be read as tensors and plain containers alone: {error}"
        ) from error
    top = saved if isinstance(saved, Mapping) else {}
    for state in (top, *(top[name] for name in STATE_NAMES if name in top)):
        if isinstance(state, Mapping) and state and all(map(torch.is_tensor, state.values())):
            break
    else:
        raise WeightFileError(
            f"{path} has no table of tensors, neither at its top, a {type(saved).__name__} with "
            f"the keys {list(map(str, top))}, nor under one of {', '.join(STATE_NAMES)}"
        )
    prefix = "module." if all(key.startswith("module.") for key in state) else ""

    def array(tensor):
        if tensor.dtype == torch.bfloat16:  # numpy has no such type
            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()

    return {
        key.removeprefix(prefix): (tuple(tensor.shape), lambda tensor=tensor: array(tensor))
        for key, tensor in state.items()
    }
