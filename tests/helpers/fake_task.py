"""A task with three parameters for tests of the training loop, without data set and network.

The task fits y = a x² + b x + c to noisy points. Its parameters depend on everything that the loop
must keep: the order of batches, the random key of each step, and the optimizer's moments.
"""

import contextlib
import dataclasses

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from auface_jax.configs import common
from ml_collections import ConfigDict
from PIL import Image

from auface_jax.runs.config_page import count, make_config, natural
from auface_jax.training.state import TrainState, apply_gradients
from auface_jax.training.tasks import registry
from auface_jax.training.tasks.base import DataOfRun, Evaluation, Task, TaskData

NAME = "fake"
PAGE = {
    "task": NAME,
    "preset": "quickstart",
    "requires": {},
    "data": {"dir": "", "tokenizer": "", "dictionary": "", "buckets": (64,)},
    "mesh": common.mesh("convolutions"),
    "seed": natural(0),
    "num_steps": count(6),
    "batch_size": count(4),
    "optimizer": common.optimizer(learning_rate=0.1, warmup_steps=1),
}


def config(**changes) -> ConfigDict:
    """Makes a config of six steps, with reports at each, checkpoints at 2, 4, 6, a sheet at 4."""
    page = common.RUN | PAGE
    steps = {"log_every": 1, "checkpoint_every": 2, "sample_every": 4, "eval_images": 6}
    found = make_config(page, {"quickstart": steps}, "quickstart")
    found.update(changes)
    return found.lock()


@contextlib.contextmanager
def registered():
    """A context in which `config.task` may name the fake task."""
    registry.TASKS[NAME] = f"{__name__}:FakeTask"
    try:
        yield
    finally:
        del registry.TASKS[NAME]


def points(count: int, *key: int) -> np.ndarray:
    """Draws noisy points (x, y) of the curve, float32 [count, 2]."""
    rng = np.random.default_rng(key)
    x = rng.uniform(-1, 1, count)
    y = 2 * x**2 - x + 0.5 + rng.normal(0, 0.1, count)
    return np.stack([x, y], axis=1).astype(np.float32)


class Batches(grain.DatasetIterator):
    """An endless iterator of this process's share of batches; its state is a batch number."""

    def __init__(self, seed: int, batch_size: int):
        super().__init__()
        self._seed, self._batch_size, self._number = seed, batch_size, 0

    def __next__(self) -> dict[str, np.ndarray]:
        batch = points(self._batch_size, self._seed, self._number)
        self._number += 1
        return {"image": np.split(batch, jax.process_count())[jax.process_index()]}

    def get_state(self) -> dict:
        return {"number": self._number}

    def set_state(self, state: dict) -> None:
        self._number = state["number"]


@dataclasses.dataclass(frozen=True, eq=False)
class FakeTask(Task):
    """Fits a parabola, see the docstring of the module."""

    def data(self, run_data: DataOfRun) -> TaskData:
        def read(split: str, limit: int) -> dict[str, np.ndarray]:
            return {"image": points(limit, 100, {"train": 1, "test": 2}[split])}

        return TaskData(Batches(self.config.seed, self.config.batch_size), read)

    def init(self, rng: jax.Array, batch: dict) -> TrainState:
        return self.initial_state({"curve": jax.random.normal(rng, (3,))})

    def step(self, state, frozen, batch, rng):
        x, y = batch["image"].T
        x = x + 0.01 * jax.random.normal(rng, x.shape)

        def loss_fn(params):
            return jnp.square(jnp.polyval(params["curve"], x) - y).mean()

        loss, gradients = jax.value_and_grad(loss_fn)(state.params)
        state = apply_gradients(state, gradients, self.optimizer, self.config.ema_decay)
        return state, {"loss": loss, "grad_norm": optax.tree.norm(gradients)}

    def export(self, state: TrainState):
        return {"params": state.ema_params}

    def sample(self, state, frozen, splits):
        return {"curve": Image.new("RGB", (8, 8))}

    def evaluate(self, state, frozen, splits) -> Evaluation:
        x, y = splits["test"]["image"].T
        error = np.square(np.polyval(np.asarray(state.ema_params["curve"]), x) - y).mean()
        pictures = {"curve": Image.new("RGB", (8, 8)), "other": Image.new("RGB", (8, 8))}
        return Evaluation({"error": float(error), "examples": float(len(x))}, pictures)
