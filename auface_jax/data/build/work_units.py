"""The smallest unit of a build's work: a few images of one person become records, anywhere."""

import dataclasses

import numpy as np

from auface_jax import facs
from auface_jax.data.build.unseen import units_of_code
from auface_jax.data.record import (
    REFERENCES,
    UNSEEN_NOVEL,
    Record,
    encode_image,
    encode_record,
    record_id,
)
from auface_jax.data.sources.base import NOVEL_TASK, FaceSource, Sample, stable_seed

IMAGES_PER_WORK_UNIT = 32


@dataclasses.dataclass(frozen=True)
class WorkUnit:
    """A few consecutive images of one person in one split.

    Attributes:
      split: split of the records.
      subject: name of the person.
      reference: `Record.id` of the person's reference.
      numbers: positions of the images in the person's index; in the split `UNSEEN_NOVEL` the AU
        combinations to show, see `unseen.combination_codes`.
      reference_number: position of the reference in the person's index, in the first work unit of
        each person, which makes the reference too; None in all others.
    """

    split: str
    subject: str
    reference: str
    numbers: tuple[int, ...]
    reference_number: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkResult:
    """Result of a work unit.

    Attributes:
      records: encoded records.
      reference: the encoded reference, where the work unit makes it.
      faults: lines as in `LoadedImages`.
      left_out: names and reasons as in `LoadedImages`.
    """

    records: list[bytes]
    reference: bytes | None = None
    faults: list[str] = dataclasses.field(default_factory=list)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordMaker:
    """Makes the records of a work unit, the same bytes in any process on any machine.

    Attributes:
      source: source of the images.
      seed: seed of the texts.
      image_format: a name of `record.IMAGE_FORMATS`.
    """

    source: FaceSource
    seed: int
    image_format: str

    def __call__(self, work_unit: WorkUnit) -> WorkResult:
        """Loads the images of a work unit and encodes their records, in the same order."""
        if work_unit.split == UNSEEN_NOVEL:
            samples = self._novel_samples(work_unit)
            return WorkResult(records=[self._encode(sample, work_unit) for sample in samples])
        reference, faults = None, []
        if work_unit.reference_number is not None:
            loaded = self.source.load(work_unit.subject, [work_unit.reference_number])
            faults += loaded.faults
            for sample in loaded.samples:
                reference = self._encode(sample, dataclasses.replace(work_unit, split=REFERENCES))
        loaded = self.source.load(work_unit.subject, work_unit.numbers)
        return WorkResult(
            records=[self._encode(sample, work_unit) for sample in loaded.samples],
            reference=reference,
            faults=faults + loaded.faults,
            left_out=loaded.left_out,
        )

    def _novel_samples(self, work_unit: WorkUnit) -> list[Sample]:
        """Samples of novel AU combinations, with an image where the source can draw one."""
        if self.source.exact:
            return self.source.draw(work_unit.subject, work_unit.numbers)
        uncoded = (self.source.index(work_unit.subject).labels == -1).all(axis=0)
        return [
            Sample(
                image=None,
                subject=work_unit.subject,
                task=NOVEL_TASK,
                frame=code,
                labels=np.where(uncoded, -1, facs.labels_from_units(units_of_code(code))).astype(
                    np.int8
                ),
                intensities=None,
                landmarks=None,
            )
            for code in work_unit.numbers
        ]

    def _encode(self, sample: Sample, work_unit: WorkUnit) -> bytes:
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
                reference=work_unit.reference,
                constructs=facs.constructs(np.maximum(sample.labels, 0)),
                variant_seed=stable_seed(self.seed, "text", name),
                split=work_unit.split,
                exact=self.source.exact,
            )
        )
