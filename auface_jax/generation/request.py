"""Request for one image: reference, description and seed."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool, Int8, UInt8, UInt32

Image = UInt8[np.ndarray, "S S 3"]

# JAX reads the lower 32 bits of a seed alone: larger seeds would repeat the images of smaller ones.
LARGEST_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """Request for one image.

    Attributes:
      reference: image of the person, of the run's image size, framed as its training faces.
      text: description of the face.
      seed: seed of the image, 0 to `LARGEST_SEED`; other requests have no influence on the image.
      labels: label vector of the units that the text describes; only a run that was trained on
        labels in place of texts needs it, and such a run reads no text.
      change: True at the positions of the reference's tokens to generate anew
        (`region_masks.token_mask`), while the rest of the reference stays; None generates all.

    Raises:
      ValueError: the seed is out of range.
    """

    reference: Image
    text: str
    seed: int = 0
    labels: Int8[np.ndarray, " A"] | None = None
    change: Bool[np.ndarray, " N"] | None = None

    def __post_init__(self):
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed {self.seed}: give a whole number from 0 to {LARGEST_SEED}")


def picture_keys(seeds: Sequence[int], numbers: Sequence[int]) -> UInt32[np.ndarray, "B 2"]:
    """Returns random key data for each image, from its seed and its number for that seed."""
    keys = [
        jax.random.fold_in(jax.random.key(seed), number)
        for seed, number in zip(seeds, numbers, strict=True)
    ]
    return np.stack([np.asarray(jax.random.key_data(key)) for key in keys])
