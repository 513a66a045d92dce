"""The one record that every data set of this project is made of, and its bytes.

A record is one image with everything that is known of it. Its bytes are a msgpack map of plain
values; an array is `[dtype, shape, bytes]`, little endian, so that any language can read it.
Decoding checks every field and names what is wrong: a damaged data set should say where.
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
# What our files begin and end with; behind the first and the third come size and kind of picture.
_PNG_START, _PNG_RGB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 2
_JPEG_START, _JPEG_END, _JPEG_FRAME = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xc0\0\x11"
_BGR = imagecodecs.JPEG8.CS.EXT_BGR
NUM_UNITS = 12


class RecordError(ValueError):
    """Bytes that are no record of this schema: truncated, another version, a bad field."""


class Record(msgspec.Struct, frozen=True, kw_only=True, eq=False):
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


_Count = Annotated[int, msgspec.Meta(ge=0)]
_PerUnit = tuple[Literal[NUM_UNITS]]  # the shape [A]


class _Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record as its bytes have it: the keys in their order, with types and ranges."""

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


# Every example of every epoch passes here, so the types are checked while the bytes are read.
_decode_fields = msgspec.msgpack.Decoder(_Fields).decode
_LABELS, _INTENSITIES, _LANDMARKS = np.dtype("|i1"), np.dtype("<f4"), np.dtype("<f4")
_unpack_intensities = struct.Struct(f"<{NUM_UNITS}f").unpack


def encode_record(record: Record) -> bytes:
    """The bytes of a record, the same on every machine.

    Raises:
      RecordError: A field has another type, shape or range than the schema says.
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
    """The record of `data`; its arrays are read-only views of the bytes.

    Raises:
      RecordError: The bytes are truncated or no msgpack map, of another schema version, lack a
        field or have one too many, or a field has another type, shape or range.
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
    """The fault of bytes that `_Fields` does not fit, as `error` has it, and whose they are."""
    try:
        fields = msgspec.msgpack.decode(data)
    except Exception:  # text that is no UTF-8 has another class of error
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
    """Raises RecordError for a value of the right type that is none the less illegal."""
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
        # A sum is NaN where one of them is, which least and greatest may miss.
        if not (0 <= min(values) and max(values) <= 1 and sum(values) >= 0):
            raise RecordError(f"intensities {list(values)} are not in [0, 1]")
    if landmarks is not None and len(landmarks[2]) != 8 * landmarks[1][0]:
        raise RecordError(
            f"landmarks are {len(landmarks[2])} bytes, their shape {landmarks[1]} needs "
            f"{8 * landmarks[1][0]}"
        )


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

    They are Pillow's, to the last bit.

    Raises:
      RecordError: The record has no picture, or it cannot be read, or is not `size` x `size` RGB.
    """
    if record.image is None:
        raise RecordError(f"{record.id} has no image: its label row is in no picture of its source")
    image = _decode_quickly(record.image, size, mirrored)
    if image is None:
        image = _decode_with_pillow(record, size, mirrored)
    image.flags.writeable = False
    return image


def _decode_quickly(data: bytes, size: int, mirrored: bool) -> UInt8[np.ndarray, "S S 3"] | None:
    """The pixels of a picture whose header is as we write it, in about half of Pillow's time.

    None leaves it to Pillow, whatever the doubt: what Pillow refuses must be refused, and in
    Pillow's words.
    """
    image = np.empty((size, size, 3), np.uint8)
    try:
        if data.startswith(_PNG_START + struct.pack(">II2B", size, size, 8, _PNG_RGB)):
            imagecodecs.png_decode(data, out=image)
            # A pixel as one element of three bytes: half the time of its three numbers.
            return np.ascontiguousarray(image.view("V3")[:, ::-1]).view("u1") if mirrored else image
        # Of a JPEG that is cut short the decoder would make up the rest.
        if data.startswith(_JPEG_START) and data.endswith(_JPEG_END):
            if _JPEG_FRAME + struct.pack(">B2HB", 8, size, size, 3) in data:
                order = _BGR if mirrored else None
                imagecodecs.jpeg8_decode(data, outcolorspace=order, out=image)
                return _backwards(image) if mirrored else image
    except (imagecodecs.PngError, imagecodecs.Jpeg8Error, ValueError):
        return None
    return None


def _backwards(image: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "S S 3"]:
    """Each row's bytes from the last to the first: of BGR, the mirrored picture in RGB."""
    word = "u8" if image.shape[1] % 8 == 0 else "u1"  # eight bytes at a time take a seventh
    rows = image.reshape(len(image), -1).view(f"<{word}")
    return rows[:, ::-1].astype(f">{word}", order="C").view("u1").reshape(image.shape)


def _decode_with_pillow(record: Record, size: int, mirrored: bool) -> UInt8[np.ndarray, "S S 3"]:
    try:
        picture = Image.open(io.BytesIO(record.image), formats=_PILLOW_FORMATS)
        picture.load()
    except Exception as error:  # a damaged picture raises almost anything in Pillow
        raise RecordError(f"{record.id}: the image cannot be read ({error})") from error
    if picture.size != (size, size) or picture.mode != "RGB":
        raise RecordError(
            f"{record.id}: the image is {picture.width} x {picture.height} {picture.mode}, "
            f"expected {size} x {size} RGB"
        )
    return np.array(picture.transpose(_MIRROR) if mirrored else picture)
