"""The interface of a training task."""

import dataclasses

from PIL import Image


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a task finds out about its run on held-out people.

    Attributes:
      figures: by name; written as `eval/NAME`.
      pictures: sheets by name; the first is the one to look at first.
      notes: words that a reader needs to compare the figures with others, written beside them.
    """

    figures: dict[str, float]
    pictures: dict[str, Image.Image]
    notes: dict[str, str] = dataclasses.field(default_factory=dict)
