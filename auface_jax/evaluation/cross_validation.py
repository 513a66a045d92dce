"""Cross-validation of a recogniser: one training for each fold of people, scored on that fold."""

import pathlib
from collections.abc import Mapping, Sequence

import ml_collections
import numpy as np

from auface_jax.data import shards
from auface_jax.data.loading import chosen_people
from auface_jax.facs import AU_NUMBERS
from auface_jax.runs.console import say
from auface_jax.training import loop

# Test people of the three folds of BP4D's 41 people. A data set built of BP4D calls them
# "BP4D-F001" and so on.
BP4D_FOLDS = (
    "F007 F015 F006 F019 M006 M009 F012 M003 F004 F021 F017 M015 F014",
    "M011 F003 M010 M002 F005 F022 M018 M017 F013 M016 F020 F011 M013 M005",
    "F001 M007 F018 F008 F002 M004 F010 F009 M012 M001 F016 M014 F023 M008",
)
# Mean F1 in % over the three folds that Luo et al. (2022) published.
PUBLISHED = {"ME-GraphAU, ResNet-50": 64.7, "ME-GraphAU, Swin-B": 65.5}


def read_folds(path: str) -> list[list[str]]:
    """Reads the people of each fold.

    Args:
      path: file with one fold a line; "" for the folds of BP4D.

    Raises:
      shards.DatasetError: there are fewer than two folds, or a person is in two of them.
    """
    if path:
        lines = pathlib.Path(path).read_text().splitlines()
        folds = [chosen_people.parse_people(line) for line in lines if line.strip()]
    else:
        folds = [[f"BP4D-{person}" for person in fold.split()] for fold in BP4D_FOLDS]
    everybody = [person for fold in folds for person in fold]
    twice = sorted({person for person in everybody if everybody.count(person) > 1})
    if len(folds) < 2 or twice:
        raise shards.DatasetError(
            f"{path or 'the folds'}: {len(folds)} folds, at least 2 are needed; "
            f"people in two folds: {', '.join(twice) or 'none'}"
        )
    return folds


def check_data(directory: str, folds: Sequence[Sequence[str]]) -> None:
    """Checks that a data set has all people of the folds, and all pictures of these people.

    A build that holds out AU combinations leaves their pictures out of the people's records, so
    that F1 on the rest would not compare with published scores.

    Raises:
      shards.DatasetError: people are missing, or the build held out AU combinations.
    """
    info = shards.read_info(directory)
    chosen_people.check_people(directory, info, [person for fold in folds for person in fold])
    if share := info["options"]["held_out_rows"]:
        raise shards.DatasetError(
            f"{directory} was built with --held-out-rows {share}: the pictures of the AU "
            "combinations held out are missing from its people; for folds, build a set without "
            "that option"
        )


def cross_validate(
    config: ml_collections.ConfigDict, folds: Sequence[Sequence[str]], workdir: pathlib.Path
) -> dict[str, list[float]]:
    """Trains and scores a recogniser for each fold.

    Args:
      config: config of the recogniser.
      folds: test people of each fold.
      workdir: folder of the runs `fold1`, `fold2` and so on.

    Returns:
      Name of a unit, or "mean" -> F1 of each fold.
    """
    results = []
    for number, test in enumerate(folds, 1):
        of_fold = config.copy_and_resolve_references()
        with of_fold.unlocked():
            of_fold.people.test = " ".join(test)
            of_fold.people.train = " ".join(p for fold in folds if fold is not test for p in fold)
            of_fold.people.half = ""
        say(f"fold {number} of {len(folds)}: tested on {len(test)} people")
        results.append(loop.train(of_fold.lock(), workdir / f"fold{number}"))
    names = [f"AU{number}" for number in AU_NUMBERS]
    scores = {name: [result[f"eval/au_f1_{name}"] for result in results] for name in names}
    return scores | {"mean": [result["eval/au_f1"] for result in results]}


def score_table(scores: Mapping[str, Sequence[float]], *, bp4d: bool) -> str:
    """Formats scores in percent, one unit a line.

    Args:
      scores: name -> F1 of each fold, from `cross_validate`.
      bp4d: whether to add the means that were published for BP4D.
    """
    folds = len(scores["mean"])
    lines = ["F1 in %   " + "".join(f"  fold {n + 1}" for n in range(folds)) + "     all"]
    for name, values in scores.items():
        shown = "".join(f"{100 * value:8.1f}" for value in (*values, np.mean(values)))
        lines.append(f"{name:<10}{shown}")
    if bp4d:
        lines += [f"{name}: {value}" for name, value in PUBLISHED.items()]
    return "\n".join(lines)
