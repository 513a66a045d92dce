"""AAAD: how well a picture's units agree with its text's (paper, AAAD), and what to hold it beside.

A picture is twelve probabilities P_i, a text twelve probabilities P_t; C is the cosine of a pair.

    AAAD = (C̄ - C_min) / (C_max - C_min)

- C̄ is the mean of C over the pairs of the system that is judged.
- C_max is the largest C among *ground-truth* pairs: real pictures with their own texts.
- C_min is the smallest C among the same pairs completely shuffled, no text left in its place.

C_min being the smallest, shuffled texts do not score 0, and one mean vector for every picture may
score above many systems: `floors` gives what such answers get, for every table to print.
`AAAD-chance`, this project's own, takes mean shuffled and mean ground-truth cosines in their place
and is 0 for shuffled texts on average.

A text without any unit (all labels 0) has no direction and no place in the measure: its pair is
left out and counted. A picture without any probability agrees with no text: its cosine is 0.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from auface_jax.facs import AU_NUMBERS

DERANGEMENTS = 10  # over which the spread of C_min is stated
_SMALL = 1e-8  # a shorter vector of probabilities counts as zero


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What cosines are held against: ground-truth pairs, in place and shuffled.

    Attributes:
      c_max: the largest cosine of a pair.
      c_min: the smallest cosine of a shuffled pair.
      mean_truth: the mean cosine of the pairs.
      mean_shuffled: the mean over all pairs that are not in place, which is what a derangement's
        mean comes to on average.
      c_min_low, c_min_high: range of c_min over `DERANGEMENTS` seeded derangements.
      pairs: number of pairs.
      left_out: pairs left out because their text has no unit.
      seed: of the derangement that gave c_min; the others' follow it.
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
      aaad: the score; 1 is the best ground-truth pair, and it can be negative.
      aaad_low, aaad_high: its 95 % bootstrap interval over pairs, C_min and C_max held fixed.
      chance: AAAD-chance.
      mean_cosine: C̄.
      cosines: C of each pair; NaN for those left out.
      contributions: of each unit to C̄; they sum to it.
      pairs: number of pairs scored.
      left_out: pairs left out because their text has no unit.
      blank: pictures that were given no probability at all; their cosine is 0.
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
    """C of each pair, float64 in [0, 1]; NaN where the text is the zero vector, 0 where only the
    picture is.

    Raises:
      ValueError: not two arrays [M, 12] of finite values in [0, 1]; names what is wrong.
    """
    return _products(image, text).sum(1)


def calibrate(
    image: Float[np.ndarray, "M A"], text: Float[np.ndarray, "M A"], *, seed: int = 0
) -> Calibration:
    """C_max, C_min and the means of ground-truth pairs: real pictures with their own texts.

    Raises:
      ValueError: as for `cosines`; fewer than two texts with a unit; or pairs that all agree alike,
        for which the score has no scale.
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
            "with every picture alike (one label row in all the data?), so AAAD has no scale"
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
    """AAAD of pictures with the texts that they were made for.

    Args:
      image: P_i of each picture, in [0, 1].
      text: P_t of its text, or its labels, in [0, 1].
      calibration: of ground-truth pairs, from `calibrate`, with the same readers.
      resamples: bootstrap draws of the interval.
      seed: of these draws.

    Raises:
      ValueError: as for `cosines`; or no text with a unit.
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
    """What answers get that owe nothing to the text: to be printed in every table.

    Args:
      real: P_i of the real pictures of the test pairs.
      text: P_t of their texts.
      calibration: as for `aaad`.
      reference: P_i of each pair's reference face; None leaves that floor out.
      seed: of the shuffled texts.

    Returns:
      "shuffled texts": real pictures, texts deranged; "mean vector": the mean P_i for every text;
      "reference unchanged": the reference face passed off as the result.
    """
    kept_real, kept_text, _ = _with_units(real, text)
    order = derangement(len(kept_text), seed + DERANGEMENTS)  # none that C_min was taken from
    answers = {
        "shuffled texts": (kept_real, kept_text[order]),
        "mean vector": (np.broadcast_to(kept_real.mean(0), kept_real.shape), kept_text),
    }
    if reference is not None:
        answers["reference unchanged"] = (reference, text)
    return {name: aaad(*pair, calibration, seed=seed) for name, pair in answers.items()}


def derangement(count: int, seed: int) -> Int[np.ndarray, " M"]:
    """A seeded permutation that leaves nothing in its place, each of them equally likely.

    Raises:
      ValueError: `count` is below 2, where there is none.
    """
    if count < 2:
        raise ValueError(f"{count} pair(s) cannot be shuffled so that none stays; give two or more")
    rng = np.random.default_rng(seed)
    while True:  # more than one permutation in three is one
        order = rng.permutation(count)
        if (order != np.arange(count)).all():
            return order


def summary(agreements: Mapping[str, Agreement]) -> str:
    """A Markdown table: a row a system or floor."""
    lines = [
        "| answers | pairs | C̄ | AAAD | 95 % | AAAD-chance |",
        "|---|---|---|---|---|---|",
    ]
    for name, a in agreements.items():
        lines.append(
            f"| {name} | {a.pairs} | {a.mean_cosine:.3f} | {a.aaad:.3f} | "
            f"{a.aaad_low:.3f} – {a.aaad_high:.3f} | {a.chance:.3f} |"
        )
    return "\n".join(lines)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; the zero vector stays what it is."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length < _SMALL, 0.0, vectors / np.maximum(length, _SMALL))


def _products(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Each unit's share of each pair's cosine [M, A]; NaN in rows whose text has no unit."""
    image, text = _checked(image, text)
    products = _directions(image) * _directions(text)
    products[np.linalg.norm(text, axis=1) < _SMALL] = np.nan
    return products


def _with_units(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The pairs whose text has a unit, and the number of the others."""
    image, text = _checked(image, text)
    kept = np.linalg.norm(text, axis=1) >= _SMALL
    return image[kept], text[kept], int((~kept).sum())


def _checked(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image, text = np.asarray(image, np.float64), np.asarray(text, np.float64)
    faults = []
    if image.shape != text.shape or image.ndim != 2 or image.shape[1] != len(AU_NUMBERS):
        faults.append(
            f"pictures have shape {image.shape} and texts {text.shape}; expected [M, "
            f"{len(AU_NUMBERS)}] of both, row by row"
        )
    for name, values in (("picture", image), ("text", text)):
        wrong = np.argwhere(~((values >= 0) & (values <= 1)))
        if len(wrong):
            place = tuple(wrong[0].tolist())
            faults.append(
                f"{len(wrong)} {name} value(s) are no probabilities in [0, 1], the first "
                f"{values[place]} at {list(place)} (labels of units that are not coded, -1? set "
                "them to 0, or leave those rows out)"
            )
    if faults:
        raise ValueError("AAAD: " + "; ".join(faults))
    return image, text
