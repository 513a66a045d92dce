"""The one record that every data set of this project consists of, and its encoding.

A record is one image with its labels and everything else that is known about it. Its bytes are a
msgpack map of plain values; an array is `[dtype, shape, bytes]`, little endian, so that any
language can read it. Decoding checks every field, and an error names the field and the record.
"""

import io
import struct
from typing import Annotated, Literal

import imagecodecs
import msgspec
import numpy as np
from jaxtyping import Float32, Int8, UInt8
from PIL import Image

SCHEMA_VERSION = 2
SPLITS = ("train", "val", "test")
UNSEEN_HELD_OUT, UNSEEN_NOVEL = UNSEEN_SPLITS = ("unseen_held_out", "unseen_novel")
REFERENCES = "references"
IMAGE_FORMATS = ("png", "jpeg")
_PILLOW_FORMATS = ("PNG", "JPEG")
_MIRROR = Image.Transpose.FLIP_LEFT_RIGHT
# First and last bytes of our image files. Size and colour type follow the PNG start and the JPEG
# frame marker.
_PNG_START, _PNG_RGB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 2
_JPEG_START, _JPEG_END, _JPEG_FRAME = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xc0\0\x11"
_BGR = imagecodecs.JPEG8.CS.EXT_BGR
NUM_UNITS = 12


class RecordError(ValueError):
    """Bytes are no record of this schema: truncated, of another version, or with a bad field."""


