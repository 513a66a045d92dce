"""Plots the fall of AAAD as images show less and less of the units in their texts.

    python -m benchmarks.degradation --out docs/pictures/aaad_degradation.png

AU combinations are sampled at the rates of the open faces, which follow BP4D's. A growing share of
the units that each "picture" shows is taken from another combination, until it shows that one
alone. No image is generated and no network runs: the plot shows the metric itself, once on labels
and once on the probabilities of readers that are uncertain and sometimes wrong.

With --data, --image-run and --text-run, a third panel shows real pictures of that data set's test
people with texts of a shrinking share of their labels, both read by trained recognisers.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int8, UInt8
from matplotlib.figure import Figure

from auface_jax.data.record import decode_image
from auface_jax.data.shards import ShardReader, read_info
from auface_jax.faces.sampler import PRESENT, sample_intensities
from auface_jax.facs import AU_NUMBERS, describe
from auface_jax.metrics.aaad import (
    Agreement,
    Calibration,
    aaad,
    calibrate,
    derangement,
    floors,
    summary,
)
from auface_jax.recognition.image_recognizer import Recognizer, load_recognizer
from auface_jax.recognition.text_reader import TextReader, load_text_reader

SHARES = np.linspace(0.0, 1.0, 11)


def sample_labels(count: int, seed: int) -> Int8[np.ndarray, "M A"]:
    """Samples AU combinations at the open faces' rates and co-occurrence."""
    rng = np.random.default_rng(seed)
    return np.stack([sample_intensities(rng) >= PRESENT for _ in range(count)]).astype(np.int8)


def degrade(labels: Int8[np.ndarray, "M A"], share: float, seed: int) -> Int8[np.ndarray, "M A"]:
    """Takes a share of each label vector from another one of the set.

    A larger share replaces all units that a smaller one replaces. With a share of 1 each vector is
    another one of the set, and none is its own.
    """
    rng = np.random.default_rng(seed)
    taken = rng.random(labels.shape) < share
    return np.where(taken, labels[derangement(len(labels), seed)], labels)


def unsure(
    labels: Int8[np.ndarray, "M A"], seed: int, *, separation: float = 1.5, spread: float = 1.0
) -> Float[np.ndarray, "M A"]:
    """Samples probabilities as an uncertain reader of these labels might give them.

    Logits are normal around plus or minus `separation`. With the defaults one probability in 15
    lies on the wrong side of 0.5.
    """
    rng = np.random.default_rng(seed)
    logits = separation * (2.0 * labels - 1.0) + spread * rng.standard_normal(labels.shape)
    return 1.0 / (1.0 + np.exp(-logits))


@dataclasses.dataclass(frozen=True, eq=False)
class Fall:
    """Fall of AAAD for one kind of reader, as images show fewer of the units.

    Attributes:
      calibration: calibration on the undegraded pairs.
      agreements: agreement at each of `SHARES`.
      floors: agreements of answers that ignore the text.
    """

    calibration: Calibration
    agreements: tuple[Agreement, ...]
    floors: dict[str, Agreement]

    @property
    def table(self) -> str:
        """Formats calibration and agreements as Markdown."""
        c = self.calibration
        rows = {
            f"{share:.0%} of the units": agreement
            for share, agreement in zip(SHARES, self.agreements, strict=True)
        }
        return (
            f"C_max {c.c_max:.3f}, C_min {c.c_min:.3f} ({c.c_min_low:.3f} to {c.c_min_high:.3f} "
            f"over ten derangements), mean {c.mean_truth:.3f}, shuffled {c.mean_shuffled:.3f}, "
            f"{c.pairs} pairs\n\n" + summary(rows | self.floors)
        )


def fall(labels: Int8[np.ndarray, "M A"], *, noisy: bool, seed: int = 0) -> Fall:
    """Computes the agreement at each of `SHARES`.

    Args:
      labels: labels of the texts.
      noisy: whether `unsure` readers read texts and images; otherwise both sides are labels.
      seed: seed of all samples.
    """
    text = unsure(labels, seed + 1) if noisy else labels
    # The noise of the reader is the same for all shares, which change only the units shown.
    shown = [degrade(labels, share, seed) for share in SHARES]
    image = [unsure(vectors, seed + 2) if noisy else vectors for vectors in shown]
    return _fall(image, [text] * len(SHARES), seed)


