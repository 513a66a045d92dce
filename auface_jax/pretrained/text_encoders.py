"""Text encoders with weights: the embedded one, and any published T5 or BERT."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp

from auface_jax.models.au_text_recognizer import UnitTokens
from auface_jax.pretrained import convert, embedded
from auface_jax.pretrained.hub import HUB, download, load_pretrained
from auface_jax.pretrained.weight_files import open_source
from auface_jax.runs.json_files import read_object

EMBEDDED = "embedded"
NETWORKS = ("t5", "bert")


def load_text_encoder(
    where: str, *, layers: int = 0, units: bool = False, dtype: jnp.dtype = jnp.float32
) -> convert.Pretrained:
    """Loads a text encoder with its weights.

    Args:
      where: "embedded" for the encoder that the package contains; else the location of a T5 or
        BERT, as for `hub.load_pretrained`.
      layers: number of its first blocks to keep; 0 keeps all.
      units: return the embedded encoder as `UnitTokens`; others know no units and stay as they are.
      dtype: of the computation.

    Raises:
      WeightFileError: the location does not exist.
      convert.ConversionError: it holds another network, or is damaged.
      ValueError: its configuration names an unknown network.
    """
    if where == EMBEDDED:
        recognizer = embedded.load()
        module = embedded.recognizer(recognizer.fields, dtype)
        if units:
            module = UnitTokens(encoder=module.encoder, head=module.head)
            variables = {"params": recognizer.params}
            return convert.Pretrained("bert", module, variables, recognizer.fingerprint)
        module, variables = module.encoder, {"params": recognizer.params["encoder"]}
        loaded = convert.Pretrained("bert", module, variables, recognizer.fingerprint)
    else:
        loaded = load_pretrained(where, _network(where), dtype=dtype)
    return _first_blocks(loaded, layers) if layers else loaded


def check_tokenizer(where: str, vocab_size: int, tokenizer: str, tokens: int) -> None:
    """Checks that a tokenizer can be that of a text encoder.

    Args:
      where: location of the encoder, as for `load_text_encoder`.
      vocab_size: size of its vocabulary.
      tokenizer: name of the tokenizer, `data.tokenizer` of a config.
      tokens: number of its tokens.

    Raises:
      ValueError: the embedded encoder has another tokenizer than the embedded one; the embedded
        tokenizer has another number of tokens than the encoder; or any has more than the encoder.
    """
    own = tokenizer == EMBEDDED
    if (own or where != EMBEDDED) and (tokens == vocab_size or (tokens < vocab_size and not own)):
        return
    raise ValueError(
        f"the tokenizer data.tokenizer={tokenizer!r} has {tokens} tokens, and the text encoder "
        f"model.text_weights={where!r} has {vocab_size}: name the tokenizer that it was trained "
        'with, "embedded" for the embedded encoder, or such as google-t5/t5-large for T5'
    )


def _first_blocks(loaded: convert.Pretrained, layers: int) -> convert.Pretrained:
    """Leaves out the blocks after the first `layers`.

    Raises:
      ValueError: the encoder has fewer.
    """
    has = loaded.module.num_layers
    if layers > has:
        raise ValueError(f"the text encoder has {has} blocks, and {layers} were asked for")
    left_out = {f"block_{number}" for number in range(layers, has)}
    params = {k: v for k, v in loaded.variables["params"].items() if k not in left_out}
    module = loaded.module.clone(num_layers=layers)
    return dataclasses.replace(loaded, module=module, variables={"params": params})


def _network(where: str) -> str:
    """Returns the network of a location, a name of `NETWORKS`; T5 where nothing tells."""
    path = download(where.removeprefix(HUB)) if where.startswith(HUB) else Path(where).expanduser()
    if (path / convert.DESCRIPTION).is_file():
        found = read_object(path / convert.DESCRIPTION, convert.ConversionError).get("network")
    else:
        found = open_source(path).config.get("model_type", "t5") if path.exists() else "t5"
    if found not in NETWORKS:
        raise convert.ConversionError(
            f"{where} holds {found!r}, which is no text encoder; legal are {' and '.join(NETWORKS)}"
        )
    return found
