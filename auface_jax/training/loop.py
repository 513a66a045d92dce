"""The training loop of every task: from a config to a finished run.

The module reads from top to bottom: `train` opens the run's folder, its data and its task, lays
the state out on the mesh, starts or resumes, makes the steps, and computes the held-out figures.
"""

import contextlib
import dataclasses
import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from auface_jax.images import files
from auface_jax.parallel import sharding
from auface_jax.runs import checkpoints
from auface_jax.runs.config_page import without_ranges
from auface_jax.runs.console import say, table
from auface_jax.runs.run_config import write_config
from auface_jax.training.config_check import check_config
from auface_jax.training.guard import Guard
from auface_jax.training.log import Heartbeat, MetricsLog, Progress, read_lines
from auface_jax.training.preemption import Interrupted, StopSignal
from auface_jax.training.profiling import Profile
from auface_jax.training.run_data import RunData, model_inputs
from auface_jax.training.state import TrainState, parameter_count, update_ratio
from auface_jax.training.tasks.base import Task, TaskData
from auface_jax.training.tasks.registry import make_task

Config = ml_collections.ConfigDict
PyTree = Any


def train(
    config: Config,
    workdir: pathlib.Path,
    *,
    resume_from: int | None = None,
    keep_every: int | None = None,
    profile_steps: str | None = None,
) -> dict[str, float]:
    """Trains the run in `workdir`, or continues it, and returns its held-out figures.

    Args:
      config: from a file in `configs/`; `config.requires` must name finished runs.
      workdir: the run's folder, see `docs/explanation/design.md`.
      resume_from: the checkpoint to resume from; later ones are set aside. None takes the last.
      keep_every: checkpoints whose step is a multiple of this number are never deleted.
      profile_steps: the steps to trace, as "FIRST-LAST"; None traces nothing.

    Raises:
      checkpoints.CheckpointError: `workdir` belongs to another config, or a checkpoint could not be
        read or written.
      ConfigError: values are out of range; the message lists all of them.
      FloatingPointError: a step is bad, see `guard`; the message names the step and the parts of
        its loss.
      Interrupted: the run received a signal, and everything is saved.
    """
    say(f"run: {workdir}  task: {config.task}  preset: {config.preset}")
    check_config(config)
    config = without_ranges(config)
    write_config(config, workdir)
    if checkpoints.has_export(workdir):
        return _finished_figures(workdir, resume_from)

    # --- Data and task ----------------------------------------------------------------------------
    run_data = RunData(config)
    task = make_task(config, config.num_steps)
    data = task.data(run_data)
    mesh, rules = sharding.make_mesh(config.mesh), config.mesh.rules
    sharding.check_batch_size(config.batch_size, mesh, rules)
    sharding.check_readers(mesh, rules)
    init_rng, step_rng = jax.random.split(jax.random.key(config.seed))
    with sharding.mesh_context(mesh, rules), contextlib.closing(data.batches):
        # --- State: shapes first, then sharded arrays ---------------------------------------------
        guard = Guard(config.guard)
        examples = model_inputs(data.read("train", limit=task.init_examples))
        layout = Layout.of(task, guard, mesh, rules, init_rng, examples)
        saver = checkpoints.Checkpoints(workdir, config.keep_checkpoints, keep_every)
        if resume_from is not None:
            saver.go_back_to(resume_from)
        meta = {
            "batch_size": config.batch_size,
            "text_tokenizer": run_data.tokenizer.fingerprint,
            **task.fingerprints(),
        }
        start_step = saver.latest_step or 0
        if start_step:
            state = saver.restore(
                start_step, layout.abstract_state, layout.state_shardings, data.batches, meta
            )
            say(f"resumed at step {start_step}")
        else:
            state = layout.initial_state(init_rng, examples)
        del examples, init_rng

        # --- Steps, then held-out figures, pictures, and the export -------------------------------
        splits = {
            name: data.read(name, limit=config.eval_images) for name in task.evaluation_splits
        }
        run = Run(config, workdir, task, data, layout, guard, saver, meta, splits, start_step)
        state = run.steps(state, step_rng, profile_steps)
        saver.close()
        return run.evaluate(state)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A task's state and frozen weights on a mesh, and its compiled steps.

    Attributes:
      task, guard, mesh, rules: the task, its guard, the mesh, and the rules of its axes.
      init: the task's `init`, wrapped by the guard.
      abstract_state: shapes and dtypes of the state.
      state_shardings, frozen_shardings: a sharding for each leaf.
      frozen: the frozen weights, placed on the mesh.
    """

    task: Task
    guard: Guard
    mesh: Mesh
    rules: sharding.Rules
    init: Any
    abstract_state: PyTree
    state_shardings: PyTree
    frozen_shardings: PyTree
    frozen: PyTree

    @classmethod
    def of(cls, task, guard, mesh, rules, rng: jax.Array, examples: dict) -> "Layout":
        """Lays out `task`: reads its frozen weights and derives every sharding from shapes."""
        # Each process reads the weights and computes cached features by itself.
        with jax.set_mesh(sharding.process_mesh(mesh)):
            frozen = task.load_frozen()
        init = guard.watched(task.init)
        abstract_state = jax.eval_shape(init, rng, examples)
        frozen_shardings = sharding.state_shardings(jax.eval_shape(lambda: frozen), mesh, rules)
        say(
            f"{parameter_count(abstract_state.params):,} parameters trained, "
            f"{parameter_count(frozen):,} frozen, mesh {dict(mesh.shape)}, "
            f"{jax.devices()[0].device_kind} x {jax.device_count()}"
        )
        return cls(
            task=task,
            guard=guard,
            mesh=mesh,
            rules=rules,
            init=init,
            abstract_state=abstract_state,
            state_shardings=sharding.state_shardings(abstract_state, mesh, rules),
            frozen_shardings=frozen_shardings,
            frozen=jax.device_put(frozen, frozen_shardings),
        )

    def initial_state(self, rng: jax.Array, examples: dict) -> TrainState:
        """Computes the state of step 0 in its shards, so that no device holds a full copy."""
        began = time.monotonic()
        state = jax.jit(self.init, out_shardings=self.state_shardings)(rng, examples)
        jax.block_until_ready(state)
        say(f"initialised in {time.monotonic() - began:.0f} s")
        return state

    def put_batch(self, batch: dict) -> dict[str, jax.Array]:
        """Splits the numeric fields of this process's examples over the mesh."""
        return sharding.put_batch(model_inputs(batch), self.mesh, self.rules)

    def step_fn(self, step: int):
        """Returns the compiled function of update number `step`; it donates its input state."""
        return self._compiled(self.task.step_fn(step))

    @functools.cached_property
    def _compiled(self):
        @functools.cache
        def compiled(step_fn):
            return jax.jit(
                self.guard.guarded(step_fn),
                in_shardings=(
                    self.state_shardings,
                    self.frozen_shardings,
                    sharding.batch_sharding(self.mesh, self.rules),
                    None,
                ),
                out_shardings=(self.state_shardings, sharding.replicated(self.mesh)),
                donate_argnums=0,
            )

        return compiled


