"""Image files are read as upright 8-bit RGB, or refused with the reason."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from auface_jax.images import files
from auface_jax.images.files import ImageFileError, read_rgb, read_square
from tests.helpers.small_pictures import picture


def test_8_bit_files_of_any_mode_give_the_same_pixels(tmp_path):
    image = picture(32)
    upright = Image.fromarray(image)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: a quarter to the right makes it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.convert("RGBA").save(tmp_path / "opaque.png")
    for name in ("turned.png", "opaque.png"):
        np.testing.assert_array_equal(read_rgb(tmp_path / name), image)
    upright.convert("CMYK").save(tmp_path / "print.tif")
    assert np.abs(read_rgb(tmp_path / "print.tif").astype(int) - image).max() <= 2
    upright.convert("L").save(tmp_path / "grey.png")
    grey = read_rgb(tmp_path / "grey.png")
    np.testing.assert_array_equal(grey, np.array(upright.convert("L"))[..., None].repeat(3, -1))


def test_16_bit_files_give_their_upper_eight_bits_or_an_error(tmp_path):
    """Colours are read by their upper byte; greys come in so many scales that they are refused."""
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 2**16, (20, 24, 3)).astype(np.uint16)
    write_png(tmp_path / "colour.png", deep, colour_type=2)
    np.testing.assert_array_equal(read_rgb(tmp_path / "colour.png"), deep >> 8)
    write_png(tmp_path / "grey.png", deep[..., :1], colour_type=0)
    Image.fromarray(deep[..., 0]).save(tmp_path / "grey.tif")
    for name in ("grey.png", "grey.tif"):
        with pytest.raises(ImageFileError, match=f"{name}: .*I;16.*save it with 8 bits a channel"):
            read_rgb(tmp_path / name)


def write_png(path, pixels, colour_type):
    """A PNG of 16 bits a channel, which Pillow does not write in colour."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def test_transparent_pixels_become_grey(tmp_path):
    image = np.dstack([picture(32), np.full((32, 32), 255, np.uint8)])
    image[:8] = (255, 0, 0, 0)
    Image.fromarray(image).save(tmp_path / "cut.png")
    read = read_rgb(tmp_path / "cut.png")
    assert (read[:8] == 128).all()
    np.testing.assert_array_equal(read[8:], image[8:, :, :3])


def test_unreadable_files_are_errors_with_a_reason(tmp_path, monkeypatch):
    Image.fromarray(picture(64)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:600])
    Image.fromarray(np.zeros((20, 20), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "letter.png").write_text("not a picture")
    for name, message in (
        ("cut.jpg", "cannot be read as an image"),
        ("deep.png", "save it with 8 bits a channel"),
        ("letter.png", "cannot be read as an image"),
        ("none.png", "cannot be read as an image"),
    ):
        with pytest.raises(ImageFileError, match=message) as error:
            read_rgb(tmp_path / name)
        assert name in str(error.value)


def test_decompression_bomb_is_refused_before_decoding(tmp_path, monkeypatch):
    Image.new("1", (9_000, 9_000)).save(tmp_path / "bomb.png")  # a few kilobytes
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was unpacked"))
    assert 9_000**2 > files.MAX_PIXELS
    with pytest.raises(ImageFileError, match="9000 x 9000 pixels, at most 80,000,000"):
        read_rgb(tmp_path / "bomb.png")
    Image.MAX_IMAGE_PIXELS, before = 1_000_000, Image.MAX_IMAGE_PIXELS
    try:
        with pytest.raises(ImageFileError, match="cannot be read as an image .*bomb"):
            read_rgb(tmp_path / "bomb.png")
    finally:
        Image.MAX_IMAGE_PIXELS = before


def test_read_square_gives_an_upright_smooth_square(tmp_path):
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:20, 20:60] = (255, 0, 0)  # upper half of the central square
    picture[20:, 20:60, 2] = 255
    upright = Image.fromarray(picture)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: a quarter to the right makes it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    got = read_square(tmp_path / "turned.png", 20)
    np.testing.assert_array_equal(got, read_square(tmp_path / "upright.png", 20))
    # Nearly: the filter rings at an edge, and its support reaches past the cut.
    np.testing.assert_allclose(got[:8, 2:-2].astype(int) - (255, 0, 0), 0, atol=20)
    np.testing.assert_allclose(got[12:, 2:-2].astype(int) - (0, 0, 255), 0, atol=20)
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    inner = read_square(tmp_path / "stripes.png", 16)[:, 2:-2]
    assert np.abs(inner.astype(int) - 128).max() < 16  # the mean, not one stripe in four
