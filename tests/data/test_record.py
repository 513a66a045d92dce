"""Records survive encoding and decoding, and invalid bytes are errors with a reason."""

import io

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from auface_jax.data import record as record_module
from auface_jax.data.record import (
    IMAGE_FORMATS,
    REFERENCES,
    SPLITS,
    UNSEEN_HELD_OUT,
    UNSEEN_NOVEL,
    Record,
    RecordError,
    decode_image,
    decode_record,
    encode_image,
    encode_record,
)


def a_record(**changes) -> Record:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    fields = {
        "image": encode_image(image),
        "subject": "F001",
        "task": "T1",
        "frame": 7,
        "source": "folder",
        "labels": np.array([1, 0, -1] * 4, np.int8),
        "intensities": None,
        "landmarks": None,
        "reference": "F001/T1/0",
        "constructs": ("AU1+AU2", "AU4"),
        "variant_seed": 2**63 - 1,
        "split": "train",
        "exact": False,
    }
    return Record(**(fields | changes))


def assert_same(one: Record, two: Record):
    for name in Record.__struct_fields__:
        a, b = getattr(one, name), getattr(two, name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b and type(a) is type(b), name


@given(
    labels=arrays.arrays(np.int8, 12, elements=st.sampled_from([-1, 0, 1])),
    intensities=st.none() | arrays.arrays(np.float32, 12, elements=st.floats(0, 1, width=32)),
    landmarks=st.none()
    | arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 70), st.just(2)),
        elements=st.floats(-1e3, 1e3, width=32),
    ),
    subject=st.text(),
    frame=st.integers(0, 10**6),
    seed=st.integers(0, 2**63 - 1),
    constructs=st.lists(st.text(), max_size=5).map(tuple),
)
def test_decoding_inverts_encoding(
    labels, intensities, landmarks, subject, frame, seed, constructs
):
    record = a_record(
        labels=labels,
        intensities=intensities,
        landmarks=landmarks,
        subject=subject,
        frame=frame,
        variant_seed=seed,
        constructs=constructs,
    )
    data = encode_record(record)
    assert_same(decode_record(data), record)
    assert encode_record(decode_record(data)) == data


def test_only_novel_records_may_lack_an_image():
    record = a_record(image=None, split=UNSEEN_NOVEL)
    assert_same(decode_record(encode_record(record)), record)
    with pytest.raises(RecordError, match="F001/T1/7 has no image"):
        decode_image(record, 16)
    for split in (*SPLITS, UNSEEN_HELD_OUT, REFERENCES):
        with pytest.raises(RecordError, match="no image, which only unseen_novel may lack"):
            encode_record(a_record(image=None, split=split))


def test_truncated_records_are_record_errors():
    data = encode_record(a_record())
    for length in range(0, len(data), 37):
        with pytest.raises(RecordError, match="truncated"):
            decode_record(data[:length])


def changed(**changes) -> bytes:
    fields = msgpack.unpackb(encode_record(a_record()))
    for name, value in changes.items():
        if value is KeyError:
            del fields[name]
        else:
            fields[name] = value
    return msgpack.packb(fields)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (msgpack.packb([1, 2]), "a msgpack list"),
        (encode_record(a_record()).replace(b"F001", b"F\xff01"), "truncated or not msgpack"),
        (changed(schema_version=99), "version 99, this code reads version 2"),
        (changed(image=None), "F001/T1/7: no image, which only unseen_novel may lack"),
        (changed(labels=KeyError), "F001/T1/7: .* missing required field `labels`"),
        (changed(colour="red"), "unknown field `colour`"),
        (changed(frame="7"), r"Expected `int`, got `str` - at `\$.frame`"),
        (changed(frame=True), r"Expected `int`, got `bool` - at `\$.frame`"),
        (changed(frame=-1), r">= 0 - at `\$.frame`"),
        (changed(split="dev"), r"'dev' - at `\$.split`.*SCHEMA.md says"),
        (changed(constructs=[3]), r"Expected `str`, got `int` - at `\$.constructs\[0\]`"),
        (changed(labels=None), r"Expected `array`, got `None` - at `\$.labels`"),
        (changed(labels=["|i1", [11], b"\0" * 11]), r"11 - at `\$.labels\[1\]\[0\]`"),
        (changed(labels=["|i1", [12], b"\0" * 11]), r"\[0, .*, 0\] are not 12 of 1, 0 or -1"),
        (changed(labels=["<f4", [12], b"\0" * 48]), r"'<f4' - at `\$.labels\[0\]`"),
        (changed(labels=["|i1", [12], b"\5" * 12]), "are not 12 of 1, 0 or -1"),
        (changed(landmarks=["<f4", [4, 3], b"\0" * 48]), r"3 - at `\$.landmarks\[1\]\[1\]`"),
        (changed(landmarks=["<f4", [4, 2], b"\0" * 31]), r"31 bytes, .* \(4, 2\) needs 32"),
        (changed(intensities=["<f4", [12], b"\0" * 47]), "intensities are 47 bytes, not 48"),
        (changed(intensities=["<f4", [12], np.full(12, 2, "<f4").tobytes()]), "not in"),
        (changed(intensities=["<f4", [12], np.full(12, np.nan, "<f4").tobytes()]), "not in"),
    ],
)
def test_invalid_bytes_are_errors_with_a_reason(data, message):
    with pytest.raises(RecordError, match=message):
        decode_record(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(12, np.int64)}, "labels has dtype int64, expected int8"),
        ({"labels": np.full(12, 3, np.int8)}, "not 12 of 1, 0 or -1"),
        ({"landmarks": np.zeros((5, 3), np.float32)}, r"landmarks\[1\]\[1\]"),
        ({"split": "all"}, "F001/T1/7: .*'all'"),
        ({"frame": np.int64(7)}, "F001/T1/7: .*numpy.int64"),
    ],
)
def test_invalid_records_are_not_encoded(change, message):
    with pytest.raises(RecordError, match=message):
        encode_record(a_record(**change))


