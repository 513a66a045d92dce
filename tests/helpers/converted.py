"""Converted weights of a module on disk."""

import json
from pathlib import Path

from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from auface_jax.pretrained import convert


def write_converted(
    folder: Path, network: str, fields: dict, leaves: dict, sha256="0" * 64
) -> Path:
    """Writes leaves (path -> array, or nested variables) as `pretrained.convert` does."""
    folder.mkdir(exist_ok=True)
    save_file(
        flatten_dict(leaves, sep="/") if "params" in leaves else leaves, folder / convert.WEIGHTS
    )
    described = {"format_version": convert.FORMAT_VERSION, "network": network, "fields": fields}
    described["source"] = {"files": [], "sha256": sha256}
    (folder / convert.DESCRIPTION).write_text(json.dumps(described))
    return folder
