"""Shifts and tints of training pairs in Stage II."""

import jax
import numpy as np
from ml_collections import ConfigDict

from auface_jax.training.tasks.maskgit_batch import augment


def pairs(count=6, size=12):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (count, size, size, 3)).astype(np.uint8)
    return {"image": image, "reference": image[:, :, ::-1].copy(), "labels": np.zeros((count, 12))}


def test_augment_without_shift_and_tint_returns_the_batch():
    batch = pairs()
    assert augment(jax.random.key(0), batch, ConfigDict({"shift": 0, "tint": 0.0})) is batch


def test_shift_moves_image_and_reference_together():
    batch = pairs()
    out = augment(jax.random.key(1), batch, ConfigDict({"shift": 2, "tint": 0.0}))
    seen = set()
    for example in range(len(batch["image"])):
        matches = []
        for name in ("image", "reference"):
            padded = np.pad(batch[name][example], ((2, 2), (2, 2), (0, 0)), mode="edge")
            offsets = [(y, x) for y in range(5) for x in range(5)]
            moved = np.asarray(out[name][example])
            matches.append(
                {(y, x) for y, x in offsets if (padded[y : y + 12, x : x + 12] == moved).all()}
            )
        common = matches[0] & matches[1]
        assert len(common) == 1
        seen |= common
    assert len(seen) > 1, "pairs must have different shifts"
    assert out["labels"] is batch["labels"]


def test_tint_scales_the_channels_of_a_pair_alike():
    batch = pairs()
    out = augment(jax.random.key(2), batch, ConfigDict({"shift": 0, "tint": 0.2}))
    for example in range(len(batch["image"])):
        factors = []
        for name in ("image", "reference"):
            before = batch[name][example].astype(float)
            bright = before > 100
            ratio = np.where(bright, np.asarray(out[name][example]) / np.maximum(before, 1), np.nan)
            factors.append(np.nanmean(ratio, axis=(0, 1)))
            assert np.nanstd(ratio, axis=(0, 1)).max() < 0.01, "each channel must have one factor"
        np.testing.assert_allclose(factors[0], factors[1], atol=2e-3)
        assert (np.abs(factors[0] - 1) <= 0.2 + 1e-3).all()