def test_png_is_exact_and_jpeg_nearly():
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    image = np.stack([np.broadcast_to(ramp, (32, 32))] * 3, axis=-1)
    for image_format, tolerance in (("png", 0), ("jpeg", 6)):
        record = a_record(image=encode_image(image, image_format))
        got = decode_image(record, 32).astype(int)
        assert np.abs(got - image).max() <= tolerance
    with pytest.raises(ValueError, match="'gif', expected png or jpeg"):
        encode_image(image, "gif")


def test_damaged_image_names_its_record():
    record = a_record()
    with pytest.raises(RecordError, match="F001/T1/7: the image is 16 x 16 RGB, expected 32 x 32"):
        decode_image(record, 32)
    with pytest.raises(RecordError, match="F001/T1/7: the image cannot be read"):
        decode_image(msgspec.structs.replace(record, image=record.image[:60]), 16)


def pillow(data: bytes) -> np.ndarray | None:
    """Decodes a picture of 24 x 24 RGB by Pillow alone; None where it is another, or damaged."""
    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        picture.load()
    except Exception:
        return None
    return np.asarray(picture) if picture.mode == "RGB" and picture.size == (24, 24) else None


def assert_as_pillow(data: bytes):
    expected, record = pillow(data), a_record(image=data)
    for mirrored in (False, True):
        if expected is None:
            with pytest.raises(RecordError, match="cannot be read|expected 24 x 24 RGB"):
                decode_image(record, 24, mirrored=mirrored)
        else:
            got = decode_image(record, 24, mirrored=mirrored)
            assert got.dtype == np.uint8 and not got.flags.writeable
            np.testing.assert_array_equal(got, expected[:, ::-1] if mirrored else expected)


def saved(picture: Image.Image, *arguments, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, *arguments, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [16, 21, 24, 64])
@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_quick_decoder_equals_pillow(size, image_format, monkeypatch):
    rng = np.random.default_rng(size)
    smooth = rng.integers(0, 256, (5, 5, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(smooth).resize((size, size), Image.Resampling.BICUBIC))
    monkeypatch.setattr(record_module, "_decode_with_pillow", None)  # it must not be needed
    for image in (rng.integers(0, 256, (size, size, 3), np.uint8), smooth):
        data = encode_image(image, image_format)
        expected = np.asarray(Image.open(io.BytesIO(data)))
        for mirrored in (False, True):
            got = decode_image(a_record(image=data), size, mirrored=mirrored)
            np.testing.assert_array_equal(got, expected[:, ::-1] if mirrored else expected)


def test_unusual_pictures_are_decoded_or_refused_as_by_pillow():
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 4), np.uint8)
    picture = Image.fromarray(noise[..., :3])
    assert_as_pillow(saved(picture, "JPEG", progressive=True))
    assert_as_pillow(saved(picture, "JPEG", subsampling="4:4:4", quality=30))
    assert_as_pillow(saved(picture, "JPEG", keep_rgb=True))
    assert_as_pillow(saved(picture, "PNG", transparency=(0, 0, 0)))
    assert_as_pillow(saved(picture, "GIF"))
    others = [picture.convert(mode) for mode in ("L", "P", "1", "CMYK")]
    others += [Image.fromarray(noise), Image.fromarray(noise[..., 0].astype(np.uint16))]
    others += [picture.resize((24, 23)), picture.resize((23, 24))]
    for other in others:
        for image_format in ("PNG", "JPEG"):
            try:
                assert_as_pillow(saved(other, image_format))
            except OSError:  # a mode that the format does not have
                continue


@pytest.mark.parametrize("image_format", IMAGE_FORMATS)
def test_damaged_pictures_are_decoded_or_refused_as_by_pillow(image_format):
    rng = np.random.default_rng(0)
    whole = encode_image(rng.integers(0, 256, (24, 24, 3), np.uint8), image_format)
    for length in (*range(0, len(whole), 11), *range(len(whole) - 20, len(whole))):
        assert_as_pillow(whole[:length])
    for place in (*range(170), *rng.integers(0, len(whole), 150)):
        data = bytearray(whole)
        data[place] ^= 1 << rng.integers(8)
        assert_as_pillow(bytes(data))
    for place in rng.integers(0, len(whole) - 20, 50):
        assert_as_pillow(whole[:place] + whole[place + 15 :])
