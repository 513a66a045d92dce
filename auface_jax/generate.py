"""Draws faces: a reference face and a description of action units -> pictures of that person.

    python -m auface_jax.generate --run RUN --aus 6,12 --reference face.png --out faces.png
    python -m auface_jax.generate --run RUN --text "The brows are raised." --num 4

Every PNG says in its metadata that it is synthetic, with the text, the seed and the run.
"""

import argparse
import dataclasses
import functools
import pathlib
import textwrap
from typing import Any

import jax
import ml_collections
import numpy as np
from jaxtyping import Int8, UInt8
from PIL import Image

from auface_jax import checkpoints, facs, pictures
from auface_jax.data import pipeline
from auface_jax.data.align import AlignmentError, align
from auface_jax.data.detector import NoDetectorError
from auface_jax.data.images import central_square, read_rgb
from auface_jax.data.shards import read_info
from auface_jax.data.tokenizer import Tokenizer, load_tokenizer
from auface_jax.decode import DecodeOptions
from auface_jax.encoders import Encoders, load_encoders
from auface_jax.log import say
from auface_jax.models.vq_auface import VQAUFace
from auface_jax.models.vqgan import VQGAN
from auface_jax.synthesis import build_model, generate_batch, load_vqgan

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Generator:
    """A finished Stage II run, ready to draw.

    Attributes:
      config: of the run.
      model, vqgan, encoders: its networks.
      weights: {"params", "stage1", "encoders"}, arguments of the compiled program.
      tokenizer: the text tokenizer that it was trained with.
    """

    config: ml_collections.ConfigDict
    model: VQAUFace
    vqgan: VQGAN
    encoders: Encoders
    weights: PyTree
    tokenizer: Tokenizer

    @classmethod
    def from_run(cls, run: str | pathlib.Path) -> "Generator":
        """Loads `run`, a finished Stage II run, and the Stage I run that it names.

        Raises:
          checkpoints.CheckpointError: not finished, not of Stage II, or of another text tokenizer.
        """
        run = pathlib.Path(run)
        config = checkpoints.load_config(run)
        if config.task != "maskgit":
            raise checkpoints.CheckpointError(
                f"{run} is a run of the task {config.task}; pictures come from Stage II (maskgit)"
            )
        tokenizer = load_tokenizer(config.data.tokenizer)
        meta = checkpoints.load_meta(run)
        trained_with = meta["text_tokenizer"]
        if tokenizer.fingerprint != trained_with:
            raise checkpoints.CheckpointError(
                f"{run} was trained with the text tokenizer {trained_with[:12]}, the one of its "
                f"config, {config.data.tokenizer or 'the embedded default'!r}, is now "
                f"{tokenizer.fingerprint[:12]}; use the version of this package that trained it"
            )
        stage1_run = pathlib.Path(config.requires.stage1.run)
        if not stage1_run.exists():  # a relative path, and this is another folder
            stage1_run = run.with_name(stage1_run.name)
        vqgan, stage1 = load_vqgan(stage1_run)
        encoders, frozen, fingerprints = load_encoders(config, tokenizer.vocab_size)
        for name, found in fingerprints.items():
            if found != meta[name]:
                raise checkpoints.CheckpointError(
                    f"{run} was trained with the {name} {meta[name][:12]}; those of its config, "
                    f"{config.model[name]!r}, are now {found[:12]}; put the former ones back there"
                )
        model = build_model(config, vqgan, tokenizer.vocab_size)
        params = checkpoints.load_export(run)["params"]
        weights = {"params": params, "stage1": stage1, "encoders": frozen}
        return cls(config, model, vqgan, encoders, jax.device_put(weights), tokenizer)

    def __call__(
        self,
        reference: UInt8[np.ndarray, "S S 3"],
        text: str,
        *,
        labels: Int8[np.ndarray, " A"] | None = None,
        num: int = 1,
        seed: int = 0,
        **decode: float,
    ) -> UInt8[np.ndarray, "num S S 3"]:
        """`num` pictures of the person in `reference` as `text` says.

        Picture i depends on `seed` and i and not on `num`.

        Args:
          reference: of the run's image size.
          labels: the units that the text describes; only a run that was trained on labels in place
            of texts needs them, and it reads nothing else.
          decode: fields of `DecodeOptions` that replace those of the run's config.

        Raises:
          ValueError: a reference of another size, a bad option, or no labels where they are read.
        """
        size = self.vqgan.image_size
        if reference.shape != (size, size, 3):
            raise ValueError(
                f"the reference is {reference.shape}, this run wants {(size, size, 3)}"
            )
        if self.model.label_tokens and labels is None:
            raise ValueError(
                "this run reads labels and no text: say which units (--aus 6,12, or labels=)"
            )
        options = DecodeOptions(**{**self.config.decode, **decode})
        buckets, cut = tuple(self.config.data.buckets), self.tokenizer.truncated
        tokens, mask = self.tokenizer.encode_batch([text], buckets)
        if self.tokenizer.truncated > cut:
            say(f"the text is cut after {max(buckets)} tokens, the longest that this run reads")
        base = jax.random.key(seed)
        keys = jax.vmap(lambda i: jax.random.fold_in(base, i))(np.arange(num))
        records = {
            "reference": np.repeat(reference[None], num, axis=0),
            "text_tokens": np.repeat(tokens, num, axis=0),
            "text_mask": np.repeat(mask, num, axis=0),
        }
        if labels is not None:
            records["labels"] = np.repeat(np.asarray(labels)[None], num, axis=0)
        draw = functools.partial(generate_batch, self.model, self.vqgan, self.encoders, options)
        return np.asarray(draw(self.weights, records, jax.random.key_data(keys)))


