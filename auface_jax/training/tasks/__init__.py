"""What can be trained. A task is an object of pure functions; `train.py` runs any of them.

init(rng, batch) -> TrainState                        from a batch of `init_examples` records
load_frozen() -> PyTree                               weights that the step reads and never changes
step(state, frozen, batch, rng) -> (state, metrics)   one update; metrics are scalars
step_name(number) -> str                              only where steps differ: which function of
                                                      `step`'s form is that of step 1, 2, …
built_on() -> dict[str, str]                          only where other networks train this one:
                                                      their fingerprints, kept in checkpoints and
                                                      export, so that none is swapped on resuming
evaluate(state, frozen, splits) -> Evaluation         held-out figures and pictures
export(state) -> PyTree                               the weights that generation needs
"""

import ml_collections

TASKS = ("vqgan", "maskgit", "au_probe", "au_image", "au_text")


def make_task(config: ml_collections.ConfigDict, num_steps: int):
    """The task that `config.task` names.

    Raises:
      ValueError: an unknown name; the message lists the legal ones.
    """
    if config.task == "vqgan":
        from auface_jax.training.tasks.vqgan import VQGANTask

        return VQGANTask(config, num_steps)
    if config.task == "maskgit":
        from auface_jax.training.tasks.maskgit import MaskGITTask

        return MaskGITTask(config, num_steps)
    if config.task == "au_probe":
        from auface_jax.training.tasks.au_probe import AUProbeTask

        return AUProbeTask(config, num_steps)
    if config.task == "au_image":
        from auface_jax.training.tasks.au_image import AUImageTask

        return AUImageTask(config, num_steps)
    if config.task == "au_text":
        from auface_jax.training.tasks.au_text import AUTextTask

        return AUTextTask(config, num_steps)
    raise ValueError(f"config.task={config.task!r} is not one of {', '.join(TASKS)}")
