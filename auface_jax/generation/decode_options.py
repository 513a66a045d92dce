"""Options of iterative decoding."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

ORDERS = ("confidence", "halton")
GUIDANCE_SCHEDULES = ("constant", "linear", "cosine")


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """Options of `decode.decode`; hashable, so that jitted programs take them as static argument.

    Attributes:
      steps: number of iterations, at least 1.
      guidance: scale of the guidance; 1 is no guidance and runs half the batch, 0 ignores the text.
      temperature: temperature of the sampled tokens; 0 takes the most probable token.
      choice_temperature: scale of the noise on the confidence in the first iteration.
      order: unmasking order. `confidence` keeps the most confident tokens; `halton` takes positions
        in the order of a Halton sequence (Besnier et al. 2025), each far from those before it,
        whatever tokens are sampled there.
      guidance_schedule: `constant`, or from 1 in the first iteration up to `guidance` in the last,
        `linear` or by a `cosine`.
      top_k: number of most probable tokens to sample among; 0 is all.
      top_p: probability mass of the most probable tokens to sample among; 1 is all.
      level_steps: iterations of each quantizer level, coarse to fine, whose sum is `steps`; for the
        `flat` layout alone. () decodes all levels together.

    Raises:
      ValueError: an option is out of its legal range; the message lists all such options.
    """

    steps: int
    guidance: float
    temperature: float
    choice_temperature: float
    order: str = "confidence"
    guidance_schedule: str = "constant"
    top_k: int = 0
    top_p: float = 1.0
    level_steps: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "level_steps", tuple(self.level_steps))  # a list, from JSON
        faults = []
        if self.steps < 1:
            faults.append(f"decode.steps={self.steps}; it needs at least 1 iteration")
        if self.temperature < 0 or self.choice_temperature < 0:
            faults.append(
                f"decode temperatures are {self.temperature} and {self.choice_temperature}; "
                "they must be 0 or more"
            )
        if self.order not in ORDERS:
            faults.append(f"decode.order={self.order!r} is not one of {', '.join(ORDERS)}")
        if self.guidance_schedule not in GUIDANCE_SCHEDULES:
            legal = ", ".join(GUIDANCE_SCHEDULES)
            faults.append(
                f"decode.guidance_schedule={self.guidance_schedule!r} is not one of {legal}"
            )
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            faults.append(
                f"decode.top_k={self.top_k} and top_p={self.top_p}; top_k must be 0 (all tokens) "
                "or more, and top_p above 0 and at most 1 (all tokens)"
            )
        if self.level_steps and (
            sum(self.level_steps) != self.steps or any(count < 1 for count in self.level_steps)
        ):
            faults.append(
                f"decode.level_steps={self.level_steps}; each level needs 1 or more, and their sum "
                f"must be decode.steps={self.steps}"
            )
        if faults:
            raise ValueError("; ".join(faults))

    def guidance_at(self, step: Int[Array, ""]) -> float | Float[Array, ""]:
        """Returns the guidance scale in iteration `step`, counted from 0."""
        if self.guidance_schedule == "constant" or self.steps == 1:
            return self.guidance
        progress = step / (self.steps - 1)
        if self.guidance_schedule == "cosine":
            progress = (1.0 - jnp.cos(jnp.pi * progress)) / 2.0
        return 1.0 + (self.guidance - 1.0) * progress

    def check_levels(self, layout: str, num_quantizers: int) -> None:
        """Raises a ValueError unless `level_steps` fit a model of this layout and depth."""
        if self.level_steps and (layout == "depth" or len(self.level_steps) != num_quantizers):
            raise ValueError(
                f"decode.level_steps={self.level_steps}: "
                + (
                    "in the depth layout the levels of a position are decoded together; leave it "
                    "empty"
                    if layout == "depth"
                    else f"the model has {num_quantizers} levels, and each needs its number of "
                    "iterations"
                )
            )
