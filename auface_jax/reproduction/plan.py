"""Runs that the tables take: recognisers, two of Stage I a seed, Stage II in its variants.

All runs are trained on one data set, in folders named for the run. An interrupted command therefore
goes on where it stopped, and a command for another table finds the runs of an earlier one.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from auface_jax.runs import checkpoints, presets
from auface_jax.runs.config_files import load_config_file

TABLES = {
    2: "Texts against labels",
    5: "AU combinations that training never saw",
    6: "What the reference's tokens and the anatomical loss are worth",
}
# Inputs that the study compares -> the ablation of configs/stage2.py that each one is.
INPUTS = {"text": "", "labels": "labels"}
COMPONENTS = ("no_structure", "no_appearance", "no_reference", "no_face")
RECOGNIZERS = ("au_probe", "au_image", "au_image_loss", "au_text")


@dataclasses.dataclass(frozen=True)
class Scale:
    """Size of a preset's reproduction.

    Attributes:
      data: changes to the preset's data set: enough test people for the samples, and AU
        combinations that training never sees.
      stage2: changes to the preset's Stage II, the same for every model.
      rates: learning rates of the sweep.
      guidances: guidance scales that the pictures of each learning rate are drawn with.
      tuning_pictures: number of pictures of validation people that score a trial of the sweep.
      minutes: minutes that a training of each config takes; empty where they were not measured.
    """

    data: dict
    stage2: dict
    rates: tuple[float, ...]
    guidances: tuple[float, ...]
    tuning_pictures: int
    minutes: dict[str, float]


SCALES = {
    "quickstart": Scale(
        data={"people": 520, "held_out_rows": 0.1, "novel_rows": 500},
        stage2={"num_steps": 600, "eval_images": 64, "sample_every": 0},
        rates=(1e-3, 2e-3, 4e-3),
        guidances=(2.0, 5.0, 8.0),
        tuning_pictures=128,
        # Measured on two cores from start to end, with the evaluation at the end of each run.
        minutes={
            "au_probe": 0.7,
            "au_image": 4.2,
            "au_image_loss": 4.2,
            "au_text": 4.1,
            "stage1": 5.0,
            "stage2": 4.0,
            "evaluation": 1.5,
        },
    ),
    "open": Scale(
        data={},
        stage2={},
        rates=(1.5e-4, 3e-4, 6e-4),
        guidances=(2.0, 3.0, 5.0),
        tuning_pictures=256,
        minutes={},
    ),
}


@dataclasses.dataclass(frozen=True)
class Model:
    """A Stage II model of the study.

    Attributes:
      ablation: an ablation of configs/stage2.py, or "".
      anatomical: whether Stage I below the model has the anatomical loss.
    """

    ablation: str = ""
    anatomical: bool = True

    @property
    def name(self) -> str:
        """Name of the model in folders and files."""
        return (self.ablation or "text") + ("" if self.anatomical else "-no_anatomical")

    @property
    def input(self) -> str:
        """Input of the model, a key of `INPUTS`; models with one input share its tuning."""
        return "labels" if self.ablation == "labels" else "text"


@dataclasses.dataclass(frozen=True)
class Training:
    """A run to train.

    Attributes:
      kind: name of the config file, such as "stage2".
      config: the whole config.
      folder: folder of the run.
    """

    kind: str
    config: ConfigDict
    folder: Path

    @property
    def steps_done(self) -> int:
        """Steps that are trained and saved: all of a finished run, else those of its checkpoint."""
        if checkpoints.has_export(self.folder):
            return self.config.num_steps
        saved = (self.folder / "checkpoints").glob("[0-9]*")
        steps = [int(path.name) for path in saved if path.name.isdigit()]
        return min(max(steps, default=0), self.config.num_steps - 1)

    @property
    def state(self) -> str:
        """Progress of the run in words: "done", "at step N of M" or "to do"."""
        done, total = self.steps_done, self.config.num_steps
        return "done" if done == total else f"at step {done} of {total}" if done else "to do"


@dataclasses.dataclass(frozen=True)
class Study:
    """A whole reproduction.

    Attributes:
      preset: preset of the config files.
      scale: size of the preset's reproduction, from `SCALES`.
      tables: keys of `TABLES`.
      seeds: number of seeds; the sweep uses seed 0.
      samples: largest number of records that each model is scored on.
      runs: folder of all runs and evaluations.
      configs: folder of the config files.
      known: names of evaluations whose figures are known from elsewhere; no run is trained for
        them.
      settled: inputs whose sweep is known from elsewhere; no run is trained for it.
    """

    preset: str
    scale: Scale
    tables: tuple[int, ...]
    seeds: int
    samples: int
    runs: Path
    configs: Path
    known: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()

    def models(self) -> list[Model]:
        """Returns the models of the study's tables, the full model first."""
        found = [Model()]
        if {2, 5} & set(self.tables):
            found.append(Model("labels"))
        if 6 in self.tables:
            found += [Model(name) for name in COMPONENTS]
            found += [Model(name, anatomical=False) for name in ("", *COMPONENTS)]
        return found

    def recognizers(self) -> list[Training]:
        """Returns the runs of the probe, the evaluator, the loss network and the text reader."""
        return [Training(name, self._config(name), self.runs / name) for name in RECOGNIZERS]

    def stage1(self, seed: int, anatomical: bool) -> Training:
        """Returns the Stage I run of a seed, with or without the anatomical loss."""
        config = self._config("stage1", seed=seed)
        if anatomical:
            changes = self._config("stage2", ",anatomical=on").requires.stage1.changes
            with config.unlocked():
                config.update(changes)
                config.anatomical.run = str(self.runs / "au_image_loss")
        name = "anatomical" if anatomical else "no_anatomical"
        return Training("stage1", config, self.runs / f"stage1-{name}-seed{seed}")

    def stage2(self, model: Model, seed: int, rate: float) -> Training:
        """Returns the Stage II run of a model and a seed at a learning rate."""
        variant = f",ablation={model.ablation}" if model.ablation else ""
        config = self._config("stage2", variant, seed=seed)
        with config.unlocked():
            config.update(self.scale.stage2)
            config.optimizer.learning_rate = rate
            config.requires.stage1.run = str(self.stage1(seed, model.anatomical).folder)
            config.requires.au_probe.run = str(self.runs / "au_probe")
        folder = self.runs / f"stage2-{model.name}-rate{rate:g}-seed{seed}"
        return Training("stage2", config, folder)

    def sweep(self, input_name: str) -> list[Training]:
        """Returns one run for each rate; the input's other models take the best rate."""
        model = Model(INPUTS[input_name])
        return [self.stage2(model, 0, rate) for rate in self.scale.rates]

    def inputs(self) -> list[str]:
        """Returns the inputs of the study's models."""
        return list(dict.fromkeys(model.input for model in self.models()))

    def trainings(self, chosen: dict[str, float]) -> list[Training]:
        """Returns every run to train in its order, each run once.

        Args:
          chosen: learning rate of each input; an input that is not tuned yet takes the first rate
            of the sweep.
        """
        to_tune = [name for name in self.inputs() if name not in self.settled]
        found = [training for name in to_tune for training in self.sweep(name)]
        stage1 = [self.stage1(0, True)] if to_tune else []
        for seed in range(self.seeds):
            models = self.models_to_train(seed)
            stage1 += [self.stage1(seed, with_) for with_ in stages1(models)]
            for model in models:
                rate = chosen.get(model.input, self.scale.rates[0])
                found.append(self.stage2(model, seed, rate))
        found = [*stage1, *found]
        if found:
            found = [*self.recognizers(), *found]
        return list({training.folder: training for training in found}.values())

    def models_to_train(self, seed: int) -> list[Model]:
        """Returns the models that lack an evaluation of a seed."""
        found = [model for model, *_ in self.missing_evaluations(seed)]
        return list(dict.fromkeys(found))

    def missing_evaluations(self, seed: int) -> list[tuple[Model, int, str]]:
        """Returns the evaluations of a seed whose figures are not known from elsewhere."""
        found = [one for one in self.evaluations() if one[1] == seed]
        return [one for one in found if self.name(*one) not in self.known]

    def evaluations(self) -> list[tuple[Model, int, str]]:
        """Returns model, seed and split of every evaluation of the study."""
        splits = {model: ["test"] for model in self.models()}
        if 5 in self.tables:
            for ablation in INPUTS.values():
                splits[Model(ablation)] += ["unseen-held-out", "unseen-novel"]
        return [
            (model, seed, split)
            for seed in range(self.seeds)
            for model, of_model in splits.items()
            for split in of_model
        ]

    def evaluation_folder(self, model: Model, seed: int, split: str) -> Path:
        """Returns the folder of an evaluation."""
        return self.runs / "evaluations" / self.name(model, seed, split)

    @staticmethod
    def name(model: Model, seed: int, split: str) -> str:
        """Returns the name of an evaluation."""
        return f"{model.name}-seed{seed}-{split}"

    def _config(self, name: str, variant: str = "", *, seed: int | None = None) -> ConfigDict:
        """Loads a config of the preset for the study's data set."""
        config = load_config_file(self.configs / f"{name}.py", self.preset + variant)
        with config.unlocked():
            del config.preset_reason
            config.data.update(self.scale.data)
            config.data.dir = str(presets.data_folder(config.data))
            if seed is not None:
                config.seed = seed
        return config


