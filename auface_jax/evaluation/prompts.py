"""A folder of prompts for any other system, and the pictures that it made of them.

    prompts.json          the data set, the split, and how to make sure that nothing changed
    manifest.csv          name, image (what to write), text and reference (files), subject, record
    labels.csv            name, AU1 … AU24: 1 present, 0 absent, -1 not coded
    texts/NAME.txt        the description, UTF-8
    references/….png      the face to begin with, one a person
    dictionary.json       where the texts are not of the project's own dictionary: theirs

The outside system writes a picture NAME.png a line of the manifest (or .jpg, .webp, .bmp …) into
a folder of its own. Scoring wants them all and nothing else: a mean over those that happened to
come out is a figure about another population.
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
_SHOWN = 20  # faults of a kind that a message lists; all of them are in `PicturesError.faults`


class PromptsError(ValueError):
    """A folder of prompts that cannot be written, or is not what was written."""


class PicturesError(ValueError):
    """Pictures that are not exactly those asked for.

    Attributes:
      faults: kind of fault -> a line for each picture it befell.
    """

    def __init__(self, folder: Path, faults: dict[str, list[str]], expected: int):
        self.faults = faults
        lines = [f"{folder}: nothing is scored, since not all {expected} pictures are right"]
        for kind, of_kind in faults.items():
            lines.append(f"{len(of_kind)} {kind}:")
            lines += [f"  {line}" for line in of_kind[:_SHOWN]]
            if len(of_kind) > _SHOWN:
                lines.append(f"  … and {len(of_kind) - _SHOWN} more")
        super().__init__("\n".join(lines))

    @property
    def listing(self) -> str:
        """Every fault, a line each."""
        return "".join(
            f"{kind}: {line}\n" for kind, of_kind in self.faults.items() for line in of_kind
        )


def prompt_names(population: Population) -> list[str]:
    """What the files of each record are called, without suffix."""
    return [f"{number:05d}" for number in range(len(population))]


def export_prompts(population: Population, out: str | Path) -> Path:
    """Writes the folder `out`, and returns it.

    Raises:
      PromptsError: `out` exists and is not empty.
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
    for row, name in enumerate(prompt_names(population)):
        text = f"texts/{name}.txt"
        (out / text).write_text(population.texts[row] + "\n", encoding="utf-8")
        person = population.subjects[row]
        record = population.names[row]
        rows.append((name, f"{name}.png", text, references[person], person, record))
        labels.append((name, *population.labels[row].tolist()))
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
    (out / _DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")  # last: complete
    return out


def load_prompts(prompts: str | Path, data: str | Path | None = None) -> Population:
    """The records that a folder of prompts was written for.

    Args:
      prompts: the folder.
      data: where the data set is now; None looks where it was.

    Raises:
      PromptsError: not such a folder, its manifest was changed, or the data set is another.
      DictionaryError, FileNotFoundError: its dictionary was damaged or taken away.
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
            f"{manifest} is not as it was written; export the prompts again, or bring it back"
        )
    dictionary = about.get("dictionary")  # folders of earlier versions have none
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
    """An outside system's pictures, in the order of the records.

    Files that are no pictures by their suffix are not looked at.

    Args:
      folder: holds a picture named for each line of the manifest, and no other picture.
      resize: squares of one other size are taken too, and resized.

    Raises:
      PicturesError: pictures are missing, there twice, not asked for, unreadable or of another
        size; lists all of them.
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
    for place, (name, record) in enumerate(zip(names, population.names, strict=True)):
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
            if resize:  # at once: thousands of large pictures do not fit in memory
                image = central_square(image, size)
            if image.shape == made.shape[1:]:
                made[place] = image
    _check_sizes(sizes, size, resize, faults)
    if faults:
        raise PicturesError(folder, dict(faults), len(names))
    return made


def _check_sizes(
    sizes: dict[str, tuple[int, int]], size: int, resize: bool, faults: dict[str, list[str]]
) -> None:
    """Adds the pictures whose width and height are not those of most, or of the data set."""
    expected, why = (size, size), "the data set's; --resize takes squares of one other size"
    if resize and sizes:
        expected = collections.Counter(sizes.values()).most_common(1)[0][0]
        expected, why = (max(expected), max(expected)), "a square as most"
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
    """Writes what `facs.load_dictionary` reads."""
    content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(dictionary)}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
