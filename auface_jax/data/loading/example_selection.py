"""Selects examples of a loaded split: evenly spread ones, distinct ones, and partners to swap."""

from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

Records = dict[str, Any]  # arrays and lists of one length, the result of `pipeline.load_split`


def different_partners(groups: Shaped[np.ndarray, "n"]) -> Int[np.ndarray, "n"] | None:
    """Draws for each example the index of an example of another group.

    Args:
      groups: group of each example.

    Returns:
      Indices, the same ones each time; None where there is only one group.
    """
    rng = np.random.default_rng(0)
    partners = np.empty(len(groups), int)
    for example, group in enumerate(groups):
        others = np.flatnonzero(groups != group)
        if not len(others):
            return None
        partners[example] = rng.choice(others)
    return partners


def take_examples(records: Records, indices: Int[np.ndarray, "n"]) -> Records:
    """Selects the examples `indices` of every field."""
    return {
        name: value[indices] if isinstance(value, np.ndarray) else [value[i] for i in indices]
        for name, value in records.items()
    }


def spread_examples(records: Records, count: int) -> Records:
    """Selects `count` examples, evenly spread over the set."""
    return take_examples(records, np.linspace(0, len(records["labels"]) - 1, count).astype(int))


def distinct_examples(records: Records, count: int) -> Int[np.ndarray, "n"]:
    """Chooses examples with different label vectors that each have an active unit.

    The people are different too, as long as there are enough.

    Returns:
      Indices of at most `count` examples; index 0 alone where no example qualifies.
    """
    chosen, seen_labels, seen_people = [], set(), set()
    for allow_same_person in (False, True):
        for example, (labels, person) in enumerate(
            zip(records["labels"], records["subjects"], strict=True)
        ):
            fresh = allow_same_person or person not in seen_people
            if (
                len(chosen) < count
                and fresh
                and labels.max() > 0
                and labels.tobytes() not in seen_labels
            ):
                chosen.append(example)
                seen_labels.add(labels.tobytes())
                seen_people.add(person)
    return np.array(chosen or [0])
