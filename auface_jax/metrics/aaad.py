"""AAAD: the agreement of a picture's units with its text's units (paper, AAAD), and its floors.

A picture has twelve probabilities P_i, a text has twelve probabilities P_t, and C is the cosine of
such a pair.

    AAAD = (C̄ - C_min) / (C_max - C_min)

- C̄ is the mean of C over the pairs of the system that is scored.
- C_max is the largest C among ground-truth pairs: real pictures with their own texts.
- C_min is the smallest C among the same pairs after a derangement of the texts.

C_min is a minimum, so that shuffled texts do not score 0, and one mean vector for every picture may
score higher than many systems. `floors` computes the scores of such answers, which every table
prints. `AAAD-chance`, this project's own, uses the mean cosines of shuffled and of ground-truth
pairs in place of C_min and C_max; shuffled texts score 0 on average.

A text without any unit (all labels 0) has no direction: its pair is left out and counted. A picture
without any probability agrees with no text: its cosine is 0.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from auface_jax.facs import AU_NUMBERS
from auface_jax.runs.markdown import table

DERANGEMENTS = 10  # number of derangements that give the range of C_min
_SMALL = 1e-8  # length below which a vector of probabilities counts as zero


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Cosines of ground-truth pairs, in place and shuffled, which scale AAAD.

    Attributes:
      c_max: largest cosine of a pair.
      c_min: smallest cosine of a shuffled pair.
      mean_truth: mean cosine of the pairs.
      mean_shuffled: mean cosine of all pairs of a picture and another picture's text, which is the
        expected mean of a derangement.
      c_min_low: smallest c_min over `DERANGEMENTS` seeded derangements.
      c_min_high: largest c_min over these derangements.
      pairs: number of pairs.
      left_out: number of pairs that were left out because their text has no unit.
      seed: seed of the derangement that gave c_min; the seeds of the others follow it.
    """

    c_max: float
    c_min: float
    mean_truth: float
    mean_shuffled: float
    c_min_low: float
    c_min_high: float
    pairs: int
    left_out: int
    seed: int


@dataclasses.dataclass(frozen=True, eq=False)
class Agreement:
    """AAAD of a system.

    Attributes:
      aaad: the score; the best ground-truth pair would score 1, and a score can be negative.
      aaad_low: lower end of the 95 % bootstrap interval over pairs, with C_min and C_max fixed.
      aaad_high: upper end of this interval.
      chance: AAAD-chance.
      mean_cosine: C̄.
      cosines: C of each pair; NaN for pairs that were left out.
      contributions: contribution of each unit to C̄; they sum to C̄.
      pairs: number of pairs that were scored.
      left_out: number of pairs that were left out because their text has no unit.
      blank: number of pictures whose probabilities are all zero; their cosine is 0.
    """

    aaad: float
    aaad_low: float
    aaad_high: float
    chance: float
    mean_cosine: float
    cosines: Float[np.ndarray, " M"]
    contributions: Float[np.ndarray, " A"]
    pairs: int
    left_out: int
    blank: int


def cosines(
    image: Float[np.ndarray, "M A"], text: Float[np.ndarray, "M A"]
) -> Float[np.ndarray, " M"]:
    """Computes C of each pair.

    Returns:
      float64 cosines in [0, 1]; NaN where the text is the zero vector, 0 where only the picture is.

    Raises:
      ValueError: the arguments are not two arrays [M, 12] of probabilities; the message names the
        values.
    """
    return _products(image, text).sum(1)


def calibrate(
    image: Float[np.ndarray, "M A"], text: Float[np.ndarray, "M A"], *, seed: int = 0
) -> Calibration:
    """Computes C_max, C_min and the means of ground-truth pairs.

    Args:
      image: probabilities of real pictures.
      text: probabilities or labels of their own texts.
      seed: seed of the derangements.

    Raises:
      ValueError: see `cosines`; or fewer than two texts have a unit; or all pairs agree equally, so
        that the score has no scale.
    """
    image, text, left_out = _with_units(image, text)
    if len(text) < 2:
        raise ValueError(
            f"{len(text)} pair(s) whose text has a unit, and {left_out} without; AAAD shuffles "
            "pairs and needs two or more"
        )
    u, v = _directions(image), _directions(text)
    truth = (u * v).sum(1)
    lowest = [
        float((u * v[derangement(len(v), seed + number)]).sum(1).min())
        for number in range(DERANGEMENTS)
    ]
    everywhere = u.sum(0) @ v.sum(0)  # the sum over all pairs of a picture and a text
    result = Calibration(
        c_max=float(truth.max()),
        c_min=lowest[0],
        mean_truth=float(truth.mean()),
        mean_shuffled=float((everywhere - truth.sum()) / (len(v) * (len(v) - 1))),
        c_min_low=min(lowest),
        c_min_high=max(lowest),
        pairs=len(v),
        left_out=left_out,
        seed=seed,
    )
    if result.c_max - result.c_min < _SMALL:
        raise ValueError(
            f"C_max {result.c_max:.6g} is not above C_min {result.c_min:.6g}: every text agrees "
            "equally with every picture (one AU combination in all the data?), so AAAD has no scale"
        )
    return result


