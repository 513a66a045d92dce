"""Faces are aligned to one template, reproducibly, and keep their expressions."""

import json
import sys

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
from tests.helpers.small_pictures import picture


def points_on_template(size: float) -> np.ndarray:
    """Makes 68 landmarks whose anchors lie on the template of a crop of `size` pixels."""
    points = np.random.default_rng(0).uniform(0.1, 0.9, (68, 2))
    (left, right, nose), half = TEMPLATE, np.array([0.06, 0.0])
    points[[36, 39, 42, 45, 33]] = left - half, left + half, right - half, right + half, nose
    return points * size


def turned(points: np.ndarray, scale: float, degrees: float, shift: complex) -> np.ndarray:
    places = points @ (1, 1j) * scale * np.exp(1j * np.deg2rad(degrees)) + shift
    return np.stack([places.real, places.imag], 1)


def test_face_on_the_template_is_unchanged():
    image = picture(64)
    crop, moved = align(image, points_on_template(64), size=64)
    np.testing.assert_allclose(crop.astype(int), image, atol=1)  # the template is rounded
    np.testing.assert_allclose(moved, points_on_template(64), atol=1e-4)


@settings(max_examples=25)
@given(
    st.floats(0.4, 3.0), st.floats(-180.0, 180.0), st.floats(-0.1, 0.3), st.sampled_from((16, 40))
)
def test_anchors_are_moved_to_the_template(scale, degrees, margin, size):
    middle = 100 * (1 + 1j) - 32 * scale * np.exp(1j * np.deg2rad(degrees)) * (1 + 1j)
    points = turned(points_on_template(64), scale, degrees, middle)
    crop, moved = align(picture(200), points, size=size, margin=margin)
    assert crop.shape == (size, size, 3) and crop.dtype == np.uint8 and moved.dtype == np.float32
    expected = (TEMPLATE + margin) / (1 + 2 * margin) * size
    np.testing.assert_allclose(anchor_points(moved), expected, atol=1e-3)


def test_rotated_and_enlarged_face_gives_the_same_crop():
    face, points = picture(96), points_on_template(96)
    upright, _ = align(face, points, size=48)
    again, _ = align(face.copy(), points.copy(), size=48)
    np.testing.assert_array_equal(upright, again)
    large = np.array(Image.fromarray(face).resize((384, 384), Image.Resampling.BICUBIC))
    quarter, _ = align(np.rot90(large), turned(points, 4, -90, 384j), size=48)
    assert np.abs(quarter.astype(int) - upright)[1:-1, 1:-1].mean() < 1.5


def test_reduction_averages_and_the_outside_repeats_the_edge():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    crop, _ = align(stripes, points_on_template(256), size=32)
    assert np.abs(crop[2:-2, 2:-2].astype(int) - 128).max() < 8  # not one stripe in eight
    image = np.full((64, 64, 3), (10, 200, 90), np.uint8)
    crop, _ = align(image, points_on_template(64) + 10, size=64)
    assert (crop == (10, 200, 90)).all()


def test_landmark_sets_have_the_same_anchors():
    all_68 = turned(points_on_template(64), 1.2, 10, 5 + 2j)
    inner_corners = [60, 64]
    for kept in (
        np.delete(np.arange(68), inner_corners),
        np.arange(17, 68),
        np.delete(np.arange(68), [*range(17), *inner_corners]),
    ):
        np.testing.assert_array_equal(anchor_points(all_68[kept]), anchor_points(all_68))


def test_expressions_do_not_move_the_crop():
    """Otherwise a crop would reveal the label, or cancel a raised brow."""
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


def test_open_faces_are_framed_like_aligned_photographs():
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
def test_landmarks_that_are_no_face_are_refused(change, message):
    with pytest.raises(AlignmentError, match=message):
        align(picture(64), change(points_on_template(64)), size=32)


def test_margin_that_cuts_the_face_is_refused():
    with pytest.raises(ValueError, match="margin is -0.5"):
        align(picture(64), points_on_template(64), size=32, margin=-0.5)


# --- Detected faces ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    """Images of two drawn people off centre, and their landmarks."""
    pytest.importorskip("cv2", reason="needs the extra `detector`")
    frames = [sampler.person_frames(n, num_frames=1, size=160, seed=0)[0] for n in (0, 1)]
    ground = np.full((2, 240, 260, 3), 90, np.uint8)
    ground[:, 40:200, 60:220] = [f.image for f in frames]
    return ground, [f.landmarks + (60, 40) for f in frames]


def test_detected_eyes_are_near_the_landmarks(drawn):
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


def test_missing_detector_is_an_error_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cv2", None)
    detector._opencv.cache_clear()
    Image.fromarray(picture(64)).save(tmp_path / "me.jpg")
    try:
        with pytest.raises(ValueError, match=r"me.jpg: .*\.\[detector\].*--reference-aligned"):
            reference_images.frame_photograph(str(tmp_path / "me.jpg"), tmp_path, 32, False)
    finally:
        detector._opencv.cache_clear()


def test_user_photograph_is_framed_like_training_images(drawn, tmp_path):
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


def test_crop_declared_as_aligned_is_not_changed(tmp_path):
    image = picture(64)
    Image.fromarray(image).save(tmp_path / "crop.png")
    got = reference_images.frame_photograph(str(tmp_path / "crop.png"), tmp_path, 64, True)
    np.testing.assert_array_equal(got, image)
