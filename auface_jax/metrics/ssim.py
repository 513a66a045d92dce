"""SSIM (Wang et al. 2004): structural similarity of two pictures."""

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

# As in the original: a Gaussian window of 11 x 11 pixels, and constants relative to the range.
_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(
    image: UInt8[np.ndarray, "B H W 3"], other: UInt8[np.ndarray, "B H W 3"]
) -> Float[np.ndarray, " B"]:
    """Computes the SSIM of each pair of pictures; 1 for equal ones.

    The result is the mean over channels and over all windows that lie inside the picture.

    Raises:
      ValueError: the shapes differ, or the pictures are smaller than the window.
    """
    window = 2 * _RADIUS + 1
    if image.shape != other.shape or min(image.shape[1:3]) < window:
        raise ValueError(
            f"SSIM compares pictures of one size of at least {window} x {window} pixels, got "
            f"{list(image.shape)} and {list(other.shape)}"
        )
    x, y = image.astype(np.float64), other.astype(np.float64)

    def mean(values: Float[np.ndarray, "B H W 3"]) -> Float[np.ndarray, "B h w 3"]:
        smooth = gaussian_filter(values, _SIGMA, radius=_RADIUS, axes=(1, 2))
        return smooth[:, _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return (likeness / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))).mean((1, 2, 3))
