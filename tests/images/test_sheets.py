"""Conversion of pixels, PSNR by hand, sheets, and metadata of files."""

import numpy as np
import pytest
from PIL import Image

from auface_jax.images import files, pixels, sheets


def test_every_pixel_value_survives_conversion_to_float_and_back():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    as_float = pixels.to_float(image)
    assert as_float.min() == -1 and as_float.max() == 1
    np.testing.assert_array_equal(pixels.to_uint8(as_float), image)


def test_values_out_of_range_are_clipped_and_others_rounded():
    values = np.array([-9.0, -1.001, 0.999, 1.5, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1], np.float32)
    assert pixels.to_uint8(values).tolist() == [0, 0, 255, 255, 0, 1]


def test_psnr_by_hand():
    image = np.zeros((2, 4, 4, 3), np.float32)
    other = image.copy()
    other[1] = 0.02  # mse 4e-4 at a peak of 2: 10 log10(4 / 4e-4)
    quality = pixels.psnr(image, other)
    assert quality[1] == pytest.approx(40, abs=1e-3) and quality[0] > 100
    # Values that a picture cannot show do not count: a reconstruction is clipped first.
    assert pixels.psnr(image + 1, image + 7)[0] == pytest.approx(float(quality[0]))


def test_sheet_places_every_tile():
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8) for _ in range(3)]
    page = np.asarray(sheets.sheet(columns, ["a", "b", "c"], ["one", "two\nlines"]))
    found = {
        (column, row)
        for column in range(3)
        for row in range(2)
        for top in range(page.shape[0] - 7)
        if (page[top : top + 8, 10 * column : 10 * column + 8] == columns[column][row]).all()
    }
    assert len(found) == 6


def test_long_captions_are_whole_and_long_titles_are_cut():
    """The amount of ink shows that nothing is drawn outside of the page or of its column."""
    column = np.full((2, 64, 64, 3), 255, np.uint8)
    long = "\n".join(f"line {number} of a text" for number in range(12))

    def page(captions, titles=("",)):
        return np.asarray(sheets.sheet([column], titles, captions)).min(-1)

    both = page([long, long])
    # All lines of both captions are there, as on two sheets with one of them each.
    assert (both < 128).sum() == 2 * (page([long, ""]) < 128).sum() > 0
    assert both.shape[0] > 2 * 12 * 11 and page(["a", "b"]).shape[0] < 2 * 80
    name = page(["", ""], ["a face with a very long name.jpg"])
    ink = np.flatnonzero((name < 128).any(0))
    assert len(ink) and ink.max() < 64


@pytest.mark.parametrize("letters", ["äöüß", "–„“…", "αβγ", "жщю"])
def test_font_has_letters_of_several_scripts(letters):
    font = sheets.text_font(14)
    missing = font.getmask("\uffff").getbbox(), bytes(font.getmask("\uffff"))
    for letter in letters:
        mask = font.getmask(letter)
        assert mask.getbbox() and (mask.getbbox(), bytes(mask)) != missing


@pytest.mark.parametrize(
    ("titles", "captions"), [(["a"], ["x", "y"]), (["a", "b"], ["x"]), ([], [])]
)
def test_sheet_with_missing_titles_or_captions_is_rejected(titles, captions):
    columns = [np.zeros((2, 8, 8, 3), np.uint8)] * 2
    with pytest.raises(ValueError, match=rf"{len(captions)} captions and {len(titles)} titles"):
        sheets.sheet(columns, titles, captions)


def test_png_keeps_its_metadata_in_any_script(tmp_path):
    path = tmp_path / "new" / "face.png"
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    files.save_png(image, path, synthetic="true", text="眉 — levé", seed=3)
    read = Image.open(path)
    assert read.info == {"synthetic": "true", "text": "眉 — levé", "seed": "3"}
    np.testing.assert_array_equal(read, image)
