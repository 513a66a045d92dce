"""Untrained runs of the image recogniser."""

import jax

from auface_jax.runs import checkpoints
from auface_jax.training.tasks.au_image import AUImageTask
from tests.helpers import tiny


def write_run(folder, *, role="score", seed=0, task="au_image"):
    """Writes the export of a run at its initial weights; returns its folder."""
    config = tiny.au_image_config()
    config.update({"role": role, "task": task})
    of_task = AUImageTask(config, config.num_steps)
    checkpoints.save_export(folder, of_task.export(initial_state(seed)), config, {})
    return folder


@jax.jit
def initial_state(seed):
    """Draws the state of step 0."""
    config = tiny.au_image_config()
    return AUImageTask(config, config.num_steps).init(jax.random.key(seed), tiny.records(1))
