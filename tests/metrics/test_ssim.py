"""SSIM by its formula."""

import numpy as np
import pytest

from auface_jax.metrics.ssim import ssim
from tests.helpers import tiny


def plain_ssim(x, y):
    """Computes SSIM (Wang et al. 2004) window by window."""
    offset = np.arange(-5, 6)
    weights = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2, values = 6.5025, 58.5225, []
    for channel in range(3):
        for top in range(x.shape[0] - 10):
            for left in range(x.shape[1] - 10):
                a, b = (
                    image[top : top + 11, left : left + 11, channel].astype(float)
                    for image in (x, y)
                )
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a = (weights * (a - mean_a) ** 2).sum()
                var_b = (weights * (b - mean_b) ** 2).sum()
                cov = (weights * (a - mean_a) * (b - mean_b)).sum()
                values.append(
                    (2 * mean_a * mean_b + c1)
                    * (2 * cov + c2)
                    / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )
    return np.mean(values)


def test_ssim_equals_the_published_formula():
    one, other = tiny.images(2), tiny.images(2, seed=1)
    blend = (0.7 * one + 0.3 * other).astype(np.uint8)
    found = ssim(one, blend)
    np.testing.assert_allclose(found, [plain_ssim(a, b) for a, b in zip(one, blend, strict=True)])
    np.testing.assert_allclose(ssim(one, one), 1)
    np.testing.assert_allclose(ssim(blend, one), found)
    assert (found < 1).all()


def test_ssim_refuses_pictures_of_other_or_too_small_sizes():
    one = tiny.images(1)
    with pytest.raises(ValueError, match=r"one size of at least 11 x 11.*\[1, 16, 16, 3\]"):
        ssim(one, one[:, :10])
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(one[:, :10], one[:, :10])
