"""Sentences about what a text was understood to say, and where pictures show something else."""

import pathlib
from collections.abc import Collection

import numpy as np
from jaxtyping import Int8, UInt8

from auface_jax.facs import ACTION_UNITS, AU_NUMBERS
from auface_jax.recognition.probe import load_probe, predict
from auface_jax.recognition.text_reader import TextReader
from auface_jax.runs import checkpoints
from auface_jax.runs.console import say


def say_what_is_read(text: str | None) -> dict[int, str] | None:
    """Says which units the embedded recogniser reads in a text, and returns them; None for None."""
    if text is None:
        return None
    stated = TextReader.embedded().stated(text)
    say(what_is_read(stated))
    return stated


def what_is_read(stated: dict[int, str]) -> str:
    """Says which units a text states, or warns that it states none.

    Args:
      stated: what `TextReader.stated` returns.
    """
    if not stated:
        return (
            "read in the text: no action unit. If the face should do something, say which part of "
            "it moves and where to, as in 'The corners of the mouth go up.'; --aus takes numbers"
        )
    names = {unit.number: unit.name.lower() for unit in ACTION_UNITS}
    units = [f"AU{unit}{letter} ({names[unit]})" for unit, letter in stated.items()]
    return f"read in the text: {', '.join(units)}"


def say_disagreement(
    run: str | pathlib.Path,
    stated: Collection[int],
    pictures: UInt8[np.ndarray, "M S S 3"],
    reference: UInt8[np.ndarray, "S S 3"],
) -> None:
    """Says where most pictures disagree with the text, as the run's probe reads them.

    Args:
      run: folder of the Stage II run that drew the pictures; without its probe nothing is said.
      stated: FACS numbers of the units that the text states.
      pictures: what was drawn.
      reference: the reference face.
    """
    try:
        probe, weights, config = load_probe(checkpoints.required_run(pathlib.Path(run), "au_probe"))
    except checkpoints.CheckpointError:
        return
    references = np.broadcast_to(reference, pictures.shape)
    read = predict(probe, weights, pictures, references, batch_size=config.batch_size)
    if text := disagreement(stated, read):
        say(text)


def disagreement(stated: Collection[int], read: Int8[np.ndarray, "M A"]) -> str:
    """Describes the units that are stated and absent from most pictures, or the reverse.

    Args:
      stated: FACS numbers of the units that the text states.
      read: 1 where a picture shows a unit.

    Returns:
      One sentence, or "" where text and most of the pictures agree in every unit.
    """
    counts = dict(zip(AU_NUMBERS, read.sum(0).tolist(), strict=True))
    half, total = len(read) / 2, len(read)
    missing = [
        f"AU{n} in {counts[n]} of {total}" for n in AU_NUMBERS if n in stated and counts[n] < half
    ]
    added = [
        f"AU{n} in {counts[n]} of {total}"
        for n in AU_NUMBERS
        if n not in stated and counts[n] > half
    ]
    parts = [f"asked, but seldom seen: {', '.join(missing)}"] if missing else []
    parts += [f"not asked, but seen: {', '.join(added)}"] if added else []
    return f"read in the pictures: {'; '.join(parts)}" if parts else ""
