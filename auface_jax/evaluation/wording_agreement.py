"""One label row in ten wordings: whether the pictures agree.

The same person and seed are drawn from ten texts that state the same units: of the dictionary, of
paraphrases, and of the corpus' test voices. If a run understands what it reads, its probe reads the
same units in all ten pictures.
"""

import itertools
from pathlib import Path

import numpy as np
from jaxtyping import Int8
from PIL import Image

from auface_jax.data.loading.example_selection import distinct_examples
from auface_jax.data.loading.pipeline import load_split
from auface_jax.facs import AU_NUMBERS
from auface_jax.facs.wording import describe_in
from auface_jax.generation.generator import Generator
from auface_jax.generation.request import Request
from auface_jax.images import sheets
from auface_jax.recognition.probe import load_probe, predict
from auface_jax.runs import checkpoints

# Kinds of `facs.wording` of the ten texts.
KINDS = ("dictionary",) * 2 + ("paraphrase",) * 3 + ("corpus",) * 5
_SHOWN = 6  # label rows of the sheet


def compare_wordings(
    run: str | Path, *, rows: int = 24, seed: int = 0
) -> tuple[dict[str, float], Image.Image, list[list[str]]]:
    """Draws label rows in ten wordings each.

    Args:
      run: folder of a finished Stage II run, whose probe and data set exist.
      rows: number of label rows, each of another test record.
      seed: seed of the pictures.

    Returns:
      Figures: `agreement`, the mean pairwise F1 of the units read in the ten pictures of a row, and
      `f1`, that of the units read and the units asked, both over all units at once; a sheet of a
      few rows; and the texts of each row.

    Raises:
      checkpoints.CheckpointError: the run or its probe is not finished.
    """
    run = Path(run)
    generator = Generator.from_run(run)
    probe, weights, config = load_probe(checkpoints.required_run(run, "au_probe"))
    test = load_split(generator.config.data.dir, "test", None, (1,), limit=10 * rows)
    chosen = distinct_examples(test, rows)
    labels = np.maximum(test["labels"][chosen], 0)
    texts = [
        [
            describe_in(kind, row, np.random.default_rng((seed, n)), split="test").text
            for n, kind in enumerate(KINDS)
        ]
        for row in labels
    ]
    references = np.repeat(test["reference"][chosen], len(KINDS), axis=0)
    told = list(itertools.chain.from_iterable(texts))
    requests = [Request(r, text, seed) for r, text in zip(references, told, strict=True)]
    drawn = generator.generate(requests)
    read = predict(probe, weights, drawn, references, batch_size=config.batch_size)
    read = read.reshape(len(chosen), len(KINDS), -1)
    pairs = list(itertools.combinations(range(len(KINDS)), 2))
    figures = {
        "agreement": f1(
            np.concatenate([read[:, a] for a, _ in pairs]),
            np.concatenate([read[:, b] for _, b in pairs]),
        ),
        "f1": f1(read, np.broadcast_to(labels[:, None], read.shape)),
        "label_rows": len(chosen),
    }
    figures |= {
        f"f1_{kind}": f1(read[:, places], np.broadcast_to(labels[:, None], read[:, places].shape))
        for kind in dict.fromkeys(KINDS)
        if (places := [n for n, other in enumerate(KINDS) if other == kind])
    }
    pictures = drawn.reshape(len(chosen), len(KINDS), *drawn.shape[1:])[:_SHOWN]
    columns = [test["reference"][chosen][:_SHOWN], *np.moveaxis(pictures, 1, 0)]
    titles = ["reference", *KINDS]
    names = ["+".join(map(str, _units(row))) for row in labels[:_SHOWN]]
    scale = max(1, 128 // generator.vqgan.image_size)
    return figures, sheets.sheet(columns, titles, names, scale=scale), texts


def f1(one: Int8[np.ndarray, "..."], other: Int8[np.ndarray, "..."]) -> float:
    """Computes the F1 of two readings, over all units at once; it is symmetric."""
    both = (one & other).sum()
    return float(2 * both / max(one.sum() + other.sum(), 1))


def _units(labels: Int8[np.ndarray, "A"]) -> list[int]:
    """Returns the FACS numbers of a label vector."""
    return [unit for unit, present in zip(AU_NUMBERS, labels, strict=True) if present]
