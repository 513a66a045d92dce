"""FID, KID and the Inception score, from features that were computed once.

Every score states the numbers of its images and the name of its features. Only on features of FID's
own InceptionV3 with clean resizing is it called plain FID or KID. On other features, such as "au",
it is called FID(au) or KID(au), and there is no Inception score.
"""

import dataclasses
import warnings

import numpy as np
import scipy.linalg
import scipy.special
from jaxtyping import Float

from auface_jax.metrics.features import INCEPTION, Features

# The bias of FID grows as images get fewer; below this number it is often the larger part of FID.
FEW_IMAGES = 10_000
IS_SPLITS = 10  # parts of the images; the Inception score is the mean over them


class FewImagesWarning(UserWarning):
    """A score has so few images that it compares only with scores of equally many."""


@dataclasses.dataclass(frozen=True)
class Score:
    """One score.

    Attributes:
      metric: "FID", "KID", "IS" or "LPIPS".
      features: name of the features that it was computed on.
      value: the score itself.
      count: number of generated images.
      reference_count: number of real images; None if the metric needs none.
      spread: standard deviation over KID's subsets, the Inception score's splits or LPIPS' pairs;
        None for FID, and for a single subset or split.
    """

    metric: str
    features: str
    value: float
    count: int
    reference_count: int | None = None
    spread: float | None = None

    @property
    def name(self) -> str:
        """Name in tables: "FID", or "FID(au)" for features named "au"."""
        return self.metric if self.features == INCEPTION else f"{self.metric}({self.features})"

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.4g}"
        real = "" if self.reference_count is None else f", {self.reference_count:,} real"
        return f"{self.name} {self.value:.4g}{spread} (N = {self.count:,}{real})"


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and scatter of features in float64, which can be merged without the features.

    Attributes:
      count: number of images.
      mean: mean of their features.
      scatter: sum of outer products of the deviations from the mean.
    """

    count: int
    mean: Float[np.ndarray, " D"]
    scatter: Float[np.ndarray, "D D"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "N D"]) -> "Moments":
        """Computes the moments of one or more images' features."""
        values = np.asarray(values, np.float64)
        mean = values.mean(0)
        deviations = values - mean
        return cls(len(values), mean, deviations.T @ deviations)

    def merged(self, other: "Moments") -> "Moments":
        """Computes the moments of both sets together (Chan et al. 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        return Moments(
            count,
            self.mean + step * (other.count / count),
            self.scatter
            + other.scatter
            + np.outer(step, step) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> Float[np.ndarray, "D D"]:
        """Unbiased covariance.

        Raises:
          ValueError: there are fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs two images or more, this set has {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float:
    """Computes the squared Fréchet distance of two normal distributions (Dowson & Landau 1982).

    The distance is |m - m'|² + tr S + tr S' - 2 tr (S S')^(1/2). With S = F F^T and S' = F' F'^T
    the last trace is the sum of the singular values of F^T F'. This form needs no square root of an
    asymmetric matrix and stays exact for singular covariances, which fewer than D + 1 images have.

    Raises:
      ValueError: the features have different widths, or a set has fewer than two images.
    """
    if one.mean.shape != other.mean.shape:
        raise ValueError(f"features have different widths: {one.mean.size} and {other.mean.size}")
    factors = [_factor(moments.covariance) for moments in (one, other)]
    cross = factors[0].T @ factors[1]
    overlap = scipy.linalg.svdvals(cross).sum() if cross.size else 0.0
    spread = sum(np.square(factor).sum() for factor in factors)
    return float(np.square(one.mean - other.mean).sum() + spread - 2.0 * overlap)


def _factor(covariance: Float[np.ndarray, "D D"]) -> Float[np.ndarray, "D R"]:
    """Returns F with F F^T = covariance; it has as many columns as the covariance's rank."""
    values, vectors = scipy.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def fid(generated: Features, real: Features) -> Score:
    """Computes the Fréchet Inception distance (Heusel et al. 2017) on any features.

    Raises:
      ValueError: the two sets have features of different networks or widths.
    """
    _check_pair(generated, real)
    value = frechet_distance(Moments.of(generated.values), Moments.of(real.values))
    return Score("FID", generated.name, value, generated.count, real.count)


def polynomial_mmd(one: Float[np.ndarray, "M D"], other: Float[np.ndarray, "N D"]) -> float:
    """Computes the unbiased squared maximum mean discrepancy with the kernel (x·y / D + 1)³.

    Args:
      one: features of at least two images, in float64 for an exact result.
      other: features of at least two other images.

    Returns:
      The estimate, which can be negative.
    """

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    def within(x: np.ndarray) -> float:  # mean over pairs of different images
        k = kernel(x, x)
        return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    return float(within(one) + within(other) - 2.0 * kernel(one, other).mean())


def kid(
    generated: Features,
    real: Features,
    *,
    subsets: int = 100,
    subset_size: int = 1_000,
    seed: int = 0,
) -> Score:
    """Computes the Kernel Inception distance (Bińkowski et al. 2018) over random subsets.

    Two sets of equal size that fit in a subset make one subset, without a deviation.

    Args:
      generated: features of generated images.
      real: features of real images.
      subsets: number of subsets; the score is the mean over them.
      subset_size: largest number of images in a subset.
      seed: seed of the subsets.

    Raises:
      ValueError: the two sets have features of different networks or widths.
    """
    _check_pair(generated, real)
    size = min(subset_size, generated.count, real.count)
    if generated.count == real.count == size:
        subsets = 1  # every subset would be the whole set
    rng, values = np.random.default_rng(seed), []
    for _ in range(subsets):
        drawn = (
            side.values[rng.choice(side.count, size, replace=False)].astype(np.float64)
            for side in (generated, real)
        )
        values.append(polynomial_mmd(*drawn))
    return Score(
        "KID",
        generated.name,
        float(np.mean(values)),
        generated.count,
        real.count,
        _spread(values),
    )


def inception_score(generated: Features, *, splits: int = IS_SPLITS, seed: int | None = 0) -> Score:
    """Computes the Inception score (Salimans et al. 2016).

    The score of a split is exp of the mean KL divergence between each image's classes and the mean
    classes of the split.

    Args:
      generated: features of generated images, with logits.
      splits: number of splits; the score is the mean over them.
      seed: seed of the order of the images; None keeps their order.

    Raises:
      ValueError: the features have no logits, or there are fewer images than splits.
    """
    if generated.logits is None:
        raise ValueError(
            f"the features {generated.name!r} have no classes: an Inception score needs the "
            "Inception network's weights, and no other features give one"
        )
    if generated.count < splits:
        raise ValueError(f"{generated.count} images do not make {splits} splits")
    _warn_of_few(generated.count)
    logits = np.asarray(generated.logits, np.float64)
    if seed is not None:
        logits = logits[np.random.default_rng(seed).permutation(len(logits))]
    bounds = np.arange(splits + 1) * len(logits) // splits
    scores = []
    for start, stop in zip(bounds, bounds[1:], strict=False):
        log_p = scipy.special.log_softmax(logits[start:stop], axis=1)
        log_mean = scipy.special.logsumexp(log_p, axis=0) - np.log(len(log_p))
        divergence = (np.exp(log_p) * (log_p - log_mean)).sum(1)
        scores.append(np.exp(divergence.mean()))
    return Score(
        "IS", generated.name, float(np.mean(scores)), generated.count, None, _spread(scores)
    )


def _spread(values: list[float]) -> float | None:
    """Returns the standard deviation, or None for a single value, which has no spread."""
    return float(np.std(values)) if len(values) > 1 else None


def _check_pair(generated: Features, real: Features) -> None:
    if generated.name != real.name:
        raise ValueError(
            f"generated images have the features {generated.name!r}, real ones {real.name!r}; only "
            "features of one network compare"
        )
    if generated.values.shape[1] != real.values.shape[1]:
        raise ValueError(
            f"features have different widths: {generated.values.shape[1]} and "
            f"{real.values.shape[1]}"
        )
    _warn_of_few(min(generated.count, real.count))


def _warn_of_few(count: int) -> None:
    if count < FEW_IMAGES:
        warnings.warn(
            f"N = {count:,} images; under {FEW_IMAGES:,} such scores are biased, and compare only "
            f"with others of N = {count:,}",
            FewImagesWarning,
            stacklevel=3,
        )
