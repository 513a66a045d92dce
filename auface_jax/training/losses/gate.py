"""The gate of the anatomical loss: a recogniser has nothing to say about a blur.

The paper switches the loss on "only once reconstructions show basic facial structure"; how that is
told is ours (docs/explanation/stage1.md).
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

# The largest L_recon of images in [-1, 1]: a young average errs on the side of a closed gate.
WORST = 2.0


@struct.dataclass
class Gate:
    """A leaf of the train state, so that a resumed run finds it as it was.

    Attributes:
      running_recon: running mean of L_recon.
      open: whether the loss counts; once True it stays True.
    """

    running_recon: Float[Array, ""]
    open: Bool[Array, ""]

    @classmethod
    def closed(cls) -> "Gate":
        """At the start of a run."""
        return cls(jnp.asarray(WORST, jnp.float32), jnp.zeros((), bool))

    def update(
        self,
        recon: Float[Array, ""],
        step: Int[Array, ""],
        *,
        threshold: float,
        start_step: int,
        decay: float,
    ) -> "Gate":
        """The gate after a step: it opens for the next one.

        Args:
          recon: L_recon of this step.
          step: steps done before it.
          threshold: it opens when the running mean is below this;
          start_step: and at least this many steps are done.
          decay: of the running mean; while few steps are done it follows faster.
        """
        decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
        running = decay * self.running_recon + (1.0 - decay) * recon
        ready = (running < threshold) & (step + 1 >= start_step)
        return Gate(running, self.open | ready)