def stages1(models: Sequence[Model]) -> list[bool]:
    """Returns the variants of Stage I that models need: True with the anatomical loss."""
    return list(dict.fromkeys(model.anatomical for model in models))


def listing(study: Study, chosen: dict[str, float]) -> Sequence[str]:
    """Lists every training and evaluation with its progress and, if measured, the minutes left.

    Args:
      study: the study.
      chosen: learning rate of each input that is tuned.
    """
    minutes, total, lines = study.scale.minutes, 0.0, []
    for training in study.trainings(chosen):
        share = 1 - training.steps_done / training.config.num_steps
        left = share * minutes.get(training.kind, 0.0)
        total += left
        about = f"{left:5.1f} min  " if minutes else ""
        lines.append(f"{about}{training.state:<20} {training.folder}")
    for evaluation in study.evaluations():
        folder = study.evaluation_folder(*evaluation)
        known = study.name(*evaluation) in study.known
        state = "known" if known else "done" if folder.exists() else "to do"
        left = minutes.get("evaluation", 0.0) if state == "to do" else 0.0
        total += left
        about = f"{left:5.1f} min  " if minutes else ""
        lines.append(f"{about}{state:<20} {folder}")
    unsettled = [name for name in study.inputs() if name not in chosen]
    if unsettled:
        lines.append(
            f"The learning rate of {' and '.join(unsettled)} is not tuned yet: runs named for "
            f"{study.scale.rates[0]:g} here may get another."
        )
    when = f"about {total / 60:.1f} hours left on two cores" if minutes else "times: not measured"
    return [*lines, when]
