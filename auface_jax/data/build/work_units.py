"""The smallest unit of a build's work: a few images of one person become records, anywhere."""

import dataclasses

import numpy as np

from auface_jax import facs
from auface_jax.data.build.unseen import units_of
from auface_jax.data.record import (
    REFERENCES,
    UNSEEN_NOVEL,
    Record,
    encode_image,
    encode_record,
    record_id,
)
from auface_jax.data.sources.base import NOVEL_TASK, Sample, Source, stable_seed

PIECE_IMAGES = 32


@dataclasses.dataclass(frozen=True)
class Piece:
    """Images of one person that follow each other in a split.

    Attributes:
      split: Where their records go.
      subject: The person.
      reference: `Record.id` of the person's reference.
      numbers: Places of the images in the person's index; of the split `UNSEEN_NOVEL`, row codes
        of faces that the index does not have.
      reference_number: Place of the reference in the index, in the first piece of each person: the
        one that makes it too.
    """

    split: str
    subject: str
    reference: str
    numbers: tuple[int, ...]
    reference_number: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """What became of a piece: bytes of its records; faults and images left out as in `Loaded`."""

    records: list[bytes]
    reference: bytes | None = None
    faults: list[str] = dataclasses.field(default_factory=list)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordMaker:
    """Makes the records of a piece, the same bytes in any process on any machine.

    Attributes:
      source: Where the images come from.
      seed: Of the texts.
      image_format: One of `records.IMAGE_FORMATS`.
    """

    source: Source
    seed: int
    image_format: str

    def __call__(self, piece: Piece) -> Made:
        """The piece's records, in its order."""
        if piece.split == UNSEEN_NOVEL:
            return Made(records=[self._record(sample, piece) for sample in self._novel(piece)])
        reference, faults = None, []
        if piece.reference_number is not None:
            loaded = self.source.load(piece.subject, [piece.reference_number])
            faults += loaded.faults
            for sample in loaded.samples:
                reference = self._record(sample, dataclasses.replace(piece, split=REFERENCES))
        loaded = self.source.load(piece.subject, piece.numbers)
        return Made(
            records=[self._record(sample, piece) for sample in loaded.samples],
            reference=reference,
            faults=faults + loaded.faults,
            left_out=loaded.left_out,
        )

    def _novel(self, piece: Piece) -> list[Sample]:
        """Samples of label rows that the data does not have, drawn where the source can draw."""
        if self.source.exact:
            return self.source.draw(piece.subject, piece.numbers)
        uncoded = (self.source.index(piece.subject).labels == -1).all(axis=0)
        return [
            Sample(
                image=None,
                subject=piece.subject,
                task=NOVEL_TASK,
                frame=code,
                labels=np.where(uncoded, -1, facs.labels_from_units(units_of(code))).astype(
                    np.int8
                ),
                intensities=None,
                landmarks=None,
            )
            for code in piece.numbers
        ]

    def _record(self, sample: Sample, piece: Piece) -> bytes:
        image = sample.image
        name = record_id(sample.subject, sample.task, sample.frame)
        return encode_record(
            Record(
                image=None if image is None else encode_image(image, self.image_format),
                subject=sample.subject,
                task=sample.task,
                frame=sample.frame,
                source=self.source.name,
                labels=sample.labels,
                intensities=sample.intensities,
                landmarks=sample.landmarks,
                reference=piece.reference,
                constructs=facs.constructs(np.maximum(sample.labels, 0)),
                variant_seed=stable_seed(self.seed, "text", name),
                split=piece.split,
                exact=self.source.exact,
            )
        )