class Record(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One face image with its labels.

    Attributes:
      image: encoded picture (PNG or JPEG), square, RGB, 8 bit; None in `UNSEEN_NOVEL` where the
        source has no such picture.
      subject: name of the person, unique within a data set.
      task: name of the person's activity; subject and task name a sequence.
      frame: number of the image within its sequence, 0 or more.
      source: name of the source, such as "builtin" or "folder".
      labels: [A] 1 present, 0 absent, -1 not coded by the source; in the order of
        `facs.AU_NUMBERS`.
      intensities: [A] values in [0, 1], or None where the source has none.
      landmarks: [M, 2] x and y in pixels of `image`, or None.
      reference: `Record.id` of the person's reference image.
      constructs: `facs.constructs` of the labels; units that are not coded count as absent.
      variant_seed: seed of the random choices in the record's one text.
      split: a name of `SPLITS` or `UNSEEN_SPLITS`, or `REFERENCES` for a reference image.
      exact: True where the labels are true by construction (a rendered face), False where
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
        """Name of the record, unique within its data set."""
        return record_id(self.subject, self.task, self.frame)


def record_id(subject: str, task: str, frame: int) -> str:
    """Joins the parts of an image's name, which `Record.reference` and error messages use."""
    return f"{subject}/{task}/{frame}"


_Count = Annotated[int, msgspec.Meta(ge=0)]
_PerUnit = tuple[Literal[NUM_UNITS]]  # the shape [A]


class _Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The encoded form of a record: its keys in order, with types and ranges."""

    schema_version: Literal[SCHEMA_VERSION]
    image: bytes | None
    subject: str
    task: str
    frame: _Count
    source: str
    reference: str
    constructs: tuple[str, ...]
    variant_seed: _Count
    split: Literal[(*SPLITS, *UNSEEN_SPLITS, REFERENCES)]
    exact: bool
    labels: tuple[Literal["|i1"], _PerUnit, bytes]
    intensities: tuple[Literal["<f4"], _PerUnit, bytes] | None
    landmarks: tuple[Literal["<f4"], tuple[_Count, Literal[2]], bytes] | None


# Every example of every epoch is decoded here, so msgspec checks the types while it reads.
_decode_fields = msgspec.msgpack.Decoder(_Fields).decode
_LABELS, _INTENSITIES, _LANDMARKS = np.dtype("|i1"), np.dtype("<f4"), np.dtype("<f4")
_unpack_intensities = struct.Struct(f"<{NUM_UNITS}f").unpack


def encode_record(record: Record) -> bytes:
    """Encodes a record, to the same bytes on every machine.

    Raises:
      RecordError: a field has another type, shape or range than the schema says.
    """
    fields = msgspec.structs.asdict(record) | {
        "schema_version": SCHEMA_VERSION,
        "labels": _packed(record, "labels", _LABELS),
        "intensities": _packed(record, "intensities", _INTENSITIES),
        "landmarks": _packed(record, "landmarks", _LANDMARKS),
    }
    try:
        data = msgspec.msgpack.encode(_Fields(**fields))
    except TypeError as error:
        raise RecordError(f"{record.id}: {error}") from error
    decode_record(data)
    return data


def _packed(record: Record, name: str, dtype: np.dtype) -> tuple[str, tuple, bytes] | None:
    array = getattr(record, name)
    if array is None:
        return None
    array = np.asarray(array)
    if array.dtype != dtype:
        raise RecordError(f"{record.id}: {name} has dtype {array.dtype}, expected {dtype}")
    return dtype.str, array.shape, array.astype(dtype).tobytes()


def decode_record(data: bytes) -> Record:
    """Decodes a record; its arrays are read-only views of the bytes.

    Raises:
      RecordError: the bytes are truncated or no msgpack map, are of another schema version, lack a
        field or have an unknown one, or a field has another type, shape or range.
    """
    try:
        fields = _decode_fields(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(_why_no_record(data, error)) from error
    try:
        _check_values(fields)
    except RecordError as error:
        who = record_id(fields.subject, fields.task, fields.frame)
        raise RecordError(f"{who}: {error}") from None
    intensities, landmarks = fields.intensities, fields.landmarks
    return Record(
        image=fields.image,
        subject=fields.subject,
        task=fields.task,
        frame=fields.frame,
        source=fields.source,
        labels=np.frombuffer(fields.labels[2], _LABELS),
        intensities=intensities and np.frombuffer(intensities[2], _INTENSITIES),
        landmarks=landmarks and np.ndarray(landmarks[1], _LANDMARKS, landmarks[2]),
        reference=fields.reference,
        constructs=fields.constructs,
        variant_seed=fields.variant_seed,
        split=fields.split,
        exact=fields.exact,
    )


def _why_no_record(data: bytes, error: Exception) -> str:
    """Explains why `data` cannot be decoded, and names the record where its name can be read.

    Args:
      data: bytes that are no record.
      error: the error of the decoder.
    """
    try:
        fields = msgspec.msgpack.decode(data)
    except Exception:  # Text that is not UTF-8 raises an error of another class.
        return f"not a record: {len(data)} bytes that are truncated or not msgpack ({error})"
    if not isinstance(fields, dict):
        return f"not a record: a msgpack {type(fields).__name__}, expected a map"
    version = fields.get("schema_version")
    if version != SCHEMA_VERSION:
        return (
            f"record of schema version {version!r}, this code reads version {SCHEMA_VERSION}: "
            "build the data set again"
        )
    who = record_id(*(fields.get(name) for name in ("subject", "task", "frame")))
    return f"{who}: {error}; data/SCHEMA.md says what a record holds"


def _check_values(fields: _Fields) -> None:
    """Raises RecordError for a value that has the right type and is illegal all the same."""
    if fields.image is None and fields.split != UNSEEN_NOVEL:
        raise RecordError(f"no image, which only {UNSEEN_NOVEL} may lack")
    labels = fields.labels[2]
    if len(labels) != NUM_UNITS or labels.strip(b"\x00\x01\xff"):
        labels = np.frombuffer(labels, dtype=np.int8).tolist()
        raise RecordError(f"labels {labels} are not {NUM_UNITS} of 1, 0 or -1 (not coded)")
    intensities, landmarks = fields.intensities, fields.landmarks
    if intensities is not None:
        if len(intensities[2]) != 4 * NUM_UNITS:
            raise RecordError(f"intensities are {len(intensities[2])} bytes, not {4 * NUM_UNITS}")
        values = _unpack_intensities(intensities[2])
        # The sum is NaN where a value is NaN; `min` and `max` may miss it.
        if not (0 <= min(values) and max(values) <= 1 and sum(values) >= 0):
            raise RecordError(f"intensities {list(values)} are not in [0, 1]")
    if landmarks is not None and len(landmarks[2]) != 8 * landmarks[1][0]:
        raise RecordError(
            f"landmarks are {len(landmarks[2])} bytes, their shape {landmarks[1]} needs "
            f"{8 * landmarks[1][0]}"
        )


def encode_image(image: UInt8[np.ndarray, "S S 3"], image_format: str = "png") -> bytes:
    """Encodes a picture.

    Args:
      image: the pixels.
      image_format: "png" (exact) or "jpeg" (quality 95, about a quarter of the size).
    """
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
    """Decodes a record's image to a read-only array, equal to Pillow's result to the bit.

    Args:
      record: the record.
      size: expected side of the image, in pixels.
      mirrored: exchange left and right.

    Raises:
      RecordError: the record has no image, or it cannot be read, or is not `size` x `size` RGB.
    """
    if record.image is None:
        raise RecordError(f"{record.id} has no image: no picture shows its AU combination")
    image = _decode_quickly(record.image, size, mirrored)
    if image is None:
        image = _decode_with_pillow(record, size, mirrored)
    image.flags.writeable = False
    return image


def _decode_quickly(data: bytes, size: int, mirrored: bool) -> UInt8[np.ndarray, "S S 3"] | None:
    """Decodes a picture whose header is as `encode_image` writes it, in half of Pillow's time.

    Returns:
      The pixels; None in case of any doubt, so that Pillow decides and explains.
    """
    image = np.empty((size, size, 3), np.uint8)
    try:
        if data.startswith(_PNG_START + struct.pack(">II2B", size, size, 8, _PNG_RGB)):
            imagecodecs.png_decode(data, out=image)
            # Reversing elements of three bytes takes half the time of reversing triples of numbers.
            return np.ascontiguousarray(image.view("V3")[:, ::-1]).view("u1") if mirrored else image
        # The decoder would invent the rest of a truncated JPEG, so its end is checked.
        if data.startswith(_JPEG_START) and data.endswith(_JPEG_END):
            if _JPEG_FRAME + struct.pack(">B2HB", 8, size, size, 3) in data:
                order = _BGR if mirrored else None
                imagecodecs.jpeg8_decode(data, outcolorspace=order, out=image)
                return _backwards(image) if mirrored else image
    except (imagecodecs.PngError, imagecodecs.Jpeg8Error, ValueError):
        return None
    return None


def _backwards(image: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "S S 3"]:
    """Reverses the bytes of each row, which turns BGR into the mirrored picture in RGB."""
    word = "u8" if image.shape[1] % 8 == 0 else "u1"  # Words of eight bytes take a seventh.
    rows = image.reshape(len(image), -1).view(f"<{word}")
    return rows[:, ::-1].astype(f">{word}", order="C").view("u1").reshape(image.shape)


def _decode_with_pillow(record: Record, size: int, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
    try:
        picture = Image.open(io.BytesIO(record.image), formats=_PILLOW_FORMATS)
        picture.load()
    except Exception as error:  # A damaged picture may raise almost any error in Pillow.
        raise RecordError(f"{record.id}: the image cannot be read ({error})") from error
    if picture.size != (size, size) or picture.mode != "RGB":
        raise RecordError(
            f"{record.id}: the image is {picture.width} x {picture.height} {picture.mode}, "
            f"expected {size} x {size} RGB"
        )
    return np.array(picture.transpose(_MIRROR) if mirrored else picture)
