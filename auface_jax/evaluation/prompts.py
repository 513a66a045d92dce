"""A folder of prompts for any other system, and the pictures that it made of them.

    prompts.json          the data set, the split, and fingerprints to detect changes
    manifest.csv          name, image (file to write), text and reference (files), subject, record
    labels.csv            name, AU1 … AU24: 1 present, 0 absent, -1 not coded
    texts/NAME.txt        the description, UTF-8
    references/….png      the face to begin with, one a person
    dictionary.json       dictionary of the texts, where it is not the project's own

The outside system writes one picture for each line of the manifest, NAME.png (or .jpg, .webp,
.bmp …), into a folder of its own. The evaluation requires all of these pictures and no others: a
mean over some of them describes another population.
"""

import collections
import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from auface_jax.evaluation.population import Population, load_population
from auface_jax.facs import AU_NUMBERS, Dictionary, load_dictionary
from auface_jax.facs.descriptions import SCHEMA_VERSION
from auface_jax.images.files import ImageFileError, central_square, read_rgb, save_png
from auface_jax.images.frames import PICTURES

FORMAT_VERSION = 1
_DESCRIPTION, _MANIFEST, _DICTIONARY = "prompts.json", "manifest.csv", "dictionary.json"
_SHOWN = 20  # faults of each kind that a message lists; `PicturesError.faults` has all of them


class PromptsError(ValueError):
    """A folder of prompts cannot be written, or was changed since it was written."""


class PicturesError(ValueError):
    """Pictures of an outside system are not exactly those that the prompts ask for.

    Attributes:
      faults: kind of fault -> one line for each picture that has it.
    """

    def __init__(self, folder: Path, faults: dict[str, list[str]], expected: int):
        self.faults = faults
        lines = [f"{folder}: nothing is scored, because not all {expected} pictures are right"]
        for kind, of_kind in faults.items():
            lines.append(f"{len(of_kind)} {kind}:")
            lines += [f"  {line}" for line in of_kind[:_SHOWN]]
            if len(of_kind) > _SHOWN:
                lines.append(f"  … and {len(of_kind) - _SHOWN} more")
        super().__init__("\n".join(lines))

    @property
    def listing(self) -> str:
        """All faults, one a line."""
        return "".join(
            f"{kind}: {line}\n" for kind, of_kind in self.faults.items() for line in of_kind
        )


def prompt_names(population: Population) -> list[str]:
    """Returns the name of each record's files, without suffix."""
    return [f"{number:05d}" for number in range(len(population))]


