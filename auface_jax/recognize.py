"""Reads the twelve action units from faces in pictures, animations and videos, or from texts.

    python -m auface_jax.recognize IMAGES... --out table.csv [--overlay FOLDER] [--run RUN]
    python -m auface_jax.recognize --texts FILE --out table.csv [--run RUN]

IMAGES are files and folders, of faces framed as those that the recogniser was trained on. The table
has a row a frame: path, frame and the probability of each unit.

FILE has a text a line; - is standard input. The table has a row a text: the line's number, the
probability of each unit, the units that the text states, and the text.
"""

import argparse
import csv
import dataclasses
import functools
import itertools
import pathlib
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from auface_jax.facs import ACTION_UNITS, AU_NUMBERS
from auface_jax.images import frames, pixels
from auface_jax.images.files import save_png
from auface_jax.models.au_recognizer import AURecognizer
from auface_jax.parallel.map_batches import map_batches
from auface_jax.pretrained import convert, me_graphau
from auface_jax.runs import checkpoints
from auface_jax.tasks.au_image import ROLES, THRESHOLD, build_recognizer, centre_crop
from auface_jax.tasks.au_text import load_text_reader

PyTree = Any

# Runs of a task that are looked for when none is named, the best first.
DEFAULT_RUNS = {
    task: tuple(f"runs/{task}-{preset}" for preset in ("paper", "open", "quickstart"))
    for task in ("au_image", "au_text")
}
BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Recognizer:
    """A finished recogniser.

    Attributes:
      name: where it was loaded from.
      module: its network.
      variables: what `module.apply` takes first.
      size, crop: faces are resized to `size` pixels, of which the central `crop` are read.
      role: "loss" or "score", what it may be used for; "" for published weights, which do not say.
      fingerprint: hex sha256 of the variables: two recognisers are the same when these are.
    """

    name: str
    module: AURecognizer
    variables: PyTree
    size: int
    crop: int
    role: str
    fingerprint: str

    def __call__(self, images: UInt8[np.ndarray, "M H W 3"]) -> Float[np.ndarray, "M A"]:
        """Probabilities of the units in square faces of any one size."""
        read = functools.partial(_probabilities, self.module, self.size, self.crop)
        return map_batches(read, self.variables, images, batch_size=BATCH_SIZE)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _probabilities(
    module: AURecognizer, size: int, crop: int, variables: PyTree, images: UInt8[Array, "B H W 3"]
) -> Float[Array, "B A"]:
    images = recognizer_input(pixels.to_float(images), size, crop)
    return module.apply(variables, images).probabilities


def recognizer_input(
    images: Float[Array, "B H W 3"], size: int, crop: int
) -> Float[Array, "B crop crop 3"]:
    """Faces in [-1, 1] as a recogniser reads them: resized to `size`, the centre cut out."""
    if images.shape[1:3] != (size, size):
        shape = (len(images), size, size, 3)
        images = jnp.clip(jax.image.resize(images, shape, "lanczos3"), -1.0, 1.0)
    return centre_crop(images, crop)


