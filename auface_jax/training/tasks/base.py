"""The interface of a training task, with defaults for what most tasks share."""

import abc
import dataclasses
from collections.abc import Callable, Iterator, Sized
from typing import Any, ClassVar, Protocol, Self

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array
from PIL import Image

from auface_jax.training.optimizers import optimizer
from auface_jax.training.state import TrainState

Batch = dict[str, Array]
PyTree = Any
Metrics = dict[str, Array]
StepFn = Callable[[TrainState, PyTree, Batch, jax.Array], tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class TaskData:
    """Data that a task trains on and is evaluated on.

    Attributes:
      batches: an endless iterator of training batches; checkpoints keep its state.
      read: (split, limit) -> a batch of at most `limit` examples, spread evenly over the split.
      skipped: the corrupt records that were skipped; None if a corrupt record ends the run.
    """

    batches: Iterator[dict[str, Any]]
    read: Callable[..., dict[str, Any]]
    skipped: Sized | None = None


class DataOfRun(Protocol):
    """The data set that a run's config names, as `training.run_data.RunData` opens it."""

    def faces(self, *, texts: bool = False) -> TaskData:
        """Records with a picture and a reference face, and with a description if `texts`."""

    def texts(self) -> TaskData:
        """Descriptions and label vectors without pictures."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Results of a task on held-out people.

    Attributes:
      figures: numbers by name; the log writes each as `eval/NAME`.
      pictures: sheets by name, the main one first.
      notes: texts by name that explain the figures; the log writes them beside the figures.
    """

    figures: dict[str, float]
    pictures: dict[str, Image.Image]
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Task(abc.ABC):
    """A network to train: pure functions of a state, frozen weights, a batch and a key.

    The training loop calls these methods and knows no task by name. A task's networks are
    arguments of its constructor; `from_config` reads them from disk.

    Attributes:
      config: the run's config.
      num_steps: the number of updates in the run, which learning rate schedules need.
      evaluation_splits: the splits that `sample` and `evaluate` read.
      progress_metrics: the metrics that progress lines show.
    """

    config: ml_collections.ConfigDict
    num_steps: int

    evaluation_splits: ClassVar[tuple[str, ...]] = ("test",)
    progress_metrics: ClassVar[tuple[str, ...]] = ("loss",)

    @classmethod
    def from_config(cls, config: ml_collections.ConfigDict, num_steps: int) -> Self:
        """Builds the task of a config, with the networks that the config names."""
        return cls(config, num_steps)

    def data(self, run_data: DataOfRun) -> TaskData:
        """Opens training batches and held-out splits, by default of records with faces."""
        return run_data.faces()

    @property
    def init_examples(self) -> int:
        """Number of training examples that `init` reads."""
        return 1

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer that `config.optimizer` describes."""
        return optimizer(self.config.optimizer, self.num_steps)

    @abc.abstractmethod
    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Draws the state of step 0.

        Args:
          rng: random key of the initial values.
          batch: `init_examples` training examples.
        """

    def initial_state(self, params: PyTree, variables: PyTree | None = None) -> TrainState:
        """Builds the state of step 0 for parameters that have one optimizer."""
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=self.optimizer.init(params),
            ema_params=params,
            variables={} if variables is None else variables,
        )

    def load_frozen(self) -> PyTree:
        """Loads the weights that steps read and never change."""
        return {}

    def fingerprints(self) -> dict[str, str]:
        """Returns the fingerprints of the networks that this task requires, by name.

        Checkpoints and the export keep them, so that a run cannot resume with other networks.
        """
        return {}

    @abc.abstractmethod
    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """Makes one update.

        Args:
          state: the state before the update.
          frozen: the weights from `load_frozen`.
          batch: the examples, split over the mesh.
          rng: the random key of this step.

        Returns:
          the state after the update, and scalar metrics.
        """

    def step_fn(self, step: int) -> StepFn:
        """Returns the function that makes update number `step`, counted from 1.

        Different kinds of steps are separate functions and not one function with conditionals,
        because XLA's convolutions on a CPU are about ten times slower inside a conditional.
        """
        return self.step

    @abc.abstractmethod
    def export(self, state: TrainState) -> PyTree:
        """Returns the weights that users of the finished run need."""

    def sample(
        self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]
    ) -> dict[str, Image.Image]:
        """Makes sheets that show the progress of training, by name; none by default."""
        return {}

    @abc.abstractmethod
    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Computes figures and sheets on held-out people at the end of a run."""
