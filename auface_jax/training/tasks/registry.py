"""The training tasks by the name that `config.task` gives them."""

import importlib

import ml_collections

from auface_jax.training.tasks.base import Task

# Name -> module and class. A task's module is imported only when a run needs it.
TASKS = {
    "vqgan": "auface_jax.training.tasks.vqgan:VQGANTask",
    "maskgit": "auface_jax.training.tasks.maskgit:MaskGITTask",
    "au_probe": "auface_jax.training.tasks.au_probe:AUProbeTask",
    "au_image": "auface_jax.training.tasks.au_image:AUImageTask",
    "au_text": "auface_jax.training.tasks.au_text:AUTextTask",
}


def make_task(config: ml_collections.ConfigDict, num_steps: int) -> Task:
    """Builds the task that `config.task` names, and reads the networks that it requires.

    Raises:
      ValueError: the name is unknown; the message lists the legal ones.
    """
    if config.task not in TASKS:
        raise ValueError(f"config.task={config.task!r} is not one of {', '.join(TASKS)}")
    module, _, name = TASKS[config.task].partition(":")
    return getattr(importlib.import_module(module), name).from_config(config, num_steps)