@dataclasses.dataclass(frozen=True)
class Run:
    """A run in progress, with everything that its steps and its evaluation read.

    Attributes:
      config, workdir, task, data, layout, guard, saver: see `train`.
      meta: fingerprints that every checkpoint and the export keep.
      splits: the held-out batches, by split.
      start_step: the number of updates made before.
    """

    config: Config
    workdir: pathlib.Path
    task: Task
    data: TaskData
    layout: Layout
    guard: Guard
    saver: checkpoints.Checkpoints
    meta: dict[str, Any]
    splits: dict[str, dict]
    start_step: int

    @functools.cached_property
    def log(self) -> MetricsLog:
        """The reports in the run's folder, without those after `start_step`."""
        return MetricsLog(self.workdir, resume_step=self.start_step)

    def steps(self, state: TrainState, rng: jax.Array, profile_steps: str | None) -> TrainState:
        """Makes every remaining update, with reports, checkpoints and sample sheets on the way.

        Raises:
          Interrupted: the run received a signal, and it is saved.
        """
        config, log, batches = self.config, self.log, self.data.batches
        progress = Progress(self.start_step, config.num_steps, config.batch_size)
        heartbeat = Heartbeat(self.workdir)
        profile = Profile(self.workdir, profile_steps)
        previous = None
        with StopSignal(self.saver.reached_preemption) as stop, contextlib.closing(profile):
            for step in range(self.start_step + 1, config.num_steps + 1):
                profile.before(step)
                batch = self.layout.put_batch(next(batches))
                step_fn = self.layout.step_fn(step)
                last = step == config.num_steps
                reporting = last or step % config.log_every == 0
                before = jax.tree.map(jnp.copy, state.params) if reporting else None
                key = jax.random.fold_in(rng, step)
                state, metrics = step_fn(state, self.layout.frozen, batch, key)
                stopping = stop.due(step)
                saving = last or stopping or step % config.checkpoint_every == 0
                # Checks run one step late, so that the device never waits for this process.
                if previous:
                    self.guard.check(*previous)
                previous = (step, metrics)
                profile.after(step, metrics)
                if saving or reporting:
                    metrics = self.guard.check(*previous)
                heartbeat.beat(step)
                if reporting:
                    metrics["update_ratio"] = float(update_ratio(before, state.params))
                    self._report(step, metrics, progress)
                if saving:
                    self.saver.save(step, state, batches, self.meta)
                if stopping:
                    self.saver.close()
                    log.close()
                    raise Interrupted(f"stopped at step {step} and saved; the same command resumes")
                if config.sample_every and step % config.sample_every == 0 and not last:
                    self._save_pictures(step, self._on_one_process(self.task.sample, state))
                    progress.restart_clock(step)
        return state

    def evaluate(self, state: TrainState) -> dict[str, float]:
        """Computes and writes the held-out figures and sheets, and exports the weights.

        Every process computes the same figures by itself; the first one writes them.
        """
        began = time.monotonic()
        evaluation = self._on_one_process(self.task.evaluate, state)
        say(f"evaluated in {time.monotonic() - began:.0f} s")
        figures = {f"eval/{name}": value for name, value in evaluation.figures.items()}
        self.log.scalars(self.config.num_steps, figures, **evaluation.notes)
        paths = self._save_pictures(self.config.num_steps, evaluation.pictures)
        self.log.close()
        checkpoints.save_export(self.workdir, self.task.export(state), self.config, self.meta)
        say(table(f"held-out figures of {self.workdir}", figures | evaluation.notes))
        for path in paths:
            say(f"pictures: {path}")
        return figures

    def _report(self, step: int, metrics: dict[str, float], progress: Progress) -> None:
        """Writes one report: metrics, the guard's and the data's counts, and the speed."""
        if self.data.skipped is not None:
            metrics["skipped_records"] = len(self.data.skipped)
        shown = {name: metrics[name] for name in self.task.progress_metrics}
        metrics |= self.guard.report() | progress.report(step, shown)
        self.log.scalars(step, metrics)

    def _on_one_process(self, function, state: TrainState):
        """Calls `function(state, frozen, splits)` with whole arrays, on this process alone."""
        whole, frozen = sharding.to_process((state, self.layout.frozen))
        with jax.set_mesh(sharding.process_mesh(self.layout.mesh)):
            return function(whole, frozen, self.splits)

    def _save_pictures(self, step: int, images: dict) -> list[pathlib.Path]:
        """Writes `samples/step_XXXXXX.png`, one file a picture; the first has the bare name."""
        paths = []
        if jax.process_index() == 0:
            for number, (name, image) in enumerate(images.items()):
                suffix = f"_{name}" if number else ""
                paths.append(self.workdir / "samples" / f"step_{step:06d}{suffix}.png")
                about = {"synthetic": "true", "run": str(self.workdir), "step": step}
                files.save_png(image, paths[-1], **about)
        self.log.pictures(step, images)
        return paths


def _finished_figures(workdir: pathlib.Path, resume_from: int | None) -> dict[str, float]:
    """Shows the held-out figures of a finished run again.

    Raises:
      checkpoints.CheckpointError: `resume_from` is given, although the run is finished.
    """
    again = f"remove {workdir / 'export'} to go back to a checkpoint, the folder to begin anew"
    if resume_from is not None:
        raise checkpoints.CheckpointError(f"{workdir} is finished; {again}")
    say(f"{workdir} is finished; nothing to train ({again})")
    reports = read_lines(workdir / "metrics.jsonl")
    say(table(f"held-out figures of {workdir}", reports[-1]))
    return {name: value for name, value in reports[-1].items() if name.startswith("eval/")}