def fall_of_readings(
    images: UInt8[np.ndarray, "M S S 3"],
    labels: Int8[np.ndarray, "M A"],
    recognizer: Recognizer,
    reader: TextReader,
    *,
    seed: int = 0,
) -> Fall:
    """Computes the agreement of real images with texts of degraded labels, at each of `SHARES`.

    Args:
      images: real faces.
      labels: their labels.
      recognizer: recogniser of the faces.
      reader: reader of the texts.
      seed: seed of all samples.
    """
    rng = np.random.default_rng(seed)
    text = [
        reader.probabilities([describe(vector, rng) for vector in degrade(labels, share, seed)])
        for share in SHARES
    ]
    return _fall([recognizer(images)] * len(SHARES), text, seed)


def _fall(image: Sequence[np.ndarray], text: Sequence[np.ndarray], seed: int) -> Fall:
    calibration = calibrate(image[0], text[0], seed=seed)
    return Fall(
        calibration=calibration,
        agreements=tuple(
            aaad(*pair, calibration, seed=seed) for pair in zip(image, text, strict=True)
        ),
        floors=floors(image[0], text[0], calibration, seed=seed),
    )


def plot(falls: dict[str, Fall], path: Path) -> None:
    """Writes a PNG with a panel for each fall: both scores, and AAAD's floors."""
    figure = Figure(figsize=(4.5 * len(falls), 3.8), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(falls), sharex=True, sharey=True, squeeze=False)[0]
    for panel, (title, found) in zip(panels, falls.items(), strict=True):
        low, high = ([getattr(a, f"aaad_{end}") for a in found.agreements] for end in _ENDS)
        panel.fill_between(SHARES, low, high, color="tab:blue", alpha=0.25, linewidth=0)
        for name, field, colour, marker in (
            ("AAAD", "aaad", "tab:blue", "o"),
            ("AAAD-chance", "chance", "tab:orange", "s"),
        ):
            scores = [getattr(agreement, field) for agreement in found.agreements]
            panel.plot(SHARES, scores, color=colour, marker=marker, markersize=4, label=name)
        for (name, answer), style in zip(found.floors.items(), ("--", ":"), strict=True):
            panel.axhline(answer.aaad, color="0.35", linestyle=style, label=f"AAAD, {name}")
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("share of the units taken from another combination")
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("score")
    panels[0].set_ylim(-0.05, 1.05)
    panels[0].legend(loc="lower left", fontsize=8)
    figure.savefig(path)


_ENDS = ("low", "high")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.degradation",
        description="Plots how AAAD falls when pictures show less of what their texts ask for.",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the PNG to write")
    parser.add_argument(
        "--rows", type=int, default=2_000, help="number of AU combinations (default 2000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (default 0)")
    parser.add_argument("--data", metavar="FOLDER", help="a data set for a third panel")
    parser.add_argument("--image-run", metavar="RUN", help="a finished run of au_image")
    parser.add_argument("--text-run", metavar="RUN", help="a finished run of au_text")
    options = parser.parse_args(arguments)
    outside = (options.data, options.image_run, options.text_run)
    if any(outside) and not all(outside):
        parser.error("--data, --image-run and --text-run: give all three or none")
    if options.rows < 2 or options.seed < 0:
        parser.error(f"--rows {options.rows} --seed {options.seed}: expected 2 or more, 0 or more")
    try:
        Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {options.out}: {error}")
    labels = sample_labels(options.rows, options.seed)
    rates = ", ".join(f"AU{n} {r:.2f}" for n, r in zip(AU_NUMBERS, labels.mean(0), strict=True))
    print(f"{options.rows} AU combinations; rates {rates}")
    falls = {
        "labels themselves": fall(labels, noisy=False, seed=options.seed),
        "unsure readers of both sides": fall(labels, noisy=True, seed=options.seed),
    }
    if options.data:
        try:
            recognizer = load_recognizer(options.image_run)
            reader = load_text_reader(Path(options.text_run))
            size = read_info(options.data)["size"]
            records = [r for r in ShardReader(options.data, "test") if (r.labels == 1).any()]
        except (ValueError, OSError) as error:
            parser.error(str(error))
        falls["real pictures and texts, read by networks"] = fall_of_readings(
            np.stack([decode_image(record, size) for record in records]),
            np.stack([np.maximum(record.labels, 0) for record in records]),
            recognizer,
            reader,
            seed=options.seed,
        )
    for title, found in falls.items():
        print(f"\n{title}: {found.table}")
    plot(falls, Path(options.out))
    print(f"\n{options.out}")


if __name__ == "__main__":
    main()
