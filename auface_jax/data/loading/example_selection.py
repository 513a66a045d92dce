"""Held-out records for a look and a comparison: which rows, swapped how, on what sheet."""

from typing import Any

import numpy as np

Records = dict[str, Any]  # arrays and lists of one length, as `data.pipeline.load_split` gives them


def different_partners(groups: np.ndarray) -> np.ndarray | None:
    """For each row the index of a row of another group, a seeded draw; None if there is but one."""
    rng = np.random.default_rng(0)
    partners = np.empty(len(groups), int)
    for row, group in enumerate(groups):
        others = np.flatnonzero(groups != group)
        if not len(others):
            return None
        partners[row] = rng.choice(others)
    return partners


def take_examples(records: Records, rows: np.ndarray) -> Records:
    """The same rows of every field."""
    return {
        name: value[rows] if isinstance(value, np.ndarray) else [value[row] for row in rows]
        for name, value in records.items()
    }


def spread_examples(records: Records, count: int) -> Records:
    """`count` rows evenly over the set."""
    return take_examples(records, np.linspace(0, len(records["labels"]) - 1, count).astype(int))


def distinct_examples(records: Records, count: int) -> np.ndarray:
    """Rows with different label rows and, as far as they go, different people; some unit active."""
    chosen, seen_labels, seen_people = [], set(), set()
    for allow_same_person in (False, True):
        for row, (labels, person) in enumerate(
            zip(records["labels"], records["subjects"], strict=True)
        ):
            fresh = allow_same_person or person not in seen_people
            if (
                len(chosen) < count
                and fresh
                and labels.max() > 0
                and labels.tobytes() not in seen_labels
            ):
                chosen.append(row)
                seen_labels.add(labels.tobytes())
                seen_people.add(person)
    return np.array(chosen or [0])
