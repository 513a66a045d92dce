"""Loading of published weights: converted, as they were downloaded, or from Hugging Face.

    load_pretrained("weights/t5-large", "t5")             converted before; the quickest
    load_pretrained("downloads/t5-large", "t5")           a folder or file as it was published
    load_pretrained("hf:google/flan-t5-large", "t5")      by name, through the hub's own cache

The last two are converted through the network's table of keys each time that they are loaded.
"""

from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import errors

from auface_jax.pretrained import convert
from auface_jax.pretrained.weight_files import (
    FOLDER_FILES,
    WeightFileError,
    open_source,
    shard_names,
)

HUB = "hf:"
# Descriptions of the network and its input that a repository may have.
_DESCRIPTIONS = ("config.json", "preprocessor_config.json", "open_clip_config.json")


def load_pretrained(where: str, network: str, **fields: Any) -> convert.Pretrained:
    """Loads a network with published weights.

    Args:
      where: a folder that `convert` wrote; a file or folder that `weight_files.open_source` reads;
        or `hf:` and the name of a repository on the hub.
      network: name of the network in `convert.NETWORKS`.
      **fields: fields of the module to replace, such as `dtype` of the computation.

    Raises:
      WeightFileError: the path does not exist, or the hub is unreachable and its cache has no copy.
      convert.ConversionError: the weights belong to another network, or are damaged.
    """
    if where.startswith(HUB):
        path = download(where.removeprefix(HUB))
    else:
        path = Path(where).expanduser()
        if (path / convert.DESCRIPTION).is_file():
            return convert.load(path, network, **fields)
        if not path.exists():
            raise WeightFileError(
                f"{where} does not exist: convert the published weights first (python -m "
                f"auface_jax.pretrained.convert {network} SOURCE {where}), or name a repository on "
                f"the Hugging Face hub, {HUB}OWNER/NAME"
            )
    source = open_source(path)
    module, variables = convert.to_variables(convert.find_network(network), source, **fields)
    return convert.Pretrained(network, module, variables, source.fingerprint())


def download(name: str, cache: str | Path | None = None) -> Path:
    """Downloads the weights of a network from the hub, unless its cache holds them already.

    Args:
      name: name of a repository, such as google/flan-t5-large.
      cache: folder of the cache; None is the hub's default.

    Returns:
      The folder of the files in the cache.

    Raises:
      WeightFileError: the repository does not exist or has none of `FOLDER_FILES`, or the hub is
        unreachable and the cache has no copy.
    """

    def fetch(file: str) -> Path | None:
        try:
            return Path(huggingface_hub.hf_hub_download(name, file, cache_dir=cache))
        except errors.LocalEntryNotFoundError:
            unreachable.append(file)  # whether the file exists is unknown without the hub
        except errors.EntryNotFoundError:
            pass  # a repository has some of these files
        return None

    unreachable: list[str] = []
    try:
        weights = next(filter(None, map(fetch, FOLDER_FILES)), None)
        if weights is None:
            why = (
                "the hub cannot be reached, and its cache has no copy"
                if unreachable
                else f"the repository holds none of {', '.join(FOLDER_FILES)}"
            )
            raise WeightFileError(
                f"{HUB}{name}: {why}. Download it where there is a network (hf download {name}), "
                "copy the folder here and name that folder instead"
            )
        if weights.name.endswith(".index.json"):
            for shard in shard_names(weights):
                fetch(shard)  # `open_source` reports missing ones
        for description in _DESCRIPTIONS:
            fetch(description)
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightFileError(
            f"{HUB}{name} cannot be downloaded from the Hugging Face hub ({reason}). Check the "
            "name, and log in (hf auth login) if its owner asks for consent"
        ) from error
    return weights.parent
