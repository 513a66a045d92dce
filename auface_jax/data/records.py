"""The one record that every data set of this project is made of, and its bytes.

A record is one image with everything that is known of it. Its bytes are a msgpack map of plain
values; an array is `[dtype, shape, bytes]`, little endian, so that any language can read it.
Decoding checks every field and names what is wrong: a damaged data set should say where.
"""

import dataclasses
import io
import math
import struct

import msgpack
import numpy as np
from jaxtyping import Float32, Int8, UInt8
from PIL import Image

SCHEMA_VERSION = 2
SPLITS = ("train", "val", "test")
UNSEEN_HELD_OUT, UNSEEN_NOVEL = UNSEEN_SPLITS = ("unseen_held_out", "unseen_novel")
REFERENCES = "references"
IMAGE_FORMATS = ("png", "jpeg")
_PILLOW_FORMATS = ("PNG", "JPEG")
NUM_UNITS = 12
_VERSION_KEY = "schema_version"


class RecordError(ValueError):
    """Bytes that are no record of this schema: truncated, another version, a bad field."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One face image and what is known of it.

    Attributes:
      image: An encoded picture (PNG or JPEG), square, RGB, 8 bit; None in `UNSEEN_NOVEL` where
        the source has no such picture.
      subject: The person, unique within a data set.
      task: What the person was doing; with `subject` it names a sequence.
      frame: Number of the image within its sequence, 0 or more.
      source: Where the image comes from, such as "builtin" or "folder".
      labels: [A] 1 present, 0 absent, -1 not coded by the source; in the order of
        `facs.AU_NUMBERS`.
      intensities: [A] in [0, 1], or None where the source has none.
      landmarks: [M, 2] x and y in pixels of `image`, or None.
      reference: `Record.id` of the person's reference image.
      constructs: `facs.constructs` of the labels, uncoded units counted as absent.
      variant_seed: Seed of the random choices in the record's one text.
      split: One of `SPLITS` or `UNSEEN_SPLITS`; `REFERENCES` of a reference image itself.
      exact: True where the labels are the truth by construction (a rendered face), False where
        somebody coded them.
    """

    image: bytes | None
    subject: str
    task: str
    frame: int
    source: str
    labels: Int8[np.ndarray, "A"]
    intensities: Float32[np.ndarray, "A"] | None
    landmarks: Float32[np.ndarray, "M 2"] | None
    reference: str
    constructs: tuple[str, ...]
    variant_seed: int
    split: str
    exact: bool

    @property
    def id(self) -> str:
        """Name of the record within its data set."""
        return record_id(self.subject, self.task, self.frame)


def record_id(subject: str, task: str, frame: int) -> str:
    """The name by which `Record.reference` and every error message call an image."""
    return f"{subject}/{task}/{frame}"


# Fields by their type on the wire; of an array: dtype, shape (None is any length), may be absent.
_PLAIN = {
    "image": bytes,
    "subject": str,
    "task": str,
    "frame": int,
    "source": str,
    "reference": str,
    "constructs": list,
    "variant_seed": int,
    "split": str,
    "exact": bool,
}
_ARRAYS = {
    "labels": ("|i1", (NUM_UNITS,), False),
    "intensities": ("<f4", (NUM_UNITS,), True),
    "landmarks": ("<f4", (None, 2), True),
}
_KEYS = {_VERSION_KEY, *_PLAIN, *_ARRAYS}
_LEGAL_SPLITS = (*SPLITS, *UNSEEN_SPLITS, REFERENCES)


def encode_record(record: Record) -> bytes:
    """The bytes of a record, the same on every machine.

    Raises:
      RecordError: A field has another type, shape or range than the schema says.
    """
    fields = {_VERSION_KEY: SCHEMA_VERSION}
    for name in _PLAIN:
        value = getattr(record, name)
        fields[name] = list(value) if name == "constructs" else value
    for name, (dtype, _, _) in _ARRAYS.items():
        array = getattr(record, name)
        if array is not None:
            array = np.asarray(array)
            if array.dtype != np.dtype(dtype):
                raise RecordError(
                    f"{record.id}: {name} has dtype {array.dtype}, expected {np.dtype(dtype)}"
                )
            array = [dtype, list(array.shape), array.astype(dtype).tobytes()]
        fields[name] = array
    _check_fields(fields)
    return msgpack.packb(fields, use_bin_type=True)


def decode_record(data: bytes) -> Record:
    """The record of `data`; its arrays are read-only views of the bytes.

    Raises:
      RecordError: The bytes are truncated or no msgpack map, of another schema version, lack a
        field or have one too many, or a field has another type, shape or range.
    """
    try:
        fields = msgpack.unpackb(data, raw=False)
    except Exception as error:  # msgpack has no common base class for what damaged bytes raise
        raise RecordError(
            f"not a record: {len(data)} bytes that are truncated or not msgpack ({error})"
        ) from error
    if not isinstance(fields, dict):
        raise RecordError(f"not a record: a msgpack {type(fields).__name__}, expected a map")
    _check_fields(fields)
    values = {name: fields[name] for name in _PLAIN}
    values["constructs"] = tuple(values["constructs"])
    for name in _ARRAYS:
        packed = fields[name]
        if packed is not None:
            dtype, shape, content = packed
            packed = np.frombuffer(content, dtype=dtype).reshape(shape)
        values[name] = packed
    return Record(**values)