def load_recognizer(
    path: str | pathlib.Path,
    *,
    role: str | None = None,
    pleased: Mapping[str, str] = types.MappingProxyType({}),
) -> Recognizer:
    """A finished run of the task `au_image`, or a folder of converted ME-GraphAU weights.

    Args:
      role: "loss" or "score": what it is wanted for; None for neither, when nothing depends on it.
      pleased: name -> fingerprint of the recognisers that a generator was trained to please, when
        this one is to score it; `loss_networks.loss_recognizers` finds those of a run.

    Raises:
      checkpoints.CheckpointError: not a finished recogniser; one for the other role; or one of
        `pleased`, by whatever name.
      convert.ConversionError: a damaged folder of converted weights.
    """
    path = pathlib.Path(path)
    if role not in (None, *ROLES):
        raise ValueError(f"role {role!r} is not one of {', '.join(ROLES)}")
    if (path / convert.DESCRIPTION).is_file():
        loaded = convert.load(path, "me_graphau")
        module, variables = loaded.module, loaded.variables
        size, crop, found = me_graphau.IMAGE_SIZE, me_graphau.CROP, ""
    else:
        config = checkpoints.load_config(path)
        if config.task != "au_image":
            raise checkpoints.CheckpointError(
                f"{path} is a run of the task {config.task}; action units are read by a run of "
                "au_image: python -m auface_jax.train --config configs/au_image.py"
            )
        stage = 1 if config.stage1_steps == config.num_steps else 2
        module, variables = build_recognizer(config.model, stage), checkpoints.load_export(path)
        size, crop, found = config.data.size, config.model.crop, config.role
    if role and found and role != found:
        config_name = "au_image" if role == "score" else "au_image_loss"
        raise checkpoints.CheckpointError(
            f"{path} is a recogniser for the role {found!r} and is asked to be one for {role!r}: a "
            "generator must not be judged by what it was trained to please. Use a run of "
            f"configs/{config_name}.py"
        )
    fingerprint = checkpoints.weights_fingerprint(variables)
    for name, of_loss in pleased.items():
        if fingerprint == of_loss:
            raise checkpoints.CheckpointError(
                f"{path} has the very weights ({fingerprint[:12]}) of {name}, which a loss used: "
                "a generator must not be judged by what it was trained to please. Use a recogniser "
                "that was trained apart (configs/au_image.py)"
            )
    return Recognizer(str(path), module, jax.device_put(variables), size, crop, found, fingerprint)


def find_run(run: str, task: str = "au_image") -> str:
    """`run`, or the best of the task's `DEFAULT_RUNS` that is finished.

    Raises:
      checkpoints.CheckpointError: none is named and none is finished.
    """
    defaults = DEFAULT_RUNS[task]
    found = [default for default in defaults if checkpoints.has_export(pathlib.Path(default))]
    if not run and not found:
        raise checkpoints.CheckpointError(
            f"no recogniser here: none of {', '.join(defaults)} is a finished run. Train one "
            f"(python -m auface_jax.train --config configs/{task}.py) or name one with --run"
        )
    return run or found[0]


def recognize(
    recognizer: Recognizer,
    files: Sequence[pathlib.Path],
    *,
    every: int = 1,
    faults: list[str],
) -> Iterator[tuple[frames.Frame, Float[np.ndarray, " A"]]]:
    """Every frame of the files with its probabilities; a file's fault goes to `faults`."""

    def readable():
        for path in files:
            try:
                yield from frames.read_frames(path, recognizer.size, every=every)
            except frames.FrameError as error:
                faults.append(str(error))

    for batch in _chunks(readable(), BATCH_SIZE):
        found = recognizer(np.stack([frame.image for frame in batch]))
        yield from zip(batch, found, strict=True)


def _chunks(items: Iterator, size: int) -> Iterator[list]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def overlay(frame: frames.Frame, probabilities: Float[np.ndarray, " A"]) -> Image.Image:
    """The face as the recogniser got it, and a bar a unit beside it; units read as present in red.

    The line across the bars is the threshold.
    """
    side, bar_width, pad, font = 384, 150, 12, ImageFont.load_default(13)
    names = [f"AU{unit.number}  {unit.name}" for unit in ACTION_UNITS]
    left = side + 2 * pad + round(max(map(font.getlength, names)))
    page = Image.new("RGB", (left + bar_width + 50 + pad, side), "white")
    page.paste(Image.fromarray(frame.image).resize((side, side), Image.Resampling.BICUBIC))
    draw = ImageDraw.Draw(page)
    line = side / len(ACTION_UNITS)
    for row, (name, value) in enumerate(zip(names, probabilities, strict=True)):
        middle = (row + 0.5) * line
        present = value >= THRESHOLD
        ink, fill = ("#b3261e", "#d9534f") if present else ("#444444", "#b8c4d0")
        draw.text((side + pad, middle), name, ink, font, "lm")
        box = (left, middle - line / 3, left + bar_width, middle + line / 3)
        draw.rectangle(box, fill="#f0f0f0")
        draw.rectangle((*box[:2], left + bar_width * float(value), box[3]), fill=fill)
        draw.text((left + bar_width + pad, middle), f"{value:.2f}", ink, font, "lm")
    threshold = left + bar_width * THRESHOLD
    draw.line((threshold, line / 6, threshold, side - line / 6), fill="#777777")
    return page


