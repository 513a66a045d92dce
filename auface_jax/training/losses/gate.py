"""The gate of the anatomical loss, which stays closed while reconstructions are blurs.

The paper switches the loss on once reconstructions show basic facial structure; the criterion is
our own (docs/explanation/stage1.md).
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

# The largest L_recon of images in [-1, 1]: a young average errs on the side of a closed gate.
WORST = 2.0


@struct.dataclass
class Gate:
    """The gate's state, a leaf of the train state.

    Attributes:
      running_recon: running mean of L_recon.
      open: whether the loss counts; once True it stays True.
    """

    running_recon: Float[Array, ""]
    open: Bool[Array, ""]

    @classmethod
    def closed(cls) -> "Gate":
        """The gate at the start of a run."""
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
          step: number of steps before it.
          threshold: the gate opens when the running mean is below this,
          start_step: and at least this many steps are made.
          decay: decay of the running mean, which follows faster in the first steps.
        """
        decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
        running = decay * self.running_recon + (1.0 - decay) * recon
        ready = (running < threshold) & (step + 1 >= start_step)
        return Gate(running, self.open | ready)
