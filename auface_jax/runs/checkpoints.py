"""Checkpoints and exports of a run, written and read with Orbax.

`checkpoints/STEP/` holds `state` (sharded arrays), `data` (Grain's iterators, a file a process) and
`meta` (JSON). An iterator's state counts batches of the whole run, so these files are alike, and a
run goes on with another number of processes. Orbax writes a step under a temporary name and renames
it when it is complete, so a killed run leaves only complete steps to restore. `export/` holds the
weights alone, for generation and for later stages.
"""

import contextlib
import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import grain
import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from auface_jax.runs.json_files import read_object

PyTree = Any

FORMAT_VERSION = 3
# Task -> name of the config file that trains it.
_CONFIG_FILES = {
    "vqgan": "stage1",
    "maskgit": "stage2",
    **{name: name for name in ("au_probe", "au_image", "au_text")},
}


class CheckpointError(ValueError):
    """A run's folder does not fit what is asked of it."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
      workdir: the run's folder.
      keep: number of the latest checkpoints to keep.
      keep_every: never delete checkpoints whose step is a multiple of this; None: no such steps.
    """

    def __init__(self, workdir: pathlib.Path, keep: int, keep_every: int | None = None):
        self._folder = (workdir / "checkpoints").resolve()  # Orbax wants absolute paths
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            keep_period=keep_every,
            cleanup_tmp_directories=True,  # what a kill in the middle of a save left
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    @property
    def latest_step(self) -> int | None:
        """The last complete step, None when there is none."""
        return self._manager.latest_step()

    def go_back_to(self, step: int) -> None:
        """Makes `step` the latest one: later ones are moved to `checkpoints-set-aside/`.

        Raises:
          CheckpointError: there is no such checkpoint.
        """
        steps = sorted(self._manager.all_steps())
        if step not in steps:
            raise CheckpointError(f"no checkpoint {step} in {self._folder}, which has {steps}")
        if jax.process_index() == 0:
            aside = self._folder.with_name("checkpoints-set-aside")
            for later in (found for found in steps if found > step):
                number = 1
                while (place := aside / f"{later}-{number}").exists():
                    number += 1
                aside.mkdir(exist_ok=True)
                (self._folder / str(later)).rename(place)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("later checkpoints are set aside")
        self._manager.reload()

    def save(self, step: int, state: PyTree, iterator: Any, meta: dict[str, Any]) -> None:
        """Starts an asynchronous save; `close` waits for it. A step saved already is left alone.

        Raises:
          CheckpointError: this save or the one before it failed: a full disk, for example.
        """
        if step in self._manager.all_steps():
            return
        with self._told(f"saving step {step}, or the checkpoint before it,"):
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    data=grain.checkpoint.CheckpointSave(iterator),
                    meta=ocp.args.JsonSave({**meta, "format_version": FORMAT_VERSION}),
                ),
            )
        if not saved:
            raise CheckpointError(f"Orbax refused to save step {step} in {self._folder}")

    def restore(
        self, step: int, abstract_state: PyTree, shardings: PyTree, iterator: Any, meta: dict
    ) -> PyTree:
        """The state at `step`, laid out by `shardings`; sets `iterator` to where it was.

        Raises:
          CheckpointError: the checkpoint is damaged, or was written by another format or with other
            `meta` (another text tokenizer, say); both values are named.
        """
        with self._readable(step):
            saved_meta = self._manager.restore(
                step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
            )["meta"]
        for name, value in {**meta, "format_version": FORMAT_VERSION}.items():
            if saved_meta.get(name) != value:
                raise CheckpointError(
                    f"{self._folder}/{step} was written with {name}={saved_meta.get(name)!r}, this "
                    f"run has {value!r}; restore it with what wrote it, or choose another --workdir"
                )
        target = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            abstract_state,
            shardings,
        )
        with self._readable(step):
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
            )
            folder = self._folder / str(step) / "data"
            one_of_them = min(folder.glob("process_*-of-*.json"))
            iterator.set_state(json.loads(one_of_them.read_text()))
        return restored["state"]

    def reached_preemption(self, step: int) -> bool:
        """Tells whether a signal has reached any process and all are to stop after `step`."""
        return self._manager.reached_preemption(step)

    def close(self) -> None:
        """Waits for saves under way.

        Raises:
          CheckpointError: one of them failed.
        """
        with self._told("saving the last checkpoint"):
            self._manager.wait_until_finished()
        self._manager.close()

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of a save, which come from whatever the storage is, say what is left."""
        try:
            yield
        except jax.errors.JaxRuntimeError:  # another process was lost
            raise
        except Exception as error:
            free = shutil.disk_usage(self._folder).free / 2**20
            self._manager.reload()
            steps = sorted(self._manager.all_steps())
            raise CheckpointError(
                f"{what} failed ({type(error).__name__}: {str(error)[:500]}). {self._folder} has "
                f"{free:.0f} MiB left and the complete checkpoints {steps}; the same command goes "
                "on from the last of them"
            ) from error

    @contextlib.contextmanager
    def _readable(self, step: int) -> Iterator[None]:
        """Errors of reading a checkpoint say which others there are."""
        try:
            yield
        except jax.errors.JaxRuntimeError:
            raise
        except Exception as error:
            others = sorted(set(self._manager.all_steps()) - {step})
            cure = f"go back to one of {others} with --resume_from, or begin" if others else "begin"
            raise CheckpointError(
                f"checkpoint {step} in {self._folder} cannot be read "
                f"({type(error).__name__}: {str(error)[:500]}); {cure} anew with another --workdir"
            ) from error


def save_export(
    workdir: pathlib.Path, weights: PyTree, config: ml_collections.ConfigDict, meta: dict[str, Any]
) -> None:
    """Writes `workdir/export/`: the weights alone, the config that they belong to, and `meta`.

    The config file is written last: an export without it is incomplete.
    """
    folder = (workdir / "export").resolve()
    (folder / "config.json").unlink(missing_ok=True)
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save(folder / "weights", weights, force=True)
    checkpointer.wait_until_finished()
    checkpointer.close()
    if jax.process_index() == 0:
        meta = {**meta, "format_version": FORMAT_VERSION}
        (folder / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
        (folder / "config.json").write_text(config.to_json_best_effort(indent=2) + "\n")


def has_export(workdir: pathlib.Path) -> bool:
    """Tells whether `workdir` holds a complete export."""
    return (workdir / "export" / "config.json").exists()


def load_config(workdir: pathlib.Path, *, task: str | None = None) -> ml_collections.ConfigDict:
    """Reads the config of a finished run.

    Args:
      workdir: folder of the run.
      task: name of the task that the run must be of; None allows every task.

    Raises:
      CheckpointError: `workdir` has no complete export, or the run is of another task.
    """
    path = workdir / "export" / "config.json"
    if not path.exists():
        what = "is not finished" if workdir.exists() else "does not exist"
        raise CheckpointError(f"the run {workdir} {what}: no {path}; train it first")
    try:
        config = ml_collections.ConfigDict(read_object(path, CheckpointError))
    except ValueError as error:  # a key with a dot, for example
        raise CheckpointError(f"{path} is damaged ({error}); train the run again") from error
    if "task" not in config:
        raise CheckpointError(f"{path} is damaged: it names no task; train the run again")
    if task not in (None, config.task):
        raise CheckpointError(
            f"{workdir} is a run of the task {config.task}, and a run of the task {task} is "
            f"needed: python -m auface_jax.train --config configs/{_CONFIG_FILES[task]}.py"
        )
    return config


def load_meta(workdir: pathlib.Path) -> dict[str, Any]:
    """Reads what a finished run depends on, such as the fingerprint of its text tokenizer.

    Raises:
      CheckpointError: it was written in another format.
    """
    load_config(workdir)
    meta = read_object(workdir / "export" / "meta.json", CheckpointError)
    if (version := meta.get("format_version")) != FORMAT_VERSION:
        raise CheckpointError(
            f"{workdir}/export has format {version}, this version reads "
            f"{FORMAT_VERSION}; train the run again or use the version that wrote it"
        )
    return meta


def load_export(workdir: pathlib.Path) -> PyTree:
    """Reads the weights of a finished run as nested dicts of numpy arrays, on any devices."""
    load_meta(workdir)
    path = (workdir / "export" / "weights").resolve()
    checkpointer = ocp.PyTreeCheckpointer()
    structure = checkpointer.metadata(path).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure)
    return checkpointer.restore(path, restore_args=as_numpy)


def weights_fingerprint(weights: PyTree) -> str:
    """Hex sha256 of all leaves with their paths."""
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.ascontiguousarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(weights)
    }
    digest = hashlib.sha256()
    for path, leaf in sorted(leaves.items()):
        digest.update(f"{path} {leaf.dtype} {leaf.shape} ".encode() + leaf.tobytes())
    return digest.hexdigest()


def weights_key(name: str) -> str:
    """The name of a required run's fingerprint in the meta of a run that builds on it."""
    return f"{name}_weights"


def required_run(run: pathlib.Path, name: str) -> pathlib.Path:
    """Finds the run that the finished `run` was built on.

    The config of `run` names the other run relative to the folder in which `run` was trained. A
    run that was moved may have another run of that name there, so the folder beside `run` is
    searched too, and the fingerprint of the weights decides.

    Args:
      run: the folder of a finished run.
      name: the other run's name in the config's `requires`, such as "stage1".

    Raises:
      CheckpointError: neither is a finished run, or none has the weights that `run` was built on.
    """
    named = pathlib.Path(load_config(run).requires[name].run)
    beside = run.resolve().with_name(named.name)
    wanted, found = load_meta(run).get(weights_key(name)), {}
    for place in filter(has_export, (named, beside)):
        found[place] = wanted and weights_fingerprint(load_export(place))
        if found[place] == wanted:
            return place
    if not found:
        raise CheckpointError(
            f"{run} was built on the run {named}, and neither that nor {beside} is a finished run "
            "here; put it beside the other"
        )
    others = ", ".join(f"{place} has {which[:12]}" for place, which in found.items())
    raise CheckpointError(
        f"{run} was built on a run {named.name} with the weights {wanted[:12]}; {others}. Put the "
        "former one beside it, or train it again on the other"
    )
