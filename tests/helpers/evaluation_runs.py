"""Untrained runs with exports, and a data set, for the tests of evaluation."""

import jax
import numpy as np

from auface_jax.data.build import builder
from auface_jax.data.loading import pipeline
from auface_jax.data.tokenizer import load_tokenizer
from auface_jax.runs import checkpoints
from auface_jax.training.tasks.registry import make_task
from tests.helpers import tiny
from tests.helpers.small_dataset import write_folder


def build_data(folder, **options):
    """Builds a data set of eight people, three of them in test; returns its folder."""
    labels = write_folder(folder.with_name(folder.name + "-images"), people=8, size=16)
    selection = {"held_out_rows": 0.3, "novel_rows": 4} | options
    builder.build(
        folder,
        source="folder",
        labels=str(labels),
        size=16,
        fractions=(0.5, 0.125, 0.375),
        processes=1,
        progress=False,
        **selection,
    )
    return folder


def write_run(folder, config, *, seed=0, **meta):
    """Writes the export of an untrained run; returns its folder.

    A task whose state has variables gets its initial weights. Other tasks get random weights, which
    need no compilation, and are so large that different inputs give different pictures.
    """
    task, tokenizer = make_task(config, config.num_steps), load_tokenizer("")
    batch = pipeline.load_split(config.data.dir, "train", tokenizer, (64,))
    batch = {name: value for name, value in batch.items() if isinstance(value, np.ndarray)}
    if jax.eval_shape(task.init, jax.random.key(seed), batch).variables:
        state = jax.jit(task.init)(jax.random.key(seed), batch)
    else:
        state = tiny.random_state(task, batch, spread=0.3, seed=seed)
    meta = {"text_tokenizer": tokenizer.fingerprint} | meta
    checkpoints.save_export(folder, task.export(state), config, meta)
    return folder


def write_runs(folder, data, names=("stage1", "au_probe", "au_image", "au_text", "stage2")):
    """Writes runs to `folder`, where `stage2` requires its neighbours; returns them by name."""
    data, runs = str(data), {}
    for name in names:
        config = getattr(tiny, f"{name}_config")(data=data)
        if name == "au_image":
            config.people.half = ""
        if name == "stage2":
            config.requires.stage1.run = str(folder / "stage1")
            config.requires.au_probe.run = str(folder / "au_probe")
        runs[name] = write_run(folder / name, config)
    return runs
