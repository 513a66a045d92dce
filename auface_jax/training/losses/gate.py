"""The gate of the anatomical loss, which stays closed while reconstructions are blurred.

The paper switches the loss on once reconstructions show basic facial structure; the criterion is
our own (docs/explanation/stage1.md).
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

# The largest L_recon of images in [-1, 1]. The running mean starts here, so that the gate does not
# open too early.
WORST = 2.0


@struct.dataclass
class Gate:
    """The gate's state, a leaf of the train state.

    Attributes:
      running_recon: running mean of L_recon.
      open: True once the loss counts; it never becomes False again.
    """

    running_recon: Float[Array, ""]
    open: Bool[Array, ""]

    @classmethod
    def closed(cls) -> "Gate":
        """Returns the gate at the start of a run."""
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
        """Returns the gate after a step; opening takes effect in the next step.

        Args:
          recon: L_recon of this step.
          step: number of steps made before this one.
          threshold: the running mean must be below this value for the gate to open.
          start_step: number of steps that must be made before the gate opens.
          decay: decay of the running mean, which moves faster in the first steps.
        """
        decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
        running = decay * self.running_recon + (1.0 - decay) * recon
        ready = (running < threshold) & (step + 1 >= start_step)
        return Gate(running, self.open | ready)