def export_prompts(population: Population, out: str | Path) -> Path:
    """Writes the prompts of a population into the folder `out` and returns it.

    Raises:
      PromptsError: `out` already exists and is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PromptsError(f"{out} exists and is not empty; name another folder or remove it")
    (out / "texts").mkdir(parents=True)
    references = {}
    for number, person in enumerate(population.people):
        references[person] = f"references/person{number:05d}.png"
        first = population.subjects.index(person)
        face = Image.fromarray(population.reference[first])
        save_png(face, out / references[person], subject=person)
    rows, labels = [], []
    for index, name in enumerate(prompt_names(population)):
        text = f"texts/{name}.txt"
        (out / text).write_text(population.texts[index] + "\n", encoding="utf-8")
        person = population.subjects[index]
        record = population.record_ids[index]
        rows.append((name, f"{name}.png", text, references[person], person, record))
        labels.append((name, *population.labels[index].tolist()))
    header = ("name", "image", "text", "reference", "subject", "record")
    _write_csv(out / _MANIFEST, header, rows)
    _write_csv(out / "labels.csv", ("name", *(f"AU{n}" for n in AU_NUMBERS)), labels)
    if population.dictionary is not None:
        _write_dictionary(out / _DICTIONARY, population.dictionary)
    description = {
        "format_version": FORMAT_VERSION,
        "data": str(population.data),
        "data_fingerprint": population.info["fingerprint"],
        "split": population.split,
        "limit": population.limit,
        "degrees": population.degrees,
        "dictionary": None if population.dictionary is None else _DICTIONARY,
        "size": population.size,
        "pictures": len(population),
        "population": population.fingerprint,
        "manifest_sha256": _digest(out / _MANIFEST),
    }
    (out / _DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")  # written last
    return out


def load_prompts(prompts: str | Path, data: str | Path | None = None) -> Population:
    """Loads the records that a folder of prompts was written for.

    Args:
      prompts: folder of the prompts.
      data: folder of the data set; None takes the folder that the prompts name.

    Raises:
      PromptsError: the folder holds no prompts, its manifest was changed, or the data set is not
        the one that the prompts were written for.
      DictionaryError: the folder's dictionary is damaged.
      FileNotFoundError: the folder's dictionary is missing.
    """
    prompts = Path(prompts)
    path = prompts / _DESCRIPTION
    try:
        about = json.loads(path.read_text())
        version = about["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PromptsError(
            f"{prompts} is no complete folder of prompts ({_DESCRIPTION}: {error}); write one with "
            "python -m auface_jax.evaluate export-prompts --data DIR --out PROMPTS"
        ) from error
    if version != FORMAT_VERSION:
        raise PromptsError(f"{path} has format {version!r}, this version reads {FORMAT_VERSION}")
    manifest = prompts / _MANIFEST
    if not manifest.is_file() or _digest(manifest) != about["manifest_sha256"]:
        raise PromptsError(
            f"{manifest} was changed since it was written; restore it, or export the prompts again"
        )
    dictionary = about["dictionary"]
    population = load_population(
        data or about["data"],
        about["split"],
        limit=about["limit"],
        degrees=about["degrees"],
        dictionary=load_dictionary(prompts / dictionary) if dictionary else None,
    )
    if population.fingerprint != about["population"]:
        raise PromptsError(
            f"{prompts} was written for the data set {about['data_fingerprint'][:12]}, and "
            f"{population.data} is {population.info['fingerprint'][:12]} or has other texts now; "
            "name the right one with --data, or export the prompts again"
        )
    return population


def read_pictures(
    population: Population, folder: str | Path, *, resize: bool = False
) -> UInt8[np.ndarray, "M S S 3"]:
    """Reads an outside system's pictures, in the order of the records.

    Files whose suffix is not that of a picture are ignored.

    Args:
      population: the records that the pictures were made for.
      folder: folder with a picture for each line of the manifest, and no other picture.
      resize: whether to accept, and resize, square pictures of one other size.

    Raises:
      PicturesError: pictures are missing, there twice, not asked for, unreadable or of another
        size; the message lists all of them.
      PromptsError: `folder` is not a folder.
    """
    folder, names = Path(folder), prompt_names(population)
    if not folder.is_dir():
        raise PromptsError(f"{folder} is not a folder; name the one that holds the pictures")
    files: dict[str, list[Path]] = collections.defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES:
            files[path.stem].append(path)
    faults: dict[str, list[str]] = collections.defaultdict(list)
    known = set(names)
    for stem in files:
        if stem not in known:
            faults["not asked for"] += [path.name for path in files[stem]]
    size, sizes = population.size, {}
    made = np.zeros((len(names), size, size, 3), np.uint8)
    for index, (name, record) in enumerate(zip(names, population.record_ids, strict=True)):
        found = files.get(name, [])
        if not found:
            faults["missing"].append(f"{name}.png ({record})")
        elif len(found) > 1:
            faults["there more than once"].append(" and ".join(path.name for path in found))
        else:
            try:
                image = read_rgb(found[0])
            except ImageFileError as error:
                faults["unreadable"].append(str(error))
                continue
            sizes[name] = image.shape[1::-1]
            if resize:  # now, because thousands of large pictures do not fit in memory
                image = central_square(image, size)
            if image.shape == made.shape[1:]:
                made[index] = image
    _check_sizes(sizes, size, resize, faults)
    if faults:
        raise PicturesError(folder, dict(faults), len(names))
    return made


def _check_sizes(
    sizes: dict[str, tuple[int, int]], size: int, resize: bool, faults: dict[str, list[str]]
) -> None:
    """Adds a fault for each picture whose size is not the data set's or, to resize, most's."""
    expected, why = (size, size), "the data set's; --resize accepts squares of one other size"
    if resize and sizes:
        expected = collections.Counter(sizes.values()).most_common(1)[0][0]
        expected, why = (max(expected), max(expected)), "a square of most pictures' size"
    faults_of_size = [
        f"{name}: {width} x {height} px, expected {expected[0]} x {expected[1]} ({why})"
        for name, (width, height) in sizes.items()
        if (width, height) != expected
    ]
    if faults_of_size:
        faults["of another size"] += faults_of_size


def _write_csv(path: Path, header: tuple, rows: list[tuple]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _write_dictionary(path: Path, dictionary: Dictionary) -> None:
    """Writes a dictionary in the format that `facs.load_dictionary` reads."""
    content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(dictionary)}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
