"""What is asked of a finished run: one picture, of whom, how, and by which seed."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool, Int8, UInt8, UInt32

Image = UInt8[np.ndarray, "S S 3"]

# JAX takes a seed's lower 32 bits alone: larger ones would repeat the pictures of smaller ones.
LARGEST_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """One picture that is asked for.

    Attributes:
      reference: uint8 [S, S, 3], of the run's image size, framed as its training faces.
      text: what the face does.
      seed: of the picture, 0 to `LARGEST_SEED`; it depends on nothing else, and not on which
        others are asked for.
      labels: int8 [A], the units that the text describes; only a run that was trained on labels in
        place of texts needs them, and it reads nothing else.
      change: bool [N], the positions of the reference's tokens to draw anew (`editing.token_mask`),
        keeping the rest of the reference; None draws all.

    Raises:
      ValueError: a seed out of range.
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
    """A key for each picture: that of its number among those of its seed."""
    of_picture = [
        jax.random.fold_in(jax.random.key(seed), number)
        for seed, number in zip(seeds, numbers, strict=True)
    ]
    return np.stack([np.asarray(jax.random.key_data(key)) for key in of_picture])
