"""Plots of a Stage I run on held-out people."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from auface_jax.faces.template import ERROR_REGIONS
from auface_jax.images.sheets import figure_image


def _axes(width: float, height: float):
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    return figure, figure.add_subplot()


def codebook_usage(
    codes: Int[np.ndarray, "*batch Q"],
    num_codes: int,
    usage: Sequence[float],
    perplexity: Sequence[float],
) -> Image.Image:
    """Plots the usage of each level's tokens in decreasing order, relative to equal usage."""
    figure, axes = _axes(6.4, 4.0)
    for level, ids in enumerate(np.asarray(codes).reshape(-1, codes.shape[-1]).T):
        share = np.sort(np.bincount(ids, minlength=num_codes))[::-1] * num_codes / len(ids)
        used = f"{usage[level]:.1%} used, perplexity {perplexity[level]:.0f}"
        axes.plot(np.arange(1, num_codes + 1), share, label=f"level {level}: {used}")
    axes.axhline(1.0, color="0.6", linewidth=1, label="equal use")
    axes.set(yscale="log", xlabel="codes, the most used first", ylabel="times equal use")
    axes.legend(fontsize="small")
    return figure_image(figure)


def psnr_by_level(psnr: Float[np.ndarray, "M Q"], bits: Sequence[float]) -> Image.Image:
    """Plots the PSNR of pictures that are decoded from the first levels: mean and quartiles.

    Args:
      psnr: PSNR in dB of each picture by number of levels.
      bits: size in bits of a picture's tokens up to each level.
    """
    figure, axes = _axes(5.0, 4.0)
    levels = np.arange(1, psnr.shape[1] + 1)
    axes.fill_between(levels, *np.percentile(psnr, (25, 75), axis=0), alpha=0.2)
    axes.plot(levels, psnr.mean(0), marker="o")
    for level, mean, size in zip(levels, psnr.mean(0), bits, strict=True):
        place = {"xytext": (0, -14), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{mean:.1f} dB\n{size:.0f} bits", (level, mean), va="top", **place)
    axes.margins(0.15, 0.25)
    axes.set(xlabel="levels decoded", ylabel="PSNR (dB)", xticks=levels)
    return figure_image(figure)


def region_errors(
    images: UInt8[np.ndarray, "M S S 3"], made: UInt8[np.ndarray, "M S S 3"]
) -> tuple[Float[np.ndarray, "S S"], dict[str, float]]:
    """Computes the mean absolute error (of 255) of each pixel and region of aligned faces."""
    error = np.abs(images.astype(np.float32) - made).mean((0, 3))
    size, of_region = len(error), {}
    for name, edges in ERROR_REGIONS.items():
        left, upper, right, lower = (round(edge * size) for edge in edges)
        of_region[name] = float(error[upper:lower, left:right].mean())
    return error, of_region


def error_map(
    images: UInt8[np.ndarray, "M S S 3"], made: UInt8[np.ndarray, "M S S 3"]
) -> Image.Image:
    """Maps the mean absolute error over aligned faces, with the mean of every region."""
    error, of_region = region_errors(images, made)
    figure, axes = _axes(5.6, 4.6)
    shown = axes.imshow(error, cmap="magma", extent=(0, 1, 1, 0), vmin=0)
    for name, (left, upper, right, lower) in ERROR_REGIONS.items():
        box = Rectangle((left, upper), right - left, lower - upper, fill=False, edgecolor="white")
        axes.add_patch(box)
        label = f"{name} {of_region[name]:.1f}"
        axes.text((left + right) / 2, (upper + lower) / 2, label, color="white", ha="center")
    axes.set(xticks=[], yticks=[], title=f"mean absolute error of 255: {error.mean():.1f}")
    figure.colorbar(shown)
    return figure_image(figure)
