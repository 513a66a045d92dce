"""Means of all seeds with intervals, and the page reproduction.md of them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from auface_jax.reproduction import paper
from auface_jax.reproduction.plan import COMPONENTS, INPUTS, TABLES, Model, Study
from auface_jax.reproduction.results import StudyResults
from auface_jax.reproduction.scores import OPPOSED
from auface_jax.reproduction.tuning import Trial
from auface_jax.runs.markdown import table

COLUMNS = ("AAAD", "AAAD-chance", "AAAD, text reader", "AU-F1")
OF_OPPOSED = tuple(f"{name}, {OPPOSED}" for name in ("AAAD", "AAAD-chance", "AU-F1"))
OF_OPPOSED += ("both shown",)
DECIDING = ("AAAD", "AU-F1", OF_OPPOSED[0])  # figures that comparisons of two models report
SPLITS = {
    "test": "combinations of training, other people",
    "unseen-held-out": "combinations held out of training",
    "unseen-novel": "combinations that are in no picture",
}
TITLES = {
    "text": "VQ-AUFace",
    "labels": "labels in place of the text",
    "no_structure": "without T_S",
    "no_appearance": "without T_A",
    "no_reference": "without T_V",
    "no_face": "without all three",
}


@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
      value: the mean.
      half: half of its 95 % interval (Student's t); None for a single seed.
      count: number of seeds.
    """

    value: float
    half: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f}" + ("" if self.half is None else f" ± {self.half:.3f}")

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of zero, else 0."""
        if self.half is None or abs(self.value) <= self.half:
            return 0
        return 1 if self.value > 0 else -1


def mean_of(values: Sequence[float]) -> Mean:
    """Computes the mean of at least one value, one a seed."""
    values = np.asarray(values, np.float64)
    half = None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Mean(float(values.mean()), half, len(values))


@dataclasses.dataclass(frozen=True)
class Summary:
    """Figures of a study over its seeds.

    Attributes:
      study: the study.
      results: its known results.
    """

    study: Study
    results: StudyResults

    def seeds(self, model: Model, name: str, split: str = "test") -> list[float] | None:
        """Returns a figure of each seed; None unless all seeds have it."""
        found = [self._scores(model, seed, split).get(name) for seed in range(self.study.seeds)]
        return None if None in found else found

    def mean(self, model: Model, name: str, split: str = "test") -> Mean | None:
        """Returns the mean of a figure over seeds; None unless all seeds have it."""
        values = self.seeds(model, name, split)
        return values and mean_of(values)

    def difference(self, model: Model, other: Model, name: str) -> Mean | None:
        """Returns the mean difference of two models, which share Stage I or its seed."""
        values, others = self.seeds(model, name), self.seeds(other, name)
        if values is None or others is None:
            return None
        return mean_of(np.subtract(values, others))

    def columns(self, split: str = "test") -> list[str]:
        """Returns the names of `COLUMNS` and of distances that the full model has figures of."""
        found = self._scores(Model(), 0, split)
        distances = [name for name in found if name.startswith(("FID", "KID", "IS", "LPIPS"))]
        return [name for name in COLUMNS if name in found] + distances

    def _scores(self, model: Model, seed: int, split: str) -> dict[str, float]:
        return self.results.scores[self.study.name(model, seed, split)]


def title(model: Model) -> str:
    """Returns the title of a model in tables."""
    name = TITLES[model.ablation or "text"]
    return name if model.anatomical else f"{name}, no anatomical loss"


def markdown(study: Study, results: StudyResults, tuned: dict[str, Trial]) -> str:
    """Formats the whole page except the figures."""
    summary = Summary(study, results)
    parts = ["# The paper's tables on open faces", _preamble(study, results.about)]
    if 2 in study.tables:
        parts += _text_or_labels(summary, tuned)
    if 5 in study.tables:
        parts += _unseen(summary)
    if 6 in study.tables:
        parts += _components(summary)
    parts += ["## Floors", _floors(results.about["floors"])]
    return "\n\n".join(parts) + "\n"


def _preamble(study: Study, about: dict) -> str:
    p = about["population"]
    stage2 = study.stage2(Model(), 0, study.scale.rates[0]).config
    seeds = "1 seed" if study.seeds == 1 else f"{study.seeds} seeds"
    tables = ",".join(map(str, study.tables))
    return (
        f"    python -m auface_jax.reproduce --tables {tables} --preset {study.preset}"
        f" --seeds {study.seeds}\n\n"
        f"Drawn faces, {p['size']} px: {p['records']} records of {p['people']} people that no "
        f"training saw. Every model was trained for {stage2.num_steps:,} steps of "
        f"{stage2.batch_size}, with {seeds} of Stage I and Stage II; all were scored by the "
        f"recogniser `{about['scorer']}`, which no training read. AAAD is that against the "
        "labels. ± is half of a 95 % interval over seeds (Student's t, so that three seeds give "
        "wide ones); differences are taken seed by seed. Columns headed *paper* are of BP4D, "
        "another population: compare directions, not figures."
    )


def _text_or_labels(summary: Summary, tuned: dict[str, Trial]) -> list[str]:
    models = [Model(), Model("labels")]
    study, trials = summary.study, summary.results.trials
    columns, of_paper = summary.columns(), [f"*paper* {name}" for name in paper.COLUMNS]
    rows = [
        [title(model), *_figures(summary, model, columns), *_of_paper(model.name)]
        for model in models
    ]
    rows += [[name, *["–"] * len(columns), *_of_paper(name)] for name in paper.OTHER_SYSTEMS]
    opposed = [[title(model), *_figures(summary, model, OF_OPPOSED)] for model in models]
    sweep = [
        [
            title(Model(INPUTS[name])),
            *(
                next(f"{t.au_f1:.3f}" for t in trials[name] if (t.rate, t.guidance) == pair)
                for pair in _pairs(study)
            ),
            f"{tuned[name].rate:g}, {tuned[name].guidance:g}",
        ]
        for name in study.inputs()
    ]
    gap = paper.aaad("text") - paper.aaad("labels")
    return [
        f"## Table 2: {TABLES[2]}",
        table(["", *columns, *of_paper], rows),
        "The other systems are the paper's own trials and were not run here.",
        "Records whose labels have two opposed units (1–4, 2–4, 12–15, 12–23, 12–24), on the "
        "same scale; *both shown* is the share of the records asked for one of the paper's six "
        "conflicting sets in which every opposed unit is read:",
        table(["", *OF_OPPOSED], opposed),
        _verdict(summary, Model(), Model("labels"), "Texts", "labels"),
        f"In the paper texts are {gap:.3f} of AAAD ahead of labels.",
        "Both inputs were tuned alike: these learning rates and scales of guidance, one run a rate "
        "with seed 0, macro F1 of the probe on pictures of validation people:",
        table(["", *(f"{rate:g}, {scale:g}" for rate, scale in _pairs(study)), "taken"], sweep),
    ]


def _unseen(summary: Summary) -> list[str]:
    columns, rows = summary.columns("unseen-novel"), []
    for model in (Model(), Model("labels")):
        for split, words in SPLITS.items():
            published = {"test": model.name, "unseen-novel": "unseen"}.get(split)
            if model.ablation and split != "test":
                published = None  # the paper has unseen combinations for texts alone
            aaad = "–" if published is None else f"{paper.aaad(published):.3f}"
            row = [title(model), words, *_figures(summary, model, columns, split), aaad]
            rows.append(row)
    ahead = paper.aaad("unseen") - paper.aaad("text")
    return [
        f"## Table 5: {TABLES[5]}",
        table(["", "AU combinations", *columns, "*paper* AAAD"], rows),
        "C_min and C_max are those of the test set in every row. Novel combinations are richer and "
        "rarer than the data's, and no picture shows them: FID and KID are against the test set's.",
        f"In the paper unseen combinations get {ahead:+.3f} of AAAD beside those of its test set.",
    ]


def _components(summary: Summary) -> list[str]:
    columns = summary.columns()
    rows, verdicts = [], []
    for anatomical in (True, False):
        full = Model(anatomical=anatomical)
        for model in (full, *(Model(name, anatomical) for name in COMPONENTS)):
            difference = "" if model == full else _shown(summary.difference(model, full, "AAAD"))
            published = f"{paper.aaad(model.name):.3f}"
            change = paper.aaad(model.name) - paper.aaad(full.name)
            rows.append(
                [
                    title(model),
                    *_figures(summary, model, columns),
                    difference,
                    published,
                    "" if model == full else f"{change:+.3f}",
                ]
            )
            if model != full:
                verdicts.append(_verdict(summary, full, model, title(full), title(model)))
    with_loss, without = Model(), Model(anatomical=False)
    verdicts.append(_verdict(summary, with_loss, without, "The anatomical loss in Stage I", "none"))
    header = ["", *columns, "AAAD to the full one", "*paper* AAAD", "*paper*, to the full one"]
    return [
        f"## Table 6: {TABLES[6]}",
        table(header, rows),
        "\n".join(f"- {verdict}" for verdict in verdicts),
    ]


def _floors(floors: Sequence[dict]) -> str:
    names = [("AAAD", "AAAD (labels)"), ("AAAD-chance", "AAAD-chance (labels)"), ("AU-F1",) * 2]
    rows = [
        [row["answer"], *(f"{row[key]:.3f}" if key in row else "–" for _, key in names)]
        for row in floors
    ]
    return "Figures of answers that owe nothing to a model:\n\n" + table(
        ["", *(name for name, _ in names)], rows
    )


def _verdict(summary: Summary, first: Model, second: Model, ours: str, theirs: str) -> str:
    """Says which of two models is ahead in which figure, as far as the seeds tell."""
    findings = []
    for name in DECIDING:
        found = summary.difference(first, second, name)
        if found is None:
            continue
        if found.half is None:
            words = "one seed tells no difference"
        else:
            words = {1: "ahead", -1: "behind", 0: "no clear difference"}[found.sign]
        findings.append(
            f"{name} {found.value:+.3f}"
            + ("" if found.half is None else f" ± {found.half:.3f}")
            + f" ({words})"
        )
    return f"{ours} against {theirs}: {'; '.join(findings)}."


def _pairs(study: Study) -> list[tuple[float, float]]:
    return [(rate, scale) for rate in study.scale.rates for scale in study.scale.guidances]


def _figures(
    summary: Summary, model: Model, columns: Sequence[str], split: str = "test"
) -> list[str]:
    return [_shown(summary.mean(model, name, split)) for name in columns]


def _of_paper(name: str) -> list[str]:
    return [f"{value:.3f}" for value in paper.FIGURES[name]]


def _shown(found: Mean | None) -> str:
    return "–" if found is None else str(found)


def write_page(path: Path, text: str) -> None:
    """Writes the page, and makes its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