def read_texts(file: str) -> dict[int, str]:
    """Lines of a file by number, from 1; empty ones are left out.

    Args:
      file: UTF-8; "-" is standard input.

    Raises:
      OSError: there is no such file.
      ValueError: it is not UTF-8, or has no text.
    """
    content = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 ({error}); save it as UTF-8 text") from error
    found = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not found:
        raise ValueError(f"{file}: no text in it; write one a line")
    return found


def write_text_table(run: str, sentences: dict[int, str], out: pathlib.Path) -> None:
    """Reads the numbered texts with the text recogniser of a run and writes the table.

    Raises:
      checkpoints.CheckpointError: `run` is no finished text recogniser.
    """
    reader = load_text_reader(pathlib.Path(run))
    probabilities = reader.probabilities(list(sentences.values()))
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["line", *(f"AU{number}" for number in AU_NUMBERS), "units", "text"])
        for (number, text), found in zip(sentences.items(), probabilities, strict=True):
            stated = np.flatnonzero(found >= reader.thresholds)
            units = "+".join(str(AU_NUMBERS[unit]) for unit in stated)
            table.writerow([number, *(f"{value:.4f}" for value in found), units, text])
    print(f"{out}: {len(sentences)} texts, read by {run}")
    if cut := reader.task.text_tokenizer.truncated:
        longest = max(reader.task.config.data.buckets)
        print(f"{cut} of them are longer than the {longest} tokens that it reads, and were cut")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.recognize",
        description="Reads the twelve action units from faces in pictures and videos, or from "
        "texts.",
    )
    parser.add_argument("images", nargs="*", help="pictures, animations, videos, or their folders")
    parser.add_argument(
        "--texts", metavar="FILE", help="read texts instead, one a line of FILE; - is stdin"
    )
    parser.add_argument("--out", required=True, help="the table to write, a CSV file")
    parser.add_argument("--overlay", metavar="FOLDER", help="annotated pictures, one a frame")
    parser.add_argument(
        "--run",
        default="",
        help="a finished run of au_image or a folder of converted ME-GraphAU weights "
        f"(default: the first of {', '.join(DEFAULT_RUNS['au_image'])}); with --texts a finished "
        "run of au_text",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="each N-th frame of animations and videos"
    )
    options = parser.parse_args(arguments)
    if bool(options.images) == bool(options.texts):
        parser.error("give either IMAGES or --texts FILE")
    if options.texts and (options.overlay or options.every != 1):
        parser.error("--overlay and --every are for pictures, not for --texts")
    if options.every < 1:
        parser.error(f"--every {options.every}: at least 1")
    out = pathlib.Path(options.out)
    try:
        if options.texts:
            sentences = read_texts(options.texts)
            write_text_table(find_run(options.run, "au_text"), sentences, out)
            return
        files = frames.find_files(options.images)
        recognizer = load_recognizer(find_run(options.run))
        out.parent.mkdir(parents=True, exist_ok=True)
        file = out.open("w", newline="", encoding="utf-8")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    faults, rows = [], 0
    stems = dict(zip(files, frames.unique_stems(files), strict=True))
    with file:
        table = csv.writer(file)
        table.writerow(["path", "frame", *(f"AU{number}" for number in AU_NUMBERS)])
        for frame, found in recognize(recognizer, files, every=options.every, faults=faults):
            table.writerow([frame.path, frame.number, *(f"{value:.4f}" for value in found)])
            rows += 1
            if options.overlay:
                name = stems[frame.path] + ("" if frame.still else f"_{frame.number:05d}")
                save_png(
                    overlay(frame, found),
                    pathlib.Path(options.overlay) / f"{name}.png",
                    source=frame.path,
                    recognizer=recognizer.name,
                )
    print(f"{out}: {rows} faces of {len(files) - len(faults)} files, read by {recognizer.name}")
    if faults:
        sys.exit(f"{len(faults)} of {len(files)} files cannot be read:\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
