"""The 26 combinations whose units change each other's appearance, in the order of the scan.

The list and its order are the paper's (arXiv 2603.18588). Its "conflicting combinations" hold
two kinds, which the project distinguishes: *antagonistic* ones contain two muscles that pull
against each other, *synergistic* ones have a joint effect without opposed pulls. The paper
also calls 15+17 opposed; AU17 raises the chin and the lower lip and leaves the lip corners
alone, so here it is a joint effect.
"""

import dataclasses
import itertools

# 1-4 and 2-4: the brow goes up and down. 12-15: the lip corners go up and down.
# 12-23 and 12-24: the mouth is made wider, and held narrow.
OPPOSED_PAIRS = frozenset({(1, 4), (2, 4), (12, 15), (12, 23), (12, 24)})


@dataclasses.dataclass(frozen=True)
class Interaction:
    """A combination of two to four units with one description.

    Attributes:
      units: FACS numbers in ascending order.
    """

    units: tuple[int, ...]

    @property
    def name(self) -> str:
        """The construct's name, such as "AU6+AU12+AU15"."""
        return "+".join(f"AU{unit}" for unit in self.units)

    @property
    def opposed(self) -> tuple[tuple[int, int], ...]:
        """The pairs of units that pull against each other."""
        return tuple(p for p in itertools.combinations(self.units, 2) if p in OPPOSED_PAIRS)

    @property
    def kind(self) -> str:
        """ "antagonistic" if two units pull against each other, otherwise "synergistic"."""
        return "antagonistic" if self.opposed else "synergistic"


INTERACTIONS = tuple(
    Interaction(units)
    for units in (
        # Four units.
        (6, 12, 15, 17),
        (6, 12, 17, 23),
        # Three units.
        (1, 2, 4),
        (10, 15, 17),
        (6, 7, 12),
        (6, 12, 15),
        (12, 15, 17),
        (12, 17, 23),
        (10, 17, 23),
        # Two units.
        (1, 4),
        (1, 2),
        (10, 15),
        (10, 17),
        (15, 17),
        (10, 14),
        (14, 17),
        (6, 12),
        (7, 12),
        (12, 17),
        (12, 15),
        (12, 23),
        (12, 24),
        (14, 23),
        (17, 23),
        (17, 24),
        (15, 23),
    )
)
