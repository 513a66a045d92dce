"""Draws one description, or the lines of a CSV, and writes the pictures.

Every picture says in its metadata that it is synthetic, with the text, the seed and the run.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from auface_jax import facs
from auface_jax.generation import region_masks
from auface_jax.generation.generator import Generator
from auface_jax.generation.output_paths import ending, picture_name
from auface_jax.generation.pictures import animation, attention_sheet, picture_sheet
from auface_jax.generation.reference_images import find_reference
from auface_jax.generation.request import Request
from auface_jax.generation.request_csv import read_request_csv, text_of_units
from auface_jax.images import files
from auface_jax.runs.console import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Options of a command that draws.

    Attributes:
      run: folder of a finished Stage II run.
      out: a PNG, a GIF, or a folder for one PNG a picture.
      text: description in words; None where `aus` or `csv` gives it.
      aus: active units, such as "6,12" or "6C,12E"; None where `text` or `csv` gives them.
      csv: file with one picture a line; None for one description.
      reference: image file or person of the run's data set; "" for its first test person.
      reference_aligned: whether the image file is framed as the training faces are.
      change: regions to draw anew, or the file of a mask; None draws the whole picture.
      num: number of pictures.
      seed: seed of text and pictures.
      to_text: second description of a GIF, in words, or None.
      to_aus: second description of a GIF, in units, or None.
      explain: file for the attention maps of the description, or None.
      decode: changes to the run's `decode` config.
    """

    run: str
    out: pathlib.Path
    text: str | None = None
    aus: str | None = None
    csv: str | None = None
    reference: str = ""
    reference_aligned: bool = False
    change: str | None = None
    num: int = 4
    seed: int = 0
    to_text: str | None = None
    to_aus: str | None = None
    explain: str | None = None
    decode: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Drawn(NamedTuple):
    """Pictures of one description.

    Attributes:
      reference: the reference face.
      pictures: what was drawn.
    """

    reference: UInt8[np.ndarray, "S S 3"]
    pictures: UInt8[np.ndarray, "M S S 3"]


def generate(options: GenerationOptions) -> Drawn | None:
    """Draws what the options ask for and writes it.

    Returns:
      The pictures of one description; None for a GIF or a CSV.

    Raises:
      ValueError: an option is illegal, or the run or a file cannot be used.
      OSError: a file cannot be read or written.
    """
    generator = Generator.from_run(options.run)
    if options.csv is not None:
        _write_csv_pictures(generator, options)
        return None
    return _write_description(generator, options)


def _write_description(generator: Generator, options: GenerationOptions) -> Drawn | None:
    """Draws one description into a sheet, a folder or a GIF."""
    reference, name = find_reference(
        generator, options.reference, aligned=options.reference_aligned
    )
    request = _request(generator, options, reference, options.text, options.aus)
    metadata = _metadata(options.run, request.text, options.seed, name)
    print(f"text: {request.text}")
    if options.change:
        metadata["change"] = options.change
    other = None
    if options.to_aus is not None or options.to_text is not None:
        other = _request(generator, options, reference, options.to_text, options.to_aus)
        metadata["to_text"] = other.text
        print(f"to: {other.text}")
    if options.explain:
        maps = generator.attention(reference, request.text)
        files.save_png(attention_sheet(reference, maps), options.explain, **metadata)
        print(options.explain)
    if ending(options.out) == ".gif":
        frames = animation(generator, request, other, dict(options.decode))
        files.save_gif(frames, options.out, **metadata)
        print(f"{options.out}: {len(frames)} frames")
        return None
    made = generator(
        reference,
        request.text,
        labels=request.labels,
        change=request.change,
        num=options.num,
        seed=options.seed,
        **options.decode,
    )
    if ending(options.out) == ".png":
        sheet = picture_sheet(reference, name, made, request.text)
        files.save_png(sheet, options.out, **metadata)
        print(options.out)
        return Drawn(reference, made)
    for number, image in enumerate(made):
        path = options.out / picture_name(number)
        files.save_png(Image.fromarray(image), path, **metadata, number=number)
    print(f"{options.out}: {options.num} pictures")
    return Drawn(reference, made)


def _write_csv_pictures(generator: Generator, options: GenerationOptions) -> None:
    """Draws the lines of a CSV, many at a time, into a folder."""

    @functools.cache
    def find(named: str) -> tuple[UInt8[np.ndarray, "S S 3"], str]:
        reference = named or options.reference
        return find_reference(generator, reference, aligned=options.reference_aligned)

    lines = read_request_csv(
        options.csv,
        _run_dictionary(generator),
        out=options.out,
        find_reference=find,
        also_read=filter(None, (options.reference, options.change)),
    )
    change = _token_mask(generator, options.change)
    requests = [
        Request(find(line.reference)[0], line.text, line.seed, line.labels, change)
        for line in lines
    ]
    # Each batch is written before the next is drawn, so that an interruption loses one batch.
    for indices, made in generator.generate_batches(requests, **options.decode):
        for line, image in zip([lines[index] for index in indices], made, strict=True):
            metadata = _metadata(options.run, line.text, line.seed, find(line.reference)[1])
            files.save_png(Image.fromarray(image), options.out / line.out, **metadata)
    print(f"{options.out}: {len(lines)} pictures")


def _metadata(run: str, text: str, seed: int, reference: str) -> dict[str, Any]:
    return {
        "synthetic": "true",
        "text": text,
        "seed": seed,
        "run": run,
        "reference": reference,
        "software": "auface_jax",
    }


def _request(
    generator: Generator,
    options: GenerationOptions,
    reference: UInt8[np.ndarray, "S S 3"],
    text: str | None,
    units: str | None,
) -> Request:
    """Makes the request of a description in words or, where `text` is None, in units."""
    labels = None
    if text is None:
        text, labels = text_of_units(units, options.seed, _run_dictionary(generator))
        wording = generator.config.data.get("wording", {})
        if facs.parse_scores(units)[1] is not None and not wording.get("degrees"):
            say(f"{units}: this run was trained without words of degree (data.wording.degrees)")
    change = _token_mask(generator, options.change)
    return Request(reference, text, options.seed, labels, change)


def _token_mask(generator: Generator, change: str | None) -> Bool[np.ndarray, " N"] | None:
    """Returns the token positions to draw anew for named regions or a mask file."""
    if not change:
        return None
    size, margin = generator.vqgan.image_size, generator.config.data.get("margin", 0.0)
    if pathlib.Path(change).is_file():
        mask = region_masks.read_mask(change, size)
    else:
        mask = region_masks.region_mask(change, size, margin)
    return region_masks.token_mask(mask, generator.vqgan.grid)


def _run_dictionary(generator: Generator) -> facs.Dictionary:
    """Loads the dictionary of the texts that the run was trained on."""
    return facs.load_dictionary(generator.config.data.get("dictionary") or None)
