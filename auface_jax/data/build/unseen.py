"""Label rows that training never sees: held out of the data, or nowhere in it.

A label row is the set of active units of an image. *Held-out* rows are some of the data's own:
their images leave training and make a split of real pictures. *Novel* rows are in no image of the
data; where faces are drawn, their pictures are drawn too.
"""

import functools
import itertools

import numpy as np
from jaxtyping import Int, Int8

from auface_jax import facs
from auface_jax.data.sources.base import stable_seed
from auface_jax.facs import INTERACTIONS

_BITS = 1 << np.arange(len(facs.AU_NUMBERS))
_ANTAGONISTIC = {i.name for i in INTERACTIONS if i.kind == "antagonistic"}


def row_codes(labels: Int8[np.ndarray, "n A"]) -> Int[np.ndarray, "n"]:
    """A number in [0, 4096) for each label row; units that are not coded count as absent."""
    return (labels == 1) @ _BITS


def units_of(code: int) -> list[int]:
    """The active units of a row code, by FACS number."""
    return [unit for unit, bit in zip(facs.AU_NUMBERS, _BITS.tolist(), strict=True) if code & bit]


def draw_held_out(shown: set[int], forbidden: set[int], *, share: float, seed: int) -> list[int]:
    """The row codes that training is not to see, ascending.

    Args:
      shown: Row codes of the images that can be tested on, of which `share` is drawn, one code at
        least.
      forbidden: Row codes that training cannot do without, those of references.
      share: In [0, 1); 0 holds nothing out.
      seed: Of the draw.

    Raises:
      ValueError: `share` is out of range, or no row is left to hold out.
    """
    if not 0 <= share < 1:
        raise ValueError(f"held_out_rows is {share}, expected a share of the rows in [0, 1)")
    if share == 0:
        return []
    legal = sorted(shown - forbidden - {0})
    if not legal:
        raise ValueError(
            "held_out_rows: every label row of the images to test on is neutral or a reference's; "
            "set it to 0, or bring people with neutral images"
        )
    rng = np.random.default_rng(stable_seed(seed, "held out rows"))
    count = min(max(1, round(share * len(shown))), len(legal))
    return sorted(rng.choice(legal, count, replace=False).tolist())


def draw_novel(
    known: set[int], coded: Int8[np.ndarray, "A"], *, count: int, seed: int
) -> list[int]:
    """Row codes that the data does not have, from single units to conflicting sets.

    A row is plausible when it is no richer than the data: no more active units and no more
    constructs than some row of the data has. Rows of single units, with a combination, and with
    an antagonistic one take turns while they last, each kind in a seeded order.

    Args:
      known: Row codes of the data.
      coded: [A] 1 where the data codes the unit; others are absent in every row.
      count: How many; fewer where there are not so many.
      seed: Of the draw.

    Raises:
      ValueError: `count` is negative.
    """
    if count < 0:
        raise ValueError(f"novel_rows is {count}, expected 0 or more")
    if count == 0 or not known:
        return []
    most_units = max(code.bit_count() for code in known)
    most_constructs = max(len(_constructs(code)) for code in known)
    allowed = int(coded @ _BITS)
    kinds: dict[str, list[int]] = {"single": [], "joint": [], "antagonistic": []}
    for code in range(1, 1 << len(_BITS)):
        if code in known or code & ~allowed or code.bit_count() > most_units:
            continue
        names = _constructs(code)
        if len(names) <= most_constructs:
            kinds[_kind(names)].append(code)
    rng = np.random.default_rng(stable_seed(seed, "novel rows"))
    shuffled = [rng.permutation(codes).tolist() for codes in kinds.values()]
    turns = itertools.zip_longest(*shuffled)
    return [code for turn in turns for code in turn if code is not None][:count]


@functools.cache
def _constructs(code: int) -> tuple[str, ...]:
    return facs.constructs((code & _BITS) > 0)


def _kind(names: tuple[str, ...]) -> str:
    if _ANTAGONISTIC.intersection(names):
        return "antagonistic"
    return "joint" if any("+" in name for name in names) else "single"
