"""What is scored: the records of a split, with all that the figures need of them."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int8, UInt8

from auface_jax import facs
from auface_jax.data.loading.collate import References
from auface_jax.data.loading.pipeline import record_text
from auface_jax.data.record import UNSEEN_HELD_OUT, UNSEEN_NOVEL, decode_image
from auface_jax.data.shards import ShardReader, read_info, read_test_list, split_names

# By the names of the command line.
SPLITS = {"test": "test", "unseen-held-out": UNSEEN_HELD_OUT, "unseen-novel": UNSEEN_NOVEL}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """M records of a data set.

    Attributes:
      data: folder of the data set; `info` is what its dataset.json holds.
      split: a key of `SPLITS`.
      limit, degrees, dictionary: as it was loaded, see `load_population`.
      places: of the records in the split.
      names: `Record.id` of each.
      subjects: the person in each.
      labels: 1 present, 0 absent, -1 not coded.
      texts: the one description of each, which says of uncoded units what it says of absent ones.
      reference: of each record's person.
      image: the real pictures; None where some record has none, in unseen-novel.
    """

    data: Path
    info: dict
    split: str
    limit: int | None
    degrees: bool
    dictionary: facs.Dictionary | None
    places: Int[np.ndarray, " M"]
    names: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: Int8[np.ndarray, "M A"]
    texts: tuple[str, ...]
    reference: UInt8[np.ndarray, "M S S 3"]
    image: UInt8[np.ndarray, "M S S 3"] | None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """S, pixels a side."""
        return self.info["size"]

    @property
    def asked(self) -> Int8[np.ndarray, "M A"]:
        """The units that the texts ask for, 0 or 1."""
        return np.maximum(self.labels, 0)

    @property
    def people(self) -> list[str]:
        """Every person once, in the order of the records."""
        return list(dict.fromkeys(self.subjects))

    def seen_test(self) -> "Population":
        """The test split of the same data set, loaded alike; itself where it is that."""
        if self.split == "test":
            return self
        return load_population(
            self.data,
            "test",
            limit=self.limit,
            degrees=self.degrees,
            dictionary=self.dictionary,
        )

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of the data set and of these records with their texts."""
        what = [self.info["fingerprint"], self.split, self.names, self.texts]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def __str__(self) -> str:
        rows = len(np.unique(self.asked, axis=0))
        return (
            f"{len(self):,} records of {len(self.people)} people with {rows} label rows, "
            f"{self.split} of {self.data}"
        )


def load_population(
    data: str | Path,
    split: str = "test",
    *,
    limit: int | None = None,
    degrees: bool = False,
    dictionary: facs.Dictionary | None = None,
) -> Population:
    """The records of a split; of test those of its list of samples.

    Args:
      data: a folder made by `data.build`.
      split: a key of `SPLITS`.
      limit: at most so many, evenly over the split.
      degrees: texts with a FACS degree word before each construct.
      dictionary: of the texts; None is the project's own.

    Raises:
      DatasetError: no data set there, or without this split.
      RecordError: a record or reference that cannot be read; none is left out.
      ValueError: an unknown split, or fewer than two records.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if limit is not None and limit < 2:
        raise ValueError(f"limit is {limit}; two records are the least that can be scored")
    data, name = Path(data), SPLITS[split]
    split_names(data, name)
    reader = ShardReader(data, name)
    places = np.arange(len(reader)) if split != "test" else np.array(read_test_list(data))
    if limit is not None and limit < len(places):
        places = places[np.linspace(0, len(places) - 1, limit).round().astype(int)]
    if len(places) < 2:
        raise ValueError(f"{split} of {data} has {len(places)} record(s); two are the least")
    records = [reader[place] for place in places.tolist()]
    references, size = References(data, name), reader.info["size"]
    pictured = all(record.image is not None for record in records)
    return Population(
        data=data,
        info=reader.info,
        split=split,
        limit=limit,
        degrees=degrees,
        dictionary=dictionary,
        places=places,
        names=tuple(record.id for record in records),
        subjects=tuple(record.subject for record in records),
        labels=np.stack([record.labels for record in records]),
        texts=tuple(record_text(record, dictionary, degrees=degrees) for record in records),
        reference=np.stack([references.get(record.subject, False) for record in records]),
        image=np.stack([decode_image(record, size) for record in records]) if pictured else None,
    )


def same_data(population: Population, data: str | Path) -> bool:
    """Whether the data set in `data` is the very one of `population`."""
    return read_info(data)["fingerprint"] == population.info["fingerprint"]
