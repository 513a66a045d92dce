"""Draws faces: a reference face and a description of action units -> pictures of that person.

    python -m auface_jax.generate --run RUN --aus 6,12 --reference face.png --out faces.png
    python -m auface_jax.generate --run RUN --text "The brows are raised." --num 4
    python -m auface_jax.generate --run RUN --aus 12 --change mouth --reference face.png
    python -m auface_jax.generate --run RUN --aus 4 --to-aus 6,12 --out from_frown_to_smile.gif
    python -m auface_jax.generate --run RUN --jobs jobs.csv --out folder

Every picture says in its metadata that it is synthetic, with the text, the seed and the run.
"""

import argparse
import functools
import os
import pathlib
import textwrap
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from auface_jax import facs
from auface_jax.generation import region_masks
from auface_jax.generation.decode_arguments import add_decode_arguments, decode_arguments
from auface_jax.generation.generator import Generator
from auface_jax.generation.reference_images import find_reference
from auface_jax.generation.request import LARGEST_SEED, Request
from auface_jax.generation.request_csv import existing_files, read_jobs, text_of_units
from auface_jax.images import files, sheets
from auface_jax.images.frames import VIDEOS
from auface_jax.runs.console import say

_ALONE = "give the text or the units of that line to a command of its own, without --jobs"
# What a CSV's lines say in place of an option, or cannot say.
_INSTEAD_IN_JOBS = {
    "--num": "write a line for each picture, with a seed of its own",
    "--seed": "write it in the column seed",
    "--explain": _ALONE,
    "--to-aus": _ALONE,
    "--to-text": _ALONE,
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.generate",
        description="Draws faces from a reference face and a description of action units.",
    )
    parser.add_argument(
        "--run", required=True, help="a finished Stage II run, runs/stage2-quickstart"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--aus",
        help="active units, such as 6,12, or with FACS degrees, 6C,12E: their text is made of them",
    )
    what.add_argument("--text", help="a description in words")
    what.add_argument(
        "--jobs", metavar="CSV", help="a picture a line; see auface_jax/generation/request_csv.py"
    )
    parser.add_argument(
        "--reference",
        default="",
        help="an image file with one face, or a person of the run's data set (default: its first "
        "test person)",
    )
    parser.add_argument(
        "--reference-aligned",
        action="store_true",
        help="the image file is framed as the training faces are: take its middle as it is",
    )
    parser.add_argument(
        "--change",
        metavar="REGIONS",
        help="draw only these anew and keep the rest of the reference: some of "
        f"{', '.join(region_masks.REGIONS)}, joined by commas; or a mask, white where to draw",
    )
    parser.add_argument("--num", type=int, help="pictures to draw (default 4); a GIF is of one")
    parser.add_argument("--seed", type=int, help="of text and pictures (default 0)")
    to = parser.add_mutually_exclusive_group()
    to.add_argument("--to-aus", help="with --out X.gif: from the first description to these units")
    to.add_argument("--to-text", help="the same in words")
    parser.add_argument(
        "--explain",
        metavar="PNG",
        help="also show where on the reference each sentence looks (AU attention)",
    )
    parser.add_argument(
        "--out",
        help="one PNG with the reference and all pictures (default faces.png); a folder (a name "
        "without an ending) for a PNG each; or a GIF of the first picture as it appears",
    )
    add_decode_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    decode = decode_arguments(options)
    try:
        for units in (options.aus, options.to_aus):
            if units is not None:
                facs.parse_scores(units)  # a fault of the command, before anything is loaded
        generator = Generator.from_run(options.run)
        if options.jobs is not None:
            run_jobs(generator, options, decode)
        else:
            run_description(generator, options, decode)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def run_description(
    generator: Generator, options: argparse.Namespace, decode: dict[str, Any]
) -> None:
    """Draws one description into the sheet, the folder or the GIF `--out`."""
    out = pathlib.Path(options.out)
    reference, name = find_reference(
        generator, options.reference, aligned=options.reference_aligned
    )
    request = make_request(generator, options, reference, options.text, options.aus)
    about = {"synthetic": "true", "text": request.text, "seed": options.seed}
    about |= {"run": options.run, "reference": name, "software": "auface_jax"}
    print(f"text: {request.text}")
    if options.change:
        about["change"] = options.change
    other = None
    if options.to_aus is not None or options.to_text is not None:
        other = make_request(generator, options, reference, options.to_text, options.to_aus)
        about["to_text"] = other.text
        print(f"to: {other.text}")
    if options.explain:
        maps = generator.attention(reference, request.text)
        files.save_png(attention_sheet(reference, maps), options.explain, **about)
        print(options.explain)
    if _ending(out) == ".gif":
        frames = animation(generator, request, other, decode)
        files.save_gif(frames, out, **about)
        print(f"{out}: {len(frames)} frames")
        return
    made = generator(
        reference,
        request.text,
        labels=request.labels,
        change=request.change,
        num=options.num,
        seed=options.seed,
        **decode,
    )
    if _ending(out) == ".png":
        columns = [reference[None], *made[:, None]]
        titles = [name, *(f"{i}" for i in range(options.num))]
        scale = max(1, 128 // generator.vqgan.image_size)
        # Longer texts in wider lines, so that they do not become a column.
        caption = textwrap.fill(request.text, max(34, round((2.5 * len(request.text)) ** 0.5)))
        files.save_png(sheets.sheet(columns, titles, [caption], scale=scale), out, **about)
        print(out)
        return
    for number, image in enumerate(made):
        path = out / _picture_name(number)
        files.save_png(Image.fromarray(image), path, **about, number=number)
    print(f"{out}: {options.num} pictures")


def _ending(name: str | pathlib.Path) -> str:
    """Of a picture's or a video's name, in small letters; "" of any other, which is a folder's."""
    ending = pathlib.Path(name).suffix.lower()
    known = (*Image.registered_extensions(), *VIDEOS, ".heic", ".svg")
    return ending if ending in known else ""


def _picture_name(number: int) -> str:
    return f"{number:04d}.png"


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuses options that do not go together, and fills in defaults that depend on others."""
    options.out = options.out or ("" if options.jobs is not None else "faces.png")
    faults, ending = [], _ending(options.out)
    if options.jobs is not None:
        faults += [
            f"{name} {value} has no effect with --jobs: {_INSTEAD_IN_JOBS[name]}"
            for name in _INSTEAD_IN_JOBS
            if (value := getattr(options, name[2:].replace("-", "_"))) is not None
        ]
        if not options.out:
            faults.append("--jobs writes to a folder: name it by --out")
        elif ending:
            faults.append(f"--jobs writes to a folder; --out {options.out} has an ending")
    elif ending not in ("", ".png", ".gif"):
        faults.append(
            f"--out {options.out} ends in {ending}: name a .png, a .gif, or a folder, which is a "
            "name without such an ending"
        )
    elif ending == ".gif":
        if options.num is not None:
            faults.append(
                f"--num {options.num} has no effect on a GIF, which is of one picture: leave it "
                "out, and choose the picture by --seed"
            )
    elif options.to_aus is not None or options.to_text is not None:
        faults.append(f"--to-aus and --to-text make a GIF; --out {options.out} is none")
    if options.text is not None and not options.text.strip():
        faults.append("--text is empty; describe what the face does, or use --aus")
    if options.num is not None and options.num < 1:
        faults.append(f"--num {options.num}: at least 1")
    if options.seed is not None and not 0 <= options.seed <= LARGEST_SEED:
        faults.append(f"--seed {options.seed}: a whole number from 0 to {LARGEST_SEED}")
    if options.explain is not None and _ending(options.explain) != ".png":
        faults.append(f"--explain {options.explain}: the name of a PNG ends in .png")
    options.num = 4 if options.num is None else options.num
    options.seed = options.seed or 0
    if faults := faults or _place_faults(options):
        parser.error("; ".join(faults))


def _place_faults(options: argparse.Namespace) -> list[str]:
    """What will keep results from being written, or read files from staying, as far as it shows."""
    out, explain = (pathlib.Path(name) if name else None for name in (options.out, options.explain))
    faults = []
    for flag, place in (("--out", out), ("--explain", explain)):
        if place is None:
            continue
        there = next(path for path in (place, *place.absolute().parents) if os.path.exists(path))
        if there == place and place.is_dir() == bool(_ending(place)):
            found = "folder" if _ending(place) else "file (a name without an ending is a folder's)"
            faults.append(f"{flag} {place} is a {found}; name another")
        elif there != place and not there.is_dir():
            faults.append(f"{flag} {place} cannot be made: {there} is no folder; name another")
        elif not os.access(there, os.W_OK):
            faults.append(f"{flag} {place}: {there} may not be written; name another")
    if options.jobs is not None:
        return faults  # of their pictures `read_jobs` tells
    read = existing_files(filter(None, (options.reference, options.change)))
    made = [out] if _ending(out) else [out / _picture_name(i) for i in range(options.num)]
    if explain is not None and explain.resolve() in (path.resolve() for path in made):
        faults.append(f"--explain and --out are both {explain}; name two")
    for path in filter(None, (*made, explain)):
        if existing_files([path]) & read:
            faults.append(f"{path} is read by this command and would be lost; name another place")
    return faults


def make_request(
    generator: Generator,
    options: argparse.Namespace,
    reference: UInt8[np.ndarray, "S S 3"],
    text: str | None,
    units: str | None,
) -> Request:
    """What the command asks for, in words or in units."""
    labels = None
    if text is None:
        text, labels = text_of_units(units, options.seed, run_dictionary(generator))
        if facs.parse_scores(units)[1] is not None and not generator.config.data.get("degrees"):
            say(f"{units}: this run was trained without words of degree (data.degrees)")
    change = None
    if options.change:
        size, margin = generator.vqgan.image_size, generator.config.data.get("margin", 0.0)
        mask = (
            region_masks.read_mask(options.change, size)
            if pathlib.Path(options.change).is_file()
            else region_masks.region_mask(options.change, size, margin)
        )
        change = region_masks.token_mask(mask, generator.vqgan.grid)
    return Request(reference, text, options.seed, labels, change)


def run_dictionary(generator: Generator) -> facs.Dictionary:
    """The texts that the run was trained on."""
    return facs.load_dictionary(generator.config.data.get("dictionary") or None)


def animation(
    generator: Generator, request: Request, other: Request | None, decode: dict[str, Any]
) -> UInt8[np.ndarray, "F S S 3"]:
    """From one description to the other and back, or the picture as it appears."""
    if other is None:
        frames = generator.frames(request, **decode)
        return np.concatenate([frames, np.repeat(frames[-1:], 6, axis=0)])
    frames = generator.morph(request, other, **decode)
    return np.concatenate([frames, frames[::-1]])


def attention_sheet(reference: UInt8[np.ndarray, "S S 3"], maps: list) -> Image.Image:
    """A row a sentence: the reference, and where on it the sentence looks."""
    colours, size = matplotlib.colormaps["inferno"], reference.shape[0]
    most = max(values.max() for _, values in maps)
    tiles = []
    for _, values in maps:
        heat = Image.fromarray(np.asarray(values / most, np.float32)).resize((size, size), 2)
        heat = np.clip(np.asarray(heat), 0, 1)[..., None]
        glow = 255 * colours(heat[..., 0])[..., :3]
        tiles.append(np.round((1 - 0.75 * heat) * reference + 0.75 * heat * glow).astype(np.uint8))
    columns = [np.repeat(reference[None], len(maps), axis=0), np.stack(tiles)]
    captions = [textwrap.shorten(sentence, 240, placeholder=" …") for sentence, _ in maps]
    captions = [textwrap.fill(caption, 40) for caption in captions]
    scale = max(1, 128 // size)
    return sheets.sheet(columns, ["reference", "attention"], captions, scale=scale)


def run_jobs(generator: Generator, options: argparse.Namespace, decode: dict[str, Any]) -> None:
    """Draws the lines of a CSV, many at a time, into the folder `--out`."""

    @functools.cache
    def find(named: str) -> tuple[UInt8[np.ndarray, "S S 3"], str]:
        where = named or options.reference
        return find_reference(generator, where, aligned=options.reference_aligned)

    jobs = read_jobs(
        options.jobs,
        run_dictionary(generator),
        out=options.out,
        find_reference=find,
        also_read=filter(None, (options.reference, options.change)),
    )
    requests = []
    for job in jobs:
        reference, _ = find(job.reference)
        request = make_request(generator, options, reference, job.text, None)
        requests.append(Request(reference, job.text, job.seed, job.labels, request.change))
    # Each batch is kept before the next is drawn: who interrupts loses one batch.
    for places, made in generator.draw_batches(requests, **decode):
        for job, image in zip([jobs[place] for place in places], made, strict=True):
            about = {"synthetic": "true", "text": job.text, "seed": job.seed, "run": options.run}
            about |= {"reference": find(job.reference)[1], "software": "auface_jax"}
            files.save_png(Image.fromarray(image), pathlib.Path(options.out) / job.out, **about)
    print(f"{options.out}: {len(jobs)} pictures")


if __name__ == "__main__":
    main()
