"""Saving and restoring a run with Orbax: train state, data iterator and what they belong to,
together.

`checkpoints/STEP/` holds `state` (sharded arrays), `data` (each process's Grain iterator) and
`meta` (JSON). Orbax writes a step under a temporary name and renames it when it is complete, so a
killed run leaves only complete steps to restore. `export/` holds the weights alone, for generation
and for later stages.
"""

import json
import pathlib
from typing import Any

import grain
import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp

PyTree = Any

FORMAT_VERSION = 1


class CheckpointError(ValueError):
    """A run's folder does not fit what is asked of it."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
      workdir: the run's folder.
      keep: how many of the latest to keep.
    """

    def __init__(self, workdir: pathlib.Path, keep: int):
        self._folder = (workdir / "checkpoints").resolve()  # Orbax wants absolute paths
        self._manager = ocp.CheckpointManager(
            self._folder, options=ocp.CheckpointManagerOptions(max_to_keep=keep)
        )

    @property
    def latest_step(self) -> int | None:
        """The last complete step, None when there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: PyTree, iterator: Any, meta: dict[str, Any]) -> None:
        """Starts an asynchronous save; `close` waits for it. A step saved already is left alone."""
        if step in self._manager.all_steps():
            return
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
          CheckpointError: the checkpoint was written by another format, or with other `meta`
          (another
            text tokenizer, say); both values are named.
        """
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
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(target),
                data=grain.checkpoint.CheckpointRestore(iterator),
            ),
        )
        return restored["state"]

    def close(self) -> None:
        """Waits for saves under way."""
        self._manager.wait_until_finished()
        self._manager.close()


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
    """Whether `workdir` holds a complete export."""
    return (workdir / "export" / "config.json").exists()


def load_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """The config of a finished run.

    Raises:
      CheckpointError: `workdir` has no complete export; says what it lacks.
    """
    path = workdir / "export" / "config.json"
    if not path.exists():
        what = "is not finished" if workdir.exists() else "does not exist"
        raise CheckpointError(f"the run {workdir} {what}: no {path}; train it first")
    return ml_collections.ConfigDict(json.loads(path.read_text()))


def load_meta(workdir: pathlib.Path) -> dict[str, Any]:
    """What a finished run belongs to: the fingerprint of its text tokenizer, for one.

    Raises:
      CheckpointError: it was written in another format.
    """
    load_config(workdir)
    meta = json.loads((workdir / "export" / "meta.json").read_text())
    if meta["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{workdir}/export has format {meta['format_version']}, this version reads "
            f"{FORMAT_VERSION}; train the run again or use the version that wrote it"
        )
    return meta


def load_export(workdir: pathlib.Path) -> PyTree:
    """The weights of a finished run as nested dicts of numpy arrays, on any number of devices."""
    load_meta(workdir)
    path = (workdir / "export" / "weights").resolve()
    checkpointer = ocp.PyTreeCheckpointer()
    structure = checkpointer.metadata(path).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), structure)
    return checkpointer.restore(path, restore_args=as_numpy)
