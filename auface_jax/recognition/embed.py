"""Writes a finished text recogniser in the form in which the package contains one.

    python -m auface_jax.recognition.embed runs/au_text-embedded auface_jax/pretrained/embedded_text

`pretrained/embedded.py` reads the files, and `embedded_text/README.md` says how the package's own
were made.
"""

import argparse
import pathlib

from auface_jax.models.au_text_recognizer import AUQueryHead
from auface_jax.models.bert import BertEncoder
from auface_jax.pretrained import embedded
from auface_jax.recognition.text_reader import load_text_reader
from auface_jax.runs import checkpoints


def embed(run: pathlib.Path, destination: pathlib.Path) -> None:
    """Writes the recogniser of a finished run.

    Raises:
      checkpoints.CheckpointError: the run is not finished, or is not of the task `au_text`.
      ValueError: its encoder is not a BERT that was trained along, or its head is another.
    """
    reader = load_text_reader(run)
    module = reader.module
    if (
        not isinstance(module.encoder, BertEncoder)
        or not isinstance(module.head, AUQueryHead)
        or "encoder" not in reader.weights["params"]
    ):
        raise ValueError(
            f"{run} cannot be embedded: that takes a BERT that was trained along "
            "(model.text_weights, model.train_text=True) and model.head=queries"
        )
    embedded.write(destination, module, reader.weights, reader.tokenizer.definition)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.recognition.embed", description=__doc__.splitlines()[0]
    )
    parser.add_argument("run", type=pathlib.Path, help="folder of a finished run of au_text")
    parser.add_argument("destination", type=pathlib.Path, help="folder to write")
    options = parser.parse_args(arguments)
    try:
        embed(options.run, options.destination)
    except (checkpoints.CheckpointError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    size = (options.destination / embedded.WEIGHTS).stat().st_size
    print(f"{options.destination}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