def aaad(
    image: Float[np.ndarray, "M A"],
    text: Float[np.ndarray, "M A"],
    calibration: Calibration,
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Agreement:
    """Computes AAAD of pictures with the texts that they were made for.

    Args:
      image: P_i of each picture, in [0, 1].
      text: P_t of its text, or its labels, in [0, 1].
      calibration: calibration on ground-truth pairs with the same readers, from `calibrate`.
      resamples: number of bootstrap samples of the interval.
      seed: seed of these samples.

    Raises:
      ValueError: see `cosines`; or no text has a unit.
    """
    products = _products(image, text)
    cosine = products.sum(1)
    scored = np.isfinite(cosine)
    if not scored.any():
        raise ValueError(f"none of the {len(cosine)} texts has a unit; there is nothing to score")
    kept = cosine[scored]
    rng = np.random.default_rng(seed)
    means = [rng.choice(kept, len(kept)).mean() for _ in range(resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    c, span = calibration, calibration.c_max - calibration.c_min
    chance_span = c.mean_truth - c.mean_shuffled
    chance = (kept.mean() - c.mean_shuffled) / chance_span if chance_span else float("nan")
    return Agreement(
        aaad=float((kept.mean() - c.c_min) / span),
        aaad_low=float((low - c.c_min) / span),
        aaad_high=float((high - c.c_min) / span),
        chance=float(chance),
        mean_cosine=float(kept.mean()),
        cosines=cosine,
        contributions=products[scored].mean(0),
        pairs=len(kept),
        left_out=int((~scored).sum()),
        blank=int((np.linalg.norm(np.asarray(image)[scored], axis=1) < _SMALL).sum()),
    )


def floors(
    real: Float[np.ndarray, "M A"],
    text: Float[np.ndarray, "M A"],
    calibration: Calibration,
    *,
    reference: Float[np.ndarray, "M A"] | None = None,
    seed: int = 0,
) -> dict[str, Agreement]:
    """Computes the scores of answers that ignore the text, which every table prints.

    Args:
      real: P_i of the real pictures of the test pairs.
      text: P_t of their texts.
      calibration: calibration, see `aaad`.
      reference: P_i of each pair's reference face; None leaves this floor out.
      seed: seed of the shuffled texts.

    Returns:
      "shuffled texts": real pictures with deranged texts; "mean vector": the mean P_i for every
      text; "reference unchanged": the reference face in place of a picture.
    """
    kept_real, kept_text, _ = _with_units(real, text)
    order = derangement(len(kept_text), seed + DERANGEMENTS)  # none of those of C_min
    answers = {
        "shuffled texts": (kept_real, kept_text[order]),
        "mean vector": (np.broadcast_to(kept_real.mean(0), kept_real.shape), kept_text),
    }
    if reference is not None:
        answers["reference unchanged"] = (reference, text)
    return {name: aaad(*pair, calibration, seed=seed) for name, pair in answers.items()}


def derangement(count: int, seed: int) -> Int[np.ndarray, " M"]:
    """Draws a permutation that leaves no element in its place, uniformly among all of them.

    Args:
      count: number of elements.
      seed: seed of the draw.

    Raises:
      ValueError: `count` is below 2, so that no such permutation exists.
    """
    if count < 2:
        raise ValueError(
            f"{count} pair(s) cannot be shuffled so that none stays in place; give two or more"
        )
    rng = np.random.default_rng(seed)
    while True:  # more than a third of all permutations are derangements
        order = rng.permutation(count)
        if (order != np.arange(count)).all():
            return order


def summary(agreements: Mapping[str, Agreement]) -> str:
    """Formats a Markdown table with one row for each system or floor."""
    rows = []
    for name, a in agreements.items():
        interval = f"{a.aaad_low:.3f} – {a.aaad_high:.3f}"
        figures = [f"{value:.3f}" for value in (a.mean_cosine, a.aaad, a.chance)]
        rows.append([name, a.pairs, *figures[:2], interval, figures[2]])
    return table(["answers", "pairs", "C̄", "AAAD", "95 %", "AAAD-chance"], rows)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors to length 1; the zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length < _SMALL, 0.0, vectors / np.maximum(length, _SMALL))


def _products(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Computes each unit's part of each pair's cosine; NaN for texts without a unit."""
    image, text = _checked(image, text)
    products = _directions(image) * _directions(text)
    products[np.linalg.norm(text, axis=1) < _SMALL] = np.nan
    return products


def _with_units(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns the pairs whose text has a unit, and the number of the others."""
    image, text = _checked(image, text)
    kept = np.linalg.norm(text, axis=1) >= _SMALL
    return image[kept], text[kept], int((~kept).sum())


def _checked(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image, text = np.asarray(image, np.float64), np.asarray(text, np.float64)
    faults = []
    if image.shape != text.shape or image.ndim != 2 or image.shape[1] != len(AU_NUMBERS):
        faults.append(
            f"pictures have shape {image.shape} and texts {text.shape}; expected [M, "
            f"{len(AU_NUMBERS)}] of both"
        )
    for name, values in (("picture", image), ("text", text)):
        wrong = np.argwhere(~((values >= 0) & (values <= 1)))
        if len(wrong):
            index = tuple(wrong[0].tolist())
            faults.append(
                f"{len(wrong)} {name} value(s) are no probabilities in [0, 1], the first "
                f"{values[index]} at {list(index)} (labels of units that are not coded, -1? set "
                "them to 0, or leave those examples out)"
            )
    if faults:
        raise ValueError("AAAD: " + "; ".join(faults))
    return image, text
