"""Laws of the camera: turn of the head, focus, compression."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from auface_jax.faces import sampler
from auface_jax.faces.mesh.builtin import face_model
from auface_jax.faces.person import Scene
from auface_jax.faces.render import film, render

_PEOPLE = 1500


@pytest.fixture(scope="module")
def recordings():
    return [sampler.sample_scene(np.random.default_rng([2, k, 3])) for k in range(_PEOPLE)]


@pytest.fixture(scope="module")
def light():
    """A picture before the film, float32 [96, 96, 3]: edges and noise."""
    rng = np.random.default_rng(0)
    blocks = rng.uniform(0.05, 0.6, (12, 12, 3)).repeat(8, 0).repeat(8, 1)
    return (blocks * rng.uniform(0.9, 1.1, (96, 96, 1))).astype(np.float32)


def test_heads_turn_within_their_limits(recordings):
    moments = [
        sampler.sample_moment(recording, np.random.default_rng([2, k, 1, frame]))
        for k, recording in enumerate(recordings)
        for frame in range(4)
    ]
    for field, most in (("yaw", 20), ("pitch", 12)):
        turns = np.abs([getattr(moment, field) for moment in moments])
        assert 0.85 * most < turns.max() <= most
    assert np.std([moment.yaw for moment in moments]) > 6


def test_a_third_of_cameras_blur_and_a_third_compress(recordings):
    blur = np.array([scene.blur for scene in recordings])
    quality = np.array([scene.jpeg_quality for scene in recordings])
    # Three standard deviations of a share of a third of 1,500 are 0.037.
    assert abs((blur > 0).mean() - 1 / 3) < 0.037
    assert 0.75 < 128 * blur.max() <= 0.8
    compressed = quality < film.UNCOMPRESSED
    assert abs(compressed.mean() - 1 / 3) < 0.037
    assert (quality[compressed].min(), quality[compressed].max()) == (50, 95)
    assert (quality[~compressed] == film.UNCOMPRESSED).all()
    assert abs(np.corrcoef(blur > 0, compressed)[0, 1]) < 0.08, "each by itself"


@pytest.mark.parametrize("size", [64, 128, 256])
def test_blur_scales_with_the_picture(size):
    dot = np.zeros((size, size, 3), np.float32)
    dot[size // 2, size // 2] = 0.002 * size**2
    picture = film.photograph(dot, Scene(blur=0.03), size)[..., 0]
    seen = (picture / 255.0) ** 2.2
    places = np.arange(size) - size // 2
    spread = np.sqrt((seen.sum(0) * places**2).sum() / seen.sum())
    assert abs(spread / size - 0.03) < 0.001


def test_sharp_uncompressed_picture_is_gamma_corrected_light(light):
    plain = film.photograph(light, Scene(), 96)
    np.testing.assert_array_equal(plain, np.round(255 * light ** (1 / 2.2)))
    halved = film.photograph(light, Scene(), 48).astype(float)
    np.testing.assert_allclose(halved, plain.reshape(48, 2, 48, 2, 3).mean((1, 3)), atol=1)


def test_stronger_compression_costs_more_and_shifts_no_colour(light):
    plain = film.photograph(light, Scene(), 96).astype(float)
    costs = []
    for quality in (95, 75, 50):
        packed = film.photograph(light, Scene(jpeg_quality=quality), 96)
        np.testing.assert_array_equal(
            packed, film.photograph(light, Scene(jpeg_quality=quality), 96)
        )
        costs.append(np.abs(packed - plain).mean())
        np.testing.assert_allclose(packed.mean((0, 1)), plain.mean((0, 1)), atol=1.5)
    assert 0 < costs[0] < costs[1] < costs[2]


def test_worst_camera_moves_no_landmark_and_keeps_the_face_visible():
    model = face_model()
    person = sampler.sample_person(np.random.default_rng(3))
    at_worst = Scene(blur=0.8 / 128, jpeg_quality=50)
    clear, marks = render.render(model, person, np.zeros(12), Scene(), 64)
    worst, same_marks = render.render(model, person, np.zeros(12), at_worst, 64)
    np.testing.assert_array_equal(marks, same_marks)
    difference = clear.astype(float) - worst
    assert difference.any()
    assert 10 * np.log10(255**2 / (difference**2).mean()) > 28, "dB"


@pytest.mark.slow
def test_blurred_and_compressed_frames_are_equal_in_another_process():
    seed = 11
    index = next(
        k
        for k in range(100)
        for scene in [sampler.sample_scene(np.random.default_rng([seed, k, 3]))]
        if scene.blur and scene.jpeg_quality < film.UNCOMPRESSED
    )
    code = (
        "import hashlib; from auface_jax.faces import sampler;"
        f"frames = sampler.person_frames({index}, 3, 48, seed={seed});"
        "print(hashlib.sha256(b''.join(f.image.tobytes() for f in frames)).hexdigest())"
    )
    frames = sampler.person_frames(index, 3, 48, seed=seed)
    here = hashlib.sha256(b"".join(frame.image.tobytes() for frame in frames)).hexdigest()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == here


@pytest.mark.parametrize(
    "camera, message",
    [
        ({"blur": -0.1}, "blur is -0.1; it must be from 0 to 0.1"),
        ({"blur": 2.0}, "blur is 2.0"),
        ({"blur": float("nan")}, "blur is nan"),
        ({"jpeg_quality": 0}, "jpeg_quality is 0; it must be a whole number 1 to 95, or 100"),
        ({"jpeg_quality": 97}, "jpeg_quality is 97"),
        ({"jpeg_quality": 75.5}, "jpeg_quality is 75.5"),
    ],
)
def test_illegal_camera_is_rejected_with_its_range(light, camera, message):
    with pytest.raises(ValueError, match=message):
        film.photograph(light, dataclasses.replace(Scene(), **camera), 96)
