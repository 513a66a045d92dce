"""Plots of Stage I: region errors and non-empty pictures."""

import numpy as np
import pytest

from auface_jax.faces.template import ERROR_REGIONS
from auface_jax.training.tasks import vqgan_plots


def test_region_errors_attribute_an_error_to_its_region():
    rng = np.random.default_rng(0)
    images = rng.integers(50, 200, (5, 64, 64, 3), dtype=np.uint8)
    left, upper, right, lower = (round(64 * edge) for edge in ERROR_REGIONS["mouth"])
    made = images.copy()
    made[:, upper:lower, left:right] += 30
    error, of_region = vqgan_plots.region_errors(images, made)
    assert of_region.pop("mouth") == pytest.approx(30)
    assert not any(of_region.values())
    outside = np.ones((64, 64), bool)
    outside[upper:lower, left:right] = False
    assert not error[outside].any()


def test_error_regions_lie_in_the_picture_and_do_not_overlap():
    boxes = list(ERROR_REGIONS.values())
    covered = np.zeros((100, 100), int)
    for left, upper, right, lower in boxes:
        assert 0 <= left < right <= 1 and 0 <= upper < lower <= 1
        covered[
            round(100 * upper) : round(100 * lower), round(100 * left) : round(100 * right)
        ] += 1
    assert covered.max() == 1


def test_every_plot_is_a_non_empty_picture():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    codes = rng.integers(0, 16, (6, 4, 4, 3))
    plots = [
        vqgan_plots.codebook_usage(codes, 16, [1.0] * 3, [15.2] * 3),
        vqgan_plots.psnr_by_level(rng.uniform(20, 30, (6, 3)), [64, 128, 192]),
        vqgan_plots.error_map(images, images[::-1]),
    ]
    for plot in plots:
        pixels = np.asarray(plot)
        assert pixels.ndim == 3 and pixels.std() > 5
