"""The training loop of every task, read top to bottom."""

import contextlib
import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from auface_jax.data import tokenizer
from auface_jax.data.loading import chosen_people, pipeline, texts
from auface_jax.facs import load_dictionary
from auface_jax.images import files
from auface_jax.parallel import sharding
from auface_jax.runs import checkpoints
from auface_jax.runs.console import say, table
from auface_jax.runs.run_config import write_config
from auface_jax.training.config_check import check_config
from auface_jax.training.guard import Guard
from auface_jax.training.log import Heartbeat, MetricsLog, Progress, read_lines
from auface_jax.training.preemption import Interrupted, StopSignal
from auface_jax.training.profiling import Profile
from auface_jax.training.state import parameter_count, update_ratio
from auface_jax.training.tasks import make_task

Config = ml_collections.ConfigDict


def train(
    config: Config,
    workdir: pathlib.Path,
    *,
    resume_from: int | None = None,
    keep_every: int | None = None,
    profile_steps: str | None = None,
) -> dict[str, float]:
    """Trains, or goes on training, the run in `workdir`; returns its held-out figures.

    Args:
      config: from a file in `configs/`; `config.requires` must name finished runs.
      workdir: the run's folder, see `docs/design.md`.
      resume_from: the checkpoint to go on from; later ones are set aside. None takes the last.
      keep_every: keep the checkpoints of multiples of so many steps for good.
      profile_steps: "FIRST-LAST": trace these steps.

    Raises:
      checkpoints.CheckpointError: `workdir` belongs to another config, or a checkpoint could not be
        read or written.
      ConfigError: values that no run can have; all of them are listed.
      FloatingPointError: a step went wrong, see `guard`; names the step and the parts.
      Interrupted: after a signal, once everything is saved.
    """
    say(f"run: {workdir}  task: {config.task}  preset: {config.preset}")
    check_config(config)
    write_config(config, workdir)
    if checkpoints.has_export(workdir):
        again = f"remove {workdir / 'export'} to go back to a checkpoint, the folder to begin anew"
        if resume_from is not None:
            raise checkpoints.CheckpointError(f"{workdir} is finished; {again}")
        say(f"{workdir} is finished; nothing to train ({again})")
        return final_figures(workdir)

    # --- Data: shards of records, built when absent -----------------------------------------------
    data_dir = pathlib.Path(config.data.dir)
    text_tokenizer = tokenizer.load_tokenizer(config.data.tokenizer)
    skipped = pipeline.SkippedRecords(say) if config.data.skip_corrupt else None
    reading = {
        "tokenizer": text_tokenizer,
        "buckets": tuple(config.data.buckets),
        "dictionary": load_dictionary(config.data.dictionary or None),
    }
    stream = {
        "batch_size": config.batch_size // jax.process_count(),
        "seed": config.seed,
        "process_index": jax.process_index(),
        "process_count": jax.process_count(),
    }
    if "texts" in config:  # descriptions alone
        read = functools.partial(texts.load_split, data_dir, **reading)
        iterator = texts.training_iterator(data_dir, **reading, **stream, **config.texts)
    else:
        reading |= {"degrees": config.data.degrees, "skipped": skipped}
        people = chosen_people.chosen_people(data_dir, config.get("people"))

        def read(split: str, limit: int) -> dict:
            return pipeline.load_split(
                data_dir, split, limit=limit, people=people.get(split), **reading
            )

        iterator = pipeline.training_iterator(
            data_dir,
            **reading,
            **stream,
            people=people.get("train"),
            redescribe=config.data.redescribe,
            flip=config.data.flip,
            size=config.data.size,
            workers=config.data.workers,
        )

    # --- Task, mesh, state: shapes first, then arrays where they belong ---------------------------
    task = make_task(config, config.num_steps)
    mesh, rules = sharding.make_mesh(config.mesh), config.mesh.rules
    sharding.check_batch_size(config.batch_size, mesh, rules)
    sharding.check_readers(mesh, rules)
    rng = jax.random.key(config.seed)
    init_rng, step_rng = jax.random.split(rng)
    examples = model_inputs(read("train", limit=task.init_examples))
    with sharding.placed(mesh, rules), contextlib.closing(iterator):
        # What is read from disk is read before anything is traced, and what is computed once is
        # computed by each process for itself.
        with jax.set_mesh(sharding.process_mesh(mesh)):
            frozen = task.load_frozen()
        guard = Guard(config.guard)
        init = guard.watched(task.init)
        abstract_state = jax.eval_shape(init, init_rng, examples)
        shardings = sharding.state_shardings(abstract_state, mesh, rules)
        frozen_shardings = sharding.state_shardings(jax.eval_shape(lambda: frozen), mesh, rules)
        frozen = jax.device_put(frozen, frozen_shardings)
        say(
            f"{parameter_count(abstract_state.params):,} parameters trained, "
            f"{parameter_count(frozen):,} frozen, mesh {dict(mesh.shape)}, "
            f"{jax.devices()[0].device_kind} x {jax.device_count()}"
        )

        # --- Restore, or begin --------------------------------------------------------------------
        saver = checkpoints.Checkpoints(workdir, config.keep_checkpoints, keep_every)
        if resume_from is not None:
            saver.go_back_to(resume_from)
        meta = {
            "batch_size": config.batch_size,
            "text_tokenizer": text_tokenizer.fingerprint,
            **getattr(task, "built_on", dict)(),
        }
        start_step = saver.latest_step or 0
        if start_step:
            state = saver.restore(start_step, abstract_state, shardings, iterator, meta)
            say(f"resumed at step {start_step}")
        else:
            began = time.monotonic()
            state = jax.jit(init, out_shardings=shardings)(init_rng, examples)
            jax.block_until_ready(state)
            say(f"initialised in {time.monotonic() - began:.0f} s")
        del examples, rng, init_rng

        step_name = getattr(task, "step_name", lambda number: "step")
        rows = sharding.batch_sharding(mesh, rules)

        @functools.cache
        def compiled(name: str):
            return jax.jit(
                guard.guarded(getattr(task, name)),
                in_shardings=(shardings, frozen_shardings, rows, None),
                out_shardings=(shardings, sharding.replicated(mesh)),
                donate_argnums=0,
            )

        # --- Loop ---------------------------------------------------------------------------------
        splits = {name: read(name, limit=config.eval_images) for name in task.evaluation_splits}
        log = MetricsLog(workdir, resume_step=start_step)
        progress = Progress(start_step, config.num_steps, config.batch_size)
        heartbeat = Heartbeat(workdir)
        profile = Profile(workdir, profile_steps)
        previous = None
        with StopSignal() as stop, contextlib.closing(profile):
            for step in range(start_step + 1, config.num_steps + 1):
                profile.before(step)
                batch = sharding.put_batch(model_inputs(next(iterator)), mesh, rules)
                step_fn = compiled(step_name(step))
                last = step == config.num_steps
                reporting = last or step % config.log_every == 0
                before = jax.tree.map(jnp.copy, state.params) if reporting else None
                state, metrics = step_fn(state, frozen, batch, jax.random.fold_in(step_rng, step))
                stopping = stop.due(step)
                saving = last or stopping or step % config.checkpoint_every == 0
                # Checked one step late, so that the device never waits for this process.
                if previous:
                    guard.check(*previous)
                previous = (step, metrics)
                profile.after(step, metrics)
                if saving or reporting:
                    metrics = guard.check(*previous)
                heartbeat.beat(step)
                if reporting:
                    shown = {name: metrics[name] for name in task.progress_metrics}
                    metrics["update_ratio"] = float(update_ratio(before, state.params))
                    if skipped is not None:
                        metrics["skipped_records"] = len(skipped)
                    log.scalars(step, metrics | guard.report() | progress.report(step, shown))
                if saving:
                    saver.save(step, state, iterator, meta)
                if stopping:
                    saver.close()
                    log.close()
                    raise Interrupted(f"stopped at step {step} and saved; the same command resumes")
                sampling = config.sample_every and step % config.sample_every == 0
                if sampling and not last:
                    whole, weights = sharding.to_process((state, frozen))
                    with jax.set_mesh(sharding.process_mesh(mesh)):
                        images = task.sample(whole, weights, splits)
                    save_pictures(workdir, log, step, images)
                    progress.restart_clock(step)
        saver.close()

        # --- Held-out figures, pictures, and the weights for whoever comes next -------------------
        # Every process finds them for itself, in about the same time; the first writes them.
        began = time.monotonic()
        whole, weights = sharding.to_process((state, frozen))
        with jax.set_mesh(sharding.process_mesh(mesh)):
            evaluation = task.evaluate(whole, weights, splits)
        say(f"evaluated in {time.monotonic() - began:.0f} s")
    figures = {f"eval/{name}": value for name, value in evaluation.figures.items()}
    log.scalars(config.num_steps, figures, **evaluation.notes)
    paths = save_pictures(workdir, log, config.num_steps, evaluation.pictures)
    log.close()
    checkpoints.save_export(workdir, task.export(state), config, meta)
    say(table(f"held-out figures of {workdir}", figures | evaluation.notes))
    for path in paths:
        say(f"pictures: {path}")
    return figures


def final_figures(workdir: pathlib.Path) -> dict[str, float]:
    """The held-out figures of a finished run, shown again."""
    reports = read_lines(workdir / "metrics.jsonl")
    say(table(f"held-out figures of {workdir}", reports[-1]))
    return {name: value for name, value in reports[-1].items() if name.startswith("eval/")}


def model_inputs(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """The numeric fields of a batch, those that a compiled step takes."""
    names = ("image", "reference", "reference_row", "labels", "text_tokens", "text_mask")
    return {name: batch[name] for name in names if name in batch}


def save_pictures(workdir, log: MetricsLog, step: int, images: dict) -> list[pathlib.Path]:
    """Writes `samples/step_XXXXXX.png`, one file a picture; the first has the bare name."""
    paths = []
    if jax.process_index() == 0:
        for number, (name, image) in enumerate(images.items()):
            suffix = f"_{name}" if number else ""
            paths.append(workdir / "samples" / f"step_{step:06d}{suffix}.png")
            files.save_png(image, paths[-1], synthetic="true", run=str(workdir), step=step)
    log.pictures(step, images)
    return paths
