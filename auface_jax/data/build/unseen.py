"""AU combinations that training never sees: held out of the data, or absent from it.

*Held-out* combinations are some of the data's own: their images leave training and make a split of
real pictures. *Novel* combinations are in no image of the data; a source that draws faces draws
images of them.

A combination is written as a code in [0, 4096), in which bit k stands for the k-th unit.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int8

from auface_jax import facs
from auface_jax.data.sources.base import stable_seed
from auface_jax.facs import INTERACTIONS

_BITS = 1 << np.arange(len(facs.AU_NUMBERS))
_ANTAGONISTIC = {i.name for i in INTERACTIONS if i.kind == "antagonistic"}


def combination_codes(labels: Int8[np.ndarray, "*n A"]) -> Int[np.ndarray, "*n"]:
    """Codes of label vectors; a unit that is not coded counts as absent."""
    return (labels == 1) @ _BITS


def units_of_code(code: int) -> list[int]:
    """FACS numbers of the active units of a code."""
    return [unit for unit, bit in zip(facs.AU_NUMBERS, _BITS.tolist(), strict=True) if code & bit]


def draw_held_out(
    test_codes: set[int], required: set[int], *, share: float, seed: int
) -> list[int]:
    """Draws the combinations that are held out of training.

    Args:
      test_codes: codes of the images of test people.
      required: codes of references of training people, which training cannot do without.
      share: share of `test_codes` to draw, in [0, 1); at least one code is drawn unless it is 0.
      seed: seed of the draw.

    Returns:
      The codes, ascending.

    Raises:
      ValueError: no combination can be held out.
    """
    if share == 0:
        return []
    legal = sorted(test_codes - required - {0})
    if not legal:
        raise ValueError(
            "held_out_rows: every AU combination of test people is neutral or a reference's; "
            "set it to 0, or bring people with neutral images"
        )
    rng = np.random.default_rng(stable_seed(seed, "held out rows"))
    count = min(max(1, round(share * len(test_codes))), len(legal))
    return sorted(rng.choice(legal, count, replace=False).tolist())


def draw_novel(
    known: set[int], coded: Int8[np.ndarray, "A"], *, count: int, seed: int
) -> list[int]:
    """Draws combinations that the data does not have, from single units to conflicting sets.

    A combination is plausible when some image of the data has at least as many active units, and
    some image at least as many constructs. Single units, combinations with a joint effect, and
    antagonistic ones take turns while they last, each kind in a seeded order.

    Args:
      known: codes of the data.
      coded: 1 for a unit that the data codes; other units stay absent.
      count: number of combinations; fewer are drawn where there are not enough.
      seed: seed of the draw.
    """
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


def _kind(names: Sequence[str]) -> str:
    if _ANTAGONISTIC.intersection(names):
        return "antagonistic"
    return "joint" if any("+" in name for name in names) else "single"
