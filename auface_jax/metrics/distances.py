"""FID, KID and the Inception score, from features that were computed once.

Every figure comes with the numbers of images that it is of, and with the name of its features: FID
and KID bear no more than their own names only for FID's own InceptionV3 with clean resizing. On
any other features they are `FID(au)`, `KID(au)`, and there is no Inception score.
"""

import dataclasses
import warnings

import numpy as np
import scipy.linalg
import scipy.special
from jaxtyping import Float

from auface_jax.metrics.features import INCEPTION, Features

# FID is biased, the more so the fewer the images; below this the bias is often the larger part.
FEW_IMAGES = 10_000
IS_SPLITS = 10  # of the images, over which the Inception score is the mean


class FewImagesWarning(UserWarning):
    """A figure is of so few images that it compares only with figures of as many."""


@dataclasses.dataclass(frozen=True)
class Score:
    """One figure.

    Attributes:
      metric: "FID", "KID", "IS" or "LPIPS".
      features: name of the features that it was read off.
      value: the figure.
      count: generated images.
      reference_count: real images; None where the figure needs none.
      spread: standard deviation, over KID's subsets, the Inception score's splits, LPIPS' pairs;
        None for FID, and where there is one subset or split and so nothing to tell it from.
    """

    metric: str
    features: str
    value: float
    count: int
    reference_count: int | None = None
    spread: float | None = None

    @property
    def name(self) -> str:
        """ "FID", or "FID(au)" for features named "au"."""
        return self.metric if self.features == INCEPTION else f"{self.metric}({self.features})"

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.4g}"
        real = "" if self.reference_count is None else f", {self.reference_count:,} real"
        return f"{self.name} {self.value:.4g}{spread} (N = {self.count:,}{real})"


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and scatter of features, in float64; sets can be merged without their features.

    Attributes:
      count: images.
      mean: [D].
      scatter: [D, D], the sum of outer products of the deviations from the mean.
    """

    count: int
    mean: Float[np.ndarray, " D"]
    scatter: Float[np.ndarray, "D D"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "N D"]) -> "Moments":
        """Moments of one set of rows; one row is enough."""
        values = np.asarray(values, np.float64)
        mean = values.mean(0)
        deviations = values - mean
        return cls(len(values), mean, deviations.T @ deviations)

    def merged(self, other: "Moments") -> "Moments":
        """Moments of both sets together (Chan et al. 1979)."""
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
        """The unbiased covariance.

        Raises:
          ValueError: there are fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs two images or more, this set has {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float:
    """The squared Fréchet distance between two normal distributions (Dowson & Landau 1982).

    |m - m'|² + tr S + tr S' - 2 tr (S S')^(1/2). With S = F F^T and S' = F' F'^T the last trace is
    the sum of the singular values of F^T F', which needs no square root of a matrix that is not
    symmetric and stays exact when a covariance is singular, as it is below D + 1 images.

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
    """F with F F^T = covariance, of as many columns as its numerical rank."""
    values, vectors = scipy.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def fid(generated: Features, real: Features) -> Score:
    """Fréchet Inception distance (Heusel et al. 2017), on whatever features these are.

    Raises:
      ValueError: the two sets have features of different networks or widths.
    """
    _check_pair(generated, real)
    value = frechet_distance(Moments.of(generated.values), Moments.of(real.values))
    return Score("FID", generated.name, value, generated.count, real.count)


def polynomial_mmd(one: Float[np.ndarray, "M D"], other: Float[np.ndarray, "N D"]) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y / D + 1)³; it can be negative.

    Args:
      one, other: at least two rows each, in float64 where differences matter.
    """

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    def within(x):  # mean over pairs of different rows
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
    """Kernel Inception distance (Bińkowski et al. 2018): mean and deviation over random subsets.

    Sets of one size that is no more than a subset's make one subset: it has no deviation.

    Args:
      subset_size: rows of a subset, at most; never more than the smaller set has.

    Raises:
      ValueError: the two sets have features of different networks or widths.
    """
    _check_pair(generated, real)
    size = min(subset_size, generated.count, real.count)
    if generated.count == real.count == size:
        subsets = 1  # they would all be the whole
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
    """Inception score (Salimans et al. 2016): exp of the mean KL between each image's classes and
    those of its split.

    Args:
      splits: parts that the images are divided into; the score is the mean over them.
      seed: of the order of the images before that; None keeps theirs.

    Raises:
      ValueError: the features are not of the Inception network, or fewer images than splits.
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
    """Their standard deviation; that of a single value would be 0 and tell nothing."""
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
            f"N = {count:,} images; under {FEW_IMAGES:,} such figures are biased, and one compares "
            f"only with others of N = {count:,}",
            FewImagesWarning,
            stacklevel=3,
        )
