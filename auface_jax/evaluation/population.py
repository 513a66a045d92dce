"""The records of a split that an evaluation scores, with their texts and pictures."""

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

# Name on the command line -> name of the split.
SPLITS = {"test": "test", "unseen-held-out": UNSEEN_HELD_OUT, "unseen-novel": UNSEEN_NOVEL}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """M records of a data set.

    Attributes:
      data: folder of the data set.
      info: contents of its dataset.json.
      split: key of `SPLITS`.
      limit: argument of `load_population`, as are `degrees` and `dictionary`.
      degrees: see `limit`.
      dictionary: see `limit`.
      split_indices: index of each record in the split.
      record_ids: `Record.id` of each record.
      subjects: the person in each record.
      labels: 1 where a unit is present, 0 where it is absent, -1 where it is not coded.
      texts: one description of each record; it treats uncoded units as absent.
      reference: reference face of each record's person.
      image: real picture of each record; None where a record has none, as in unseen-novel.
    """

    data: Path
    info: dict
    split: str
    limit: int | None
    degrees: bool
    dictionary: facs.Dictionary | None
    split_indices: Int[np.ndarray, " M"]
    record_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: Int8[np.ndarray, "M A"]
    texts: tuple[str, ...]
    reference: UInt8[np.ndarray, "M S S 3"]
    image: UInt8[np.ndarray, "M S S 3"] | None

    def __len__(self) -> int:
        return len(self.record_ids)

    @property
    def size(self) -> int:
        """Pixels a side of all pictures."""
        return self.info["size"]

    @property
    def asked(self) -> Int8[np.ndarray, "M A"]:
        """Units that the texts ask for, 0 or 1."""
        return np.maximum(self.labels, 0)

    @property
    def people(self) -> list[str]:
        """All people, each once, in the order of the records."""
        return list(dict.fromkeys(self.subjects))

    def seen_test(self) -> "Population":
        """Loads the test split of the same data set with the same options; self if it is that.

        Test records that were told label vectors of their own have no pictures, and are not it.
        """
        if self.split == "test" and self.image is not None:
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
        content = [self.info["fingerprint"], self.split, self.record_ids, self.texts]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def __str__(self) -> str:
        combinations = len(np.unique(self.asked, axis=0))
        return (
            f"{len(self):,} records of {len(self.people)} people with {combinations} AU "
            f"combinations, "
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
    """Loads the records of a split; of test, those of its list of samples.

    Args:
      data: folder of a built data set.
      split: key of `SPLITS`.
      limit: largest number of records, taken evenly over the split; None takes all.
      degrees: whether texts have a FACS degree word before each construct.
      dictionary: dictionary of the texts; None takes the project's own.

    Raises:
      DatasetError: the folder holds no data set, or the data set lacks the split.
      RecordError: a record or a reference cannot be read; none is left out.
      ValueError: the split is unknown, or has fewer than two records.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if limit is not None and limit < 2:
        raise ValueError(f"limit is {limit}; give 2 or more, an evaluation needs two records")
    data, name = Path(data), SPLITS[split]
    split_names(data, name)
    reader = ShardReader(data, name)
    indices = np.arange(len(reader)) if split != "test" else np.array(read_test_list(data))
    if limit is not None and limit < len(indices):
        indices = indices[np.linspace(0, len(indices) - 1, limit).round().astype(int)]
    if len(indices) < 2:
        raise ValueError(f"{split} of {data} has {len(indices)} record(s); an evaluation needs two")
    records = [reader[index] for index in indices.tolist()]
    references, size = References(data, name), reader.info["size"]
    pictured = all(record.image is not None for record in records)
    return Population(
        data=data,
        info=reader.info,
        split=split,
        limit=limit,
        degrees=degrees,
        dictionary=dictionary,
        split_indices=indices,
        record_ids=tuple(record.id for record in records),
        subjects=tuple(record.subject for record in records),
        labels=np.stack([record.labels for record in records]),
        texts=tuple(record_text(record, dictionary, degrees=degrees) for record in records),
        reference=np.stack([references.get(record.subject, False) for record in records]),
        image=np.stack([decode_image(record, size) for record in records]) if pictured else None,
    )


def same_data(population: Population, data: str | Path) -> bool:
    """Returns whether the folder `data` holds the data set of `population`."""
    return read_info(data)["fingerprint"] == population.info["fingerprint"]
