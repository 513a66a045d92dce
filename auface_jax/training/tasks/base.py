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
      batches: the endless training batches; their state is part of every checkpoint.
      read: (split, limit) -> a batch of at most `limit` examples of a split, spread evenly.
      skipped: corrupt records that were left out; None where a corrupt record ends the run.
    """

    batches: Iterator[dict[str, Any]]
    read: Callable[..., dict[str, Any]]
    skipped: Sized | None = None


class DataOfRun(Protocol):
    """The data set that a run's config names, as `training.run_data.RunData` opens it."""

    def faces(self) -> TaskData:
        """Records with a picture, a reference face and a description."""

    def texts(self) -> TaskData:
        """Descriptions and label vectors without pictures."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Results of a task on held-out people.

    Attributes:
      figures: numbers by name; the log writes each as `eval/NAME`.
      pictures: sheets by name; the first is the one to look at first.
      notes: words that a reader needs to compare the figures with others, written beside them.
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
      num_steps: the length of the run, which learning rate schedules need.
      evaluation_splits: splits that `sample` and `evaluate` read.
      progress_metrics: metrics that the progress line shows.
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
        """Training batches and held-out splits; by default records with faces."""
        return run_data.faces()

    @property
    def init_examples(self) -> int:
        """Number of training examples that `init` sees."""
        return 1

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer that `config.optimizer` describes."""
        return optimizer(self.config.optimizer, self.num_steps)

    @abc.abstractmethod
    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """Draws the state of step 0.

        Args:
          rng: key of the initial values.
          batch: `init_examples` training examples.
        """

    def initial_state(self, params: PyTree, variables: PyTree | None = None) -> TrainState:
        """The state of step 0 for parameters of one optimizer."""
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=self.optimizer.init(params),
            ema_params=params,
            variables={} if variables is None else variables,
        )

    def load_frozen(self) -> PyTree:
        """Weights that every step reads and none changes."""
        return {}

    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of the networks that this task builds on, by name.

        Checkpoints and the export keep them, so that no network is exchanged when a run resumes.
        """
        return {}

    @abc.abstractmethod
    def step(
        self, state: TrainState, frozen: PyTree, batch: Batch, rng: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """Makes one update.

        Args:
          state: the state before.
          frozen: the weights from `load_frozen`.
          batch: examples, split over the mesh.
          rng: key of this step.

        Returns:
          the state after, and scalar metrics.
        """

    def step_fn(self, step: int) -> StepFn:
        """The function that makes update number `step`, counted from 1.

        Steps that differ are separate functions and not one with conditions: XLA's convolutions on
        a CPU are about ten times slower inside a conditional.
        """
        return self.step

    @abc.abstractmethod
    def export(self, state: TrainState) -> PyTree:
        """The weights that whoever uses the finished run needs."""

    def sample(
        self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]
    ) -> dict[str, Image.Image]:
        """Sheets to look at during training, by name; none by default."""
        return {}

    @abc.abstractmethod
    def evaluate(self, state: TrainState, frozen: PyTree, splits: dict[str, Batch]) -> Evaluation:
        """Figures and sheets on held-out people, at the end of a run."""
