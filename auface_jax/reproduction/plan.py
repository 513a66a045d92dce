"""The runs that the tables take: recognisers, two Stage I a seed, Stage II in its variants.

Everything is trained on one data set, in folders named for what they hold, so that a command that
was stopped goes on where it was, and one for another table finds what an earlier one trained.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from auface_jax.runs import checkpoints, presets
from auface_jax.runs.run_config import load_config_file

TABLES = {
    2: "Texts against labels",
    5: "Label rows that training never saw",
    6: "What the reference's tokens and the anatomical loss are worth",
}
# Inputs that are compared with each other: the ablation of configs/stage2.py that gives each.
INPUTS = {"text": "", "labels": "labels"}
COMPONENTS = ("no_structure", "no_appearance", "no_reference", "no_face")
RECOGNIZERS = ("au_probe", "au_image", "au_image_loss", "au_text")


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset's reproduction amounts to.

    Attributes:
      data: changes to its data set: so many test people that they have the samples, and label rows
        that training never sees.
      stage2: changes to its Stage II, the same for every model.
      rates: learning rates of the sweep; guidances: scales of guidance that each is drawn with.
      tuning_pictures: drawn of validation people for each of these.
      minutes: what a training of each config takes; none where nobody has measured it.
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
        # On two cores, start to end, with the held-out figures that each ends with.
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
      ablation: "" or one of those of configs/stage2.py.
      anatomical: whether its Stage I has the anatomical loss.
    """

    ablation: str = ""
    anatomical: bool = True

    @property
    def name(self) -> str:
        return (self.ablation or "text") + ("" if self.anatomical else "-no_anatomical")

    @property
    def input(self) -> str:
        """A key of `INPUTS`, whose tuning it shares."""
        return "labels" if self.ablation == "labels" else "text"


@dataclasses.dataclass(frozen=True)
class Training:
    """A run: the config's file, the whole config, and its folder."""

    kind: str
    config: ConfigDict
    folder: Path

    @property
    def steps_done(self) -> int:
        """All of them once it is finished, else those of its last checkpoint."""
        if checkpoints.has_export(self.folder):
            return self.config.num_steps
        saved = (self.folder / "checkpoints").glob("[0-9]*")
        steps = [int(path.name) for path in saved if path.name.isdigit()]
        return min(max(steps, default=0), self.config.num_steps - 1)

    @property
    def state(self) -> str:
        done, total = self.steps_done, self.config.num_steps
        return "done" if done == total else f"at step {done} of {total}" if done else "to do"


@dataclasses.dataclass(frozen=True)
class Study:
    """All of a reproduction.

    Attributes:
      preset: of the config files.
      scale: what that preset amounts to, of `SCALES`.
      tables: of `TABLES`.
      seeds: how many; seed 0 is that of the sweep.
      samples: records that each model is scored on, at most.
      runs: the folder of all runs and evaluations.
      configs: the folder of the config files.
      at_hand: evaluations, by name, whose figures are known from elsewhere; settled: inputs whose
        sweep is. Nothing is trained for either.
    """

    preset: str
    scale: Scale
    tables: tuple[int, ...]
    seeds: int
    samples: int
    runs: Path
    configs: Path
    at_hand: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()

    def models(self) -> list[Model]:
        """The models of the tables that are asked for, the full one first."""
        found = [Model()]
        if {2, 5} & set(self.tables):
            found.append(Model("labels"))
        if 6 in self.tables:
            found += [Model(name) for name in COMPONENTS]
            found += [Model(name, anatomical=False) for name in ("", *COMPONENTS)]
        return found

    def recognizers(self) -> list[Training]:
        """The probe, the judge, that of the anatomical loss, and the reader of texts."""
        return [Training(name, self._config(name), self.runs / name) for name in RECOGNIZERS]

    def stage1(self, seed: int, anatomical: bool) -> Training:
        """Stage I of a seed, with or without its anatomical loss."""
        config = self._config("stage1", seed=seed)
        if anatomical:
            changes = self._config("stage2", ",anatomical=on").requires.stage1.changes
            with config.unlocked():
                config.update(changes)
                config.anatomical.run = str(self.runs / "au_image_loss")
        name = "anatomical" if anatomical else "no_anatomical"
        return Training("stage1", config, self.runs / f"stage1-{name}-seed{seed}")

    def stage2(self, model: Model, seed: int, rate: float) -> Training:
        """Stage II of a model and seed at a learning rate."""
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
        """One run for each learning rate; the others of that input take the best."""
        model = Model(INPUTS[input_name])
        return [self.stage2(model, 0, rate) for rate in self.scale.rates]

    def inputs(self) -> list[str]:
        """The inputs to tune."""
        return list(dict.fromkeys(model.input for model in self.models()))

    def trainings(self, chosen: dict[str, float]) -> list[Training]:
        """Every run that is to be trained, in order, each once.

        Args:
          chosen: the learning rate of each input; the first of the sweep stands for one that is
            not settled yet.
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
        """Those with an evaluation of that seed that is not at hand."""
        found = [model for model, *_ in self.missing_evaluations(seed)]
        return list(dict.fromkeys(found))

    def missing_evaluations(self, seed: int) -> list[tuple[Model, int, str]]:
        """Those of a seed that are not at hand."""
        found = [one for one in self.evaluations() if one[1] == seed]
        return [one for one in found if self.name(*one) not in self.at_hand]

    def evaluations(self) -> list[tuple[Model, int, str]]:
        """(model, seed, split) of everything that is scored."""
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
        return self.runs / "evaluations" / self.name(model, seed, split)

    @staticmethod
    def name(model: Model, seed: int, split: str) -> str:
        """An evaluation's."""
        return f"{model.name}-seed{seed}-{split}"

    def _config(self, name: str, variant: str = "", *, seed: int | None = None) -> ConfigDict:
        """A config of the preset on the study's data."""
        config = load_config_file(self.configs / f"{name}.py", self.preset + variant)
        with config.unlocked():
            del config.preset_reason
            config.data.update(self.scale.data)
            config.data.dir = str(presets.data_folder(config.data))
            if seed is not None:
                config.seed = seed
        return config


def stages1(models: Sequence[Model]) -> list[bool]:
    """Whether the anatomical loss is in each Stage I that these models are built on."""
    return list(dict.fromkeys(model.anatomical for model in models))


def listing(study: Study, chosen: dict[str, float]) -> Sequence[str]:
    """Every training and evaluation with its state and, where that is known, the minutes left."""
    minutes, total, lines = study.scale.minutes, 0.0, []
    for training in study.trainings(chosen):
        share = 1 - training.steps_done / training.config.num_steps
        left = share * minutes.get(training.kind, 0.0)
        total += left
        about = f"{left:5.1f} min  " if minutes else ""
        lines.append(f"{about}{training.state:<20} {training.folder}")
    for evaluation in study.evaluations():
        folder = study.evaluation_folder(*evaluation)
        at_hand = study.name(*evaluation) in study.at_hand
        state = "at hand" if at_hand else "done" if folder.exists() else "to do"
        left = minutes.get("evaluation", 0.0) if state == "to do" else 0.0
        total += left
        about = f"{left:5.1f} min  " if minutes else ""
        lines.append(f"{about}{state:<20} {folder}")
    unsettled = [name for name in study.inputs() if name not in chosen]
    if unsettled:
        lines.append(
            f"The learning rate of {' and '.join(unsettled)} is not settled yet: runs named for "
            f"{study.scale.rates[0]:g} here may bear another."
        )
    when = f"about {total / 60:.1f} hours left on two cores" if minutes else "times: not measured"
    return [*lines, when]