def find_reference(
    generator: Generator, reference: str, *, aligned: bool = False
) -> tuple[UInt8[np.ndarray, "S S 3"], str]:
    """An image file, a person of the run's data set, or "" for its first test person.

    The face of a file is looked for and framed as the training faces are; `aligned` says that it
    is framed so already, and takes the middle of the picture as it is.

    Returns the image and its name for captions.

    Raises:
      ValueError: the file is no image that can be read, or has no face, or several.
      FileNotFoundError: neither a file nor a person; the message says which people there are.
    """
    data_dir, size = pathlib.Path(generator.config.data.dir), generator.vqgan.image_size
    if reference and pathlib.Path(reference).is_file():
        return frame_photograph(reference, data_dir, size, aligned), pathlib.Path(reference).name
    if not (data_dir / "dataset.json").exists():
        raise FileNotFoundError(
            f"--reference {reference or '(none)'!r} is not an image file, and the run's data set "
            f"{data_dir} is not here to look a person up in; give an image file"
        )
    people = pipeline.reference_subjects(data_dir)
    person = reference or pipeline.reference_subjects(data_dir, "test")[0]
    if person not in people:
        raise FileNotFoundError(
            f"--reference {reference!r} is neither an image file nor one of the {len(people)} "
            f"people of {data_dir} ({people[0]} … {people[-1]})"
        )
    return pipeline.load_reference(data_dir, person), person


def as_cropped(data_dir: pathlib.Path) -> bool:
    """Whether the data set in `data_dir` was built from pictures as they were cropped."""
    return _build_options(data_dir).get("align") == "off"


def _build_options(data_dir: pathlib.Path) -> dict[str, Any]:
    return read_info(data_dir)["options"] if (data_dir / "dataset.json").exists() else {}


def frame_photograph(
    path: str,
    data_dir: pathlib.Path,
    size: int,
    aligned: bool,
    *,
    option: str = "--reference-aligned",
) -> UInt8[np.ndarray, "S S 3"]:
    """A user's picture, framed as the data set in `data_dir` is; see `find_reference`.

    Args:
      option: the flag that says `aligned`, for the message.
    """
    image = read_rgb(path)
    if aligned:
        return central_square(image, size)
    if as_cropped(data_dir):
        say(
            f"{data_dir} was built from pictures as they were cropped, so the middle of {path} is "
            "taken: crop it as they are"
        )
        return central_square(image, size)
    try:
        margin = _build_options(data_dir).get("margin", 0.0)
        return align(image, size=size, margin=margin)[0]
    except (AlignmentError, NoDetectorError) as error:
        raise ValueError(
            f"{path}: {error}; or crop it square as the training faces are and say {option}"
        ) from error


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m auface_jax.generate",
        description="Draws faces from a reference face and a description of action units.",
    )
    parser.add_argument(
        "--run", required=True, help="a finished Stage II run, runs/stage2-quickstart"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--aus", help="active units, such as 6,12: their text is made from them")
    what.add_argument("--text", help="a description in words")
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
    parser.add_argument("--num", type=int, default=4, help="pictures to draw (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="of text and pictures (default 0)")
    parser.add_argument("--guidance", type=float, help="how strictly to follow the text")
    parser.add_argument("--steps", type=int, help="decoding iterations")
    parser.add_argument(
        "--out",
        default="faces.png",
        help="one PNG with the reference and all pictures, or a folder "
        "(a name without .png) for a PNG each",
    )
    options = parser.parse_args(arguments)
    if options.num < 1 or options.seed < 0:
        parser.error(f"--num {options.num} --seed {options.seed}: at least 1 and at least 0")
    try:
        text, labels = options.text, None
        if text is None:
            labels = facs.labels_from_units(facs.parse_units(options.aus))
        elif not text.strip():
            raise ValueError("--text is empty; describe what the face does, or use --aus")
        generator = Generator.from_run(options.run)
        if text is None:
            dictionary = facs.load_dictionary(generator.config.data.get("dictionary") or None)
            text = facs.describe(labels, np.random.default_rng(options.seed), dictionary)
        reference, name = find_reference(
            generator, options.reference, aligned=options.reference_aligned
        )
        decode = {key: getattr(options, key) for key in ("guidance", "steps")}
        decode = {key: value for key, value in decode.items() if value is not None}
        made = generator(
            reference, text, labels=labels, num=options.num, seed=options.seed, **decode
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    about = {"synthetic": "true", "text": text, "seed": options.seed, "run": options.run}
    about |= {"reference": name, "software": "auface_jax"}
    print(f"text: {text}")
    out = pathlib.Path(options.out)
    if out.suffix.lower() == ".png":
        columns = [reference[None], *made[:, None]]
        titles = [name, *(f"{i}" for i in range(options.num))]
        scale = max(1, 128 // generator.vqgan.image_size)
        caption = textwrap.fill(text, 34) if len(text) < 400 else ""
        pictures.save_png(pictures.sheet(columns, titles, [caption], scale=scale), out, **about)
        print(out)
        return
    for number, image in enumerate(made):
        path = out / f"{number:04d}.png"
        pictures.save_png(Image.fromarray(image), path, **about, number=number)
    print(f"{out}: {options.num} pictures")


if __name__ == "__main__":
    main()
