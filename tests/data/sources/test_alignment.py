"""Every face comes to one place, with the same bytes each time, and its expression is its own."""

import json
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from auface_jax.data.record import SCHEMA_VERSION
from auface_jax.data.sources import detector
from auface_jax.data.sources.alignment import AlignmentError, align, frame
from auface_jax.faces import sampler
from auface_jax.faces.mesh.builtin import face_model
from auface_jax.faces.person import Scene
from auface_jax.faces.render.render import render
from auface_jax.faces.template import TEMPLATE, anchor_points
from auface_jax.generation import reference_images
from auface_jax.images import files
from auface_jax.images.files import ImageFileError, read_rgb


def points_on_template(size: float) -> np.ndarray:
    """68 landmarks whose anchors are the template's, for a crop of `size` pixels."""
    points = np.random.default_rng(0).uniform(0.1, 0.9, (68, 2))
    (left, right, nose), half = TEMPLATE, np.array([0.06, 0.0])
    points[[36, 39, 42, 45, 33]] = left - half, left + half, right - half, right + half, nose
    return points * size


def turned(points: np.ndarray, scale: float, degrees: float, shift: complex) -> np.ndarray:
    places = points @ (1, 1j) * scale * np.exp(1j * np.deg2rad(degrees)) + shift
    return np.stack([places.real, places.imag], 1)


def picture(size: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth picture: noise enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.array(Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC))


def test_a_face_on_the_template_passes_unharmed():
    image = picture(64)
    crop, moved = align(image, points_on_template(64), size=64)
    np.testing.assert_allclose(crop.astype(int), image, atol=1)  # the template is rounded
    np.testing.assert_allclose(moved, points_on_template(64), atol=1e-4)


@settings(max_examples=25)
@given(
    st.floats(0.4, 3.0), st.floats(-180.0, 180.0), st.floats(-0.1, 0.3), st.sampled_from((16, 40))
)
def test_anchors_come_to_the_template_wherever_they_were(scale, degrees, margin, size):
    middle = 100 * (1 + 1j) - 32 * scale * np.exp(1j * np.deg2rad(degrees)) * (1 + 1j)
    points = turned(points_on_template(64), scale, degrees, middle)
    crop, moved = align(picture(200), points, size=size, margin=margin)
    assert crop.shape == (size, size, 3) and crop.dtype == np.uint8 and moved.dtype == np.float32
    expected = (TEMPLATE + margin) / (1 + 2 * margin) * size
    np.testing.assert_allclose(anchor_points(moved), expected, atol=1e-3)


def test_a_face_turned_and_enlarged_gives_the_same_crop():
    face, points = picture(96), points_on_template(96)
    upright, _ = align(face, points, size=48)
    again, _ = align(face.copy(), points.copy(), size=48)
    np.testing.assert_array_equal(upright, again)
    large = np.array(Image.fromarray(face).resize((384, 384), Image.Resampling.BICUBIC))
    quarter, _ = align(np.rot90(large), turned(points, 4, -90, 384j), size=48)
    assert np.abs(quarter.astype(int) - upright)[1:-1, 1:-1].mean() < 1.5


def test_reducing_averages_and_the_outside_repeats_the_edge():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    crop, _ = align(stripes, points_on_template(256), size=32)
    assert np.abs(crop[2:-2, 2:-2].astype(int) - 128).max() < 8  # not one stripe in eight
    image = np.full((64, 64, 3), (10, 200, 90), np.uint8)
    crop, _ = align(image, points_on_template(64) + 10, size=64)
    assert (crop == (10, 200, 90)).all()


def test_the_usual_landmark_sets_agree():
    all_68 = turned(points_on_template(64), 1.2, 10, 5 + 2j)
    inner_corners = [60, 64]
    for kept in (
        np.delete(np.arange(68), inner_corners),
        np.arange(17, 68),
        np.delete(np.arange(68), [*range(17), *inner_corners]),
    ):
        np.testing.assert_array_equal(anchor_points(all_68[kept]), anchor_points(all_68))


def test_no_expression_moves_the_crop():
    """Else a crop would tell the label, or a raised brow would be pushed down again."""
    model = face_model()
    person = sampler.sample_person(np.random.default_rng(3), model)
    _, neutral = render(model, person, np.zeros(12, np.float32), Scene(), 128)
    for unit in range(12):
        strong = np.eye(12, dtype=np.float32)[unit]
        _, moved = render(model, person, strong, Scene(), 128)
        blank = np.zeros((128, 128, 3), np.uint8)
        _, before = align(blank, neutral, size=100)
        _, after = align(blank, moved, size=100)
        # The forehead's and jaw's outlines stay where they are, whatever brows and lips do.
        still = [0, 1, 2, 14, 15, 16, 27]
        assert np.abs(after - before)[still].max() < 1.5, f"unit {unit} moves the frame"