def _check_fields(fields: dict) -> None:
    """Raises RecordError unless `fields` is what `encode_record` may write."""
    version = fields.get(_VERSION_KEY)
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"record of schema version {version!r}, this code reads version {SCHEMA_VERSION}: "
            "build the data set again"
        )
    # Every example of every epoch passes here, so each check is as cheap as plain Python can be.
    if fields.keys() != _KEYS:
        if missing := sorted(_KEYS - fields.keys()):
            raise RecordError(f"record lacks the fields {', '.join(missing)}")
        extra = sorted(str(name) for name in fields.keys() - _KEYS)
        raise RecordError(f"record has fields that its schema does not know: {', '.join(extra)}")
    for name, kind in _PLAIN.items():
        # By `is`, since bool is a kind of int to Python, and not to a reader in another language.
        if type(fields[name]) is not kind:
            if name == "image" and fields[name] is None and fields["split"] == UNSEEN_NOVEL:
                continue
            raise RecordError(
                f"field {name} is a {type(fields[name]).__name__}, expected {kind.__name__}"
            )
    try:
        for name, (dtype, shape, optional) in _ARRAYS.items():
            _check_array(f"field {name}", fields[name], dtype, shape, optional)
        _check_values(fields)
    except RecordError as error:
        who = record_id(fields["subject"], fields["task"], fields["frame"])
        raise RecordError(f"{who}: {error}") from None


def _check_values(fields: dict) -> None:
    """Raises RecordError for a value of the right form that is out of range."""
    labels = fields["labels"][2]
    if labels.strip(b"\x00\x01\xff"):
        labels = np.frombuffer(labels, dtype=np.int8).tolist()
        raise RecordError(f"labels {labels} are not all 1, 0 or -1 (not coded)")
    if fields["intensities"] is not None:
        intensities = struct.unpack(f"<{NUM_UNITS}f", fields["intensities"][2])
        # A sum is NaN where one of them is, which least and greatest may miss.
        if not (0 <= min(intensities) and max(intensities) <= 1 and sum(intensities) >= 0):
            raise RecordError(f"intensities {list(intensities)} are not in [0, 1]")
    if not set(map(type, fields["constructs"])) <= {str}:
        raise RecordError(f"constructs {fields['constructs']!r} are not all text")
    if fields["frame"] < 0 or fields["variant_seed"] < 0:
        raise RecordError(f"frame and variant_seed {fields['variant_seed']} must be >= 0")
    if fields["split"] not in _LEGAL_SPLITS:
        raise RecordError(f"split {fields['split']!r} is none of {', '.join(_LEGAL_SPLITS)}")


def _check_array(
    what: str, packed, dtype: str, shape: tuple[int | None, ...], optional: bool
) -> None:
    """Raises RecordError unless `packed` is `[dtype, shape, bytes]` of the expected form."""
    if packed is None and optional:
        return
    if not isinstance(packed, list) or len(packed) != 3 or not isinstance(packed[2], bytes):
        raise RecordError(f"{what} is no array (dtype, shape, bytes)")
    got_dtype, got_shape, content = packed
    if got_dtype != dtype:
        raise RecordError(f"{what} has dtype {got_dtype!r}, expected {dtype!r}")
    fits = got_shape == list(shape) or (
        isinstance(got_shape, list)
        and len(got_shape) == len(shape)
        and all(isinstance(n, int) and n >= 0 for n in got_shape)
        and all(want is None or got == want for got, want in zip(got_shape, shape, strict=True))
    )
    if not fits:
        want = tuple("any" if n is None else n for n in shape)
        raise RecordError(f"{what} has shape {got_shape}, expected {want}")
    size = math.prod(got_shape) * np.dtype(dtype).itemsize
    if len(content) != size:
        raise RecordError(f"{what} is truncated: {len(content)} bytes, its shape needs {size}")


def encode_image(image: UInt8[np.ndarray, "S S 3"], image_format: str = "png") -> bytes:
    """PNG (exact) or JPEG (quality 95, about a quarter of the size) bytes of a picture."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    if image_format == "png":
        picture.save(buffer, "PNG")
    elif image_format == "jpeg":
        picture.save(buffer, "JPEG", quality=95)
    else:
        raise ValueError(f"image format {image_format!r}, expected {' or '.join(IMAGE_FORMATS)}")
    return buffer.getvalue()


def decode_image(
    record: Record, size: int, *, mirrored: bool = False
) -> UInt8[np.ndarray, "S S 3"]:
    """The pixels of a record's image, a read-only array; left and right exchanged on demand.

    Raises:
      RecordError: The record has no picture, or it cannot be read, or is not `size` x `size` RGB.
    """
    if record.image is None:
        raise RecordError(f"{record.id} has no image: its label row is in no picture of its source")
    try:
        with Image.open(io.BytesIO(record.image), formats=_PILLOW_FORMATS) as picture:
            if mirrored:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            image = np.asarray(picture)
    except Exception as error:  # a damaged picture raises almost anything in Pillow
        raise RecordError(f"{record.id}: the image cannot be read ({error})") from error
    if image.shape != (size, size, 3) or image.dtype != np.uint8:
        raise RecordError(
            f"{record.id}: the image is {image.dtype} {image.shape}, expected uint8 "
            f"{(size, size, 3)}"
        )
    return image