def test_open_faces_are_framed_as_photographs_are_aligned():
    model = face_model()
    person = sampler.sample_person(np.random.default_rng(5), model)
    scene = Scene(yaw=9.0, pitch=-4.0, roll=6.0)
    image, landmarks = render(model, person, np.zeros(12, np.float32), scene, 96)
    crop, moved = align(image, landmarks, size=96)
    np.testing.assert_allclose(moved, landmarks, atol=0.02)
    assert np.abs(crop.astype(int) - image)[2:-2, 2:-2].mean() < 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p[:46],
            r"unknown set \(an array \(46, 2\), .* with 68, 66, 51, 49",
        ),
        (lambda p: np.full_like(p, np.nan), "no number"),
        (lambda p: np.zeros_like(p), "0.0 pixels apart"),
        (lambda p: p * 0.01, "too small"),
        (lambda p: p * (-1, 1) + (64, 0), "mirrored"),
        (lambda p: p * (1, 0) + (0, 9), "0.00 eye distances below"),
        (lambda p: p + 60, "lie outside the image of 64 x 64 pixels"),
    ],
)
def test_landmarks_of_no_face_are_refused(change, message):
    with pytest.raises(AlignmentError, match=message):
        align(picture(64), change(points_on_template(64)), size=32)


def test_a_margin_that_cuts_the_face_away_is_refused():
    with pytest.raises(ValueError, match="margin is -0.5"):
        align(picture(64), points_on_template(64), size=32, margin=-0.5)


# --- Image files ---------------------------------------------------------------------------------


def test_every_kind_of_8_bit_file_is_read_alike(tmp_path):
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


def test_sixteen_bits_give_their_upper_eight_or_a_clear_error(tmp_path):
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


def test_what_is_transparent_is_grey_whatever_colour_hides_there(tmp_path):
    image = np.dstack([picture(32), np.full((32, 32), 255, np.uint8)])
    image[:8] = (255, 0, 0, 0)
    Image.fromarray(image).save(tmp_path / "cut.png")
    read = read_rgb(tmp_path / "cut.png")
    assert (read[:8] == 128).all()
    np.testing.assert_array_equal(read[8:], image[8:, :, :3])


def test_files_that_cannot_be_read_say_why(tmp_path, monkeypatch):
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


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    Image.new("1", (9_000, 9_000)).save(tmp_path / "bomb.png")  # a few kilobytes
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it was unpacked"))
    assert 9_000**2 > files.MOST_PIXELS
    with pytest.raises(ImageFileError, match="9000 x 9000 pixels, at most 80,000,000"):
        read_rgb(tmp_path / "bomb.png")
    Image.MAX_IMAGE_PIXELS, before = 1_000_000, Image.MAX_IMAGE_PIXELS
    try:
        with pytest.raises(ImageFileError, match="cannot be read as an image .*bomb"):
            read_rgb(tmp_path / "bomb.png")
    finally:
        Image.MAX_IMAGE_PIXELS = before


# --- Looking for faces ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    """Two drawn people, not centred, with their landmarks."""
    pytest.importorskip("cv2", reason="needs the extra `detector`")
    frames = [sampler.person_frames(n, num_frames=1, size=160, seed=0)[0] for n in (0, 1)]
    ground = np.full((2, 240, 260, 3), 90, np.uint8)
    ground[:, 40:200, 60:220] = [f.image for f in frames]
    return ground, [f.landmarks + (60, 40) for f in frames]


def test_a_face_that_is_looked_for_comes_to_the_place_that_landmarks_give(drawn):
    for image, landmarks in zip(*drawn, strict=True):
        crop, none = align(image, size=100)
        again, _ = frame(image, None, size=100, how="detector")
        np.testing.assert_array_equal(crop, again)
        assert none is None
        eyes = detector.find_eyes(image)
        distance = np.linalg.norm(np.diff(anchor_points(landmarks)[:2], axis=0))
        assert np.abs(eyes - anchor_points(landmarks)[:2]).max() < 0.12 * distance


def test_no_face_and_two_faces_are_refused(drawn):
    (one, other), _ = drawn
    with pytest.raises(AlignmentError, match="no face found"):
        align(picture(200), size=64)
    with pytest.raises(AlignmentError, match="several faces found .2: cut"):
        align(np.concatenate([one, other], axis=1), size=64)


def test_without_a_detector_the_cure_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    detector._opencv.cache_clear()
    Image.fromarray(picture(64)).save(tmp_path / "me.jpg")
    try:
        with pytest.raises(ValueError, match=r"me.jpg: .*\.\[detector\].*--reference-aligned"):
            reference_images.frame_photograph(str(tmp_path / "me.jpg"), tmp_path, 32, False)
    finally:
        detector._opencv.cache_clear()


def test_a_users_photograph_goes_the_way_of_the_training_faces(drawn, tmp_path):
    image = drawn[0][0]
    Image.fromarray(image).save(tmp_path / "me.png")
    me = str(tmp_path / "me.png")
    got = reference_images.frame_photograph(me, tmp_path, 64, False)
    np.testing.assert_array_equal(got, align(image, size=64)[0])
    for how, expected in (
        ({"align": "detector", "margin": 0.1}, align(image, size=64, margin=0.1)[0]),
        ({"align": "off"}, files.central_square(image, 64)),
    ):
        info = {"schema_version": SCHEMA_VERSION, "options": how}
        (tmp_path / "dataset.json").write_text(json.dumps(info))
        np.testing.assert_array_equal(
            reference_images.frame_photograph(me, tmp_path, 64, False), expected
        )


def test_a_crop_said_to_be_aligned_is_not_touched(tmp_path):
    image = picture(64)
    Image.fromarray(image).save(tmp_path / "crop.png")
    got = reference_images.frame_photograph(str(tmp_path / "crop.png"), tmp_path, 64, True)
    np.testing.assert_array_equal(got, image)
