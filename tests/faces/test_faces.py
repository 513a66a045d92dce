"""Laws of the built-in face: drawing and sampling. `test_muscles` tests its muscles."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.faces import sampler
from auface_jax.faces.mesh.builtin import face_model
from auface_jax.faces.mesh.face_model import MATERIALS
from auface_jax.faces.person import Scene
from auface_jax.faces.render import render, skin
from auface_jax.faces.sheet import unit_sheet
from benchmarks.visibility import visibility
from tests.helpers.face_models import units


@pytest.fixture(scope="module")
def model():
    return face_model()


@pytest.fixture(scope="module")
def people():
    return [sampler.sample_person(np.random.default_rng([9, k, 0])) for k in range(6)]


# ---------------------------------------------------------------- drawing


def changed(model, person, scene, intensities, size=64):
    rest, _ = render.render(model, person, np.zeros(12), scene, size)
    image, _ = render.render(model, person, intensities, scene, size)
    return (np.abs(image.astype(int) - rest).max(-1) > 20).mean()


@pytest.mark.parametrize("number", facs.AU_NUMBERS)
def test_each_unit_is_visible_at_64_pixels(model, people, number):
    shares = [changed(model, person, Scene(), units(number)) for person in people]
    assert np.mean(shares) >= 0.01


@pytest.mark.slow
def test_every_unit_is_visible_on_smooth_skin(model):
    full, smooth, half, smooth_half = visibility(model, people=4, size=64).T
    assert (full > 0.01).all()
    assert (smooth > 0.5 * full).all() and (smooth_half > 0.5 * half).all()


def test_hair_is_not_painted_on_a_sculpted_neck(people):
    long, bald = (skin.paint(people[0], style, sculpted=True) for style in ("long", "bald"))
    neck = skin.texel_grid()[1] < -4.5
    np.testing.assert_array_equal(long[neck], bald[neck])
    assert (long != bald).any()


def test_stronger_expression_changes_more_pixels(model, people):
    for number in (1, 4, 12, 15):
        weak, strong = (
            np.mean([changed(model, p, Scene(), units(number, at=t)) for p in people[:3]])
            for t in (0.4, 1.0)
        )
        assert weak < strong


def test_landmarks_scale_and_turn_with_the_picture(model, people):
    image, at_64 = render.render(model, people[0], np.zeros(12), Scene(), 64)
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert at_64.shape == (68, 2) and at_64.dtype == np.float32
    assert (at_64 > 0).all() and (at_64 < 64).all()
    _, at_128 = render.render(model, people[0], np.zeros(12), Scene(), 128)
    np.testing.assert_allclose(at_128, 2 * at_64, atol=1e-3)
    right_eye, left_eye = at_64[36:42].mean(0), at_64[42:48].mean(0)
    mouth, chin = at_64[48:60].mean(0), at_64[8]
    assert right_eye[0] < left_eye[0], "the subject's right eye is on the viewer's left"
    assert right_eye[1] < mouth[1] < chin[1]
    _, turned = render.render(model, people[0], np.zeros(12), Scene(yaw=12.0), 64)
    assert turned[30, 0] > at_64[30, 0] + 1, "the nose turns to the subject's left"
    _, nodding = render.render(model, people[0], np.zeros(12), Scene(pitch=10.0), 64)
    assert nodding[30, 1] < at_64[30, 1] - 1, "the nose points up"


@pytest.mark.parametrize("size", [0, 15, 2048, 64.0])
def test_illegal_size_is_rejected(model, people, size):
    with pytest.raises(ValueError, match="size is"):
        render.render(model, people[0], np.zeros(12), Scene(), size)


def test_face_model_checks_its_shapes_and_its_arguments(model):
    with pytest.raises(ValueError, match="uv has shape"):
        dataclasses.replace(model, uv=model.uv[:-1])
    with pytest.raises(ValueError, match="identity coefficients"):
        model.neutral(np.zeros(3))
    with pytest.raises(ValueError, match="hair style 99"):
        model.neutral(np.zeros(len(model.identity)), 99)
    assert model.materials.max() < len(MATERIALS)


# ---------------------------------------------------------------- sampling


def test_sampled_units_have_their_rates_and_co_occurrence():
    rng = np.random.default_rng(0)
    drawn = np.array([sampler.sample_intensities(rng) for _ in range(6000)])
    present = drawn >= sampler.PRESENT
    assert present.any(1).all()
    assert not ((drawn > 0) & (drawn < sampler.PRESENT)).any()
    assert drawn.max() <= 1.0 and np.median(drawn[present]) > 0.7
    rates = dict(zip(facs.AU_NUMBERS, present.mean(0), strict=True))
    for number, target in sampler.AU_RATES.items():
        assert abs(rates[number] - target) < 0.03, f"AU{number}: {rates[number]:.3f}"
    of = {n: present[:, facs.AU_NUMBERS.index(n)] for n in facs.AU_NUMBERS}
    for a, b in ((1, 2), (6, 12), (6, 7), (10, 12), (15, 17), (23, 24)):
        assert (of[a] & of[b]).mean() > 1.15 * of[a].mean() * of[b].mean(), f"AU{a}+AU{b}"


def test_sampled_expressions_contain_all_26_combinations():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(6000):
        labels = (sampler.sample_intensities(rng) >= sampler.PRESENT).astype(np.int8)
        seen.update(name for name in facs.constructs(labels) if "+" in name)
    assert len(seen) == 26


def test_scene_is_independent_of_the_labels():
    # The generator of the expression does not change the person or the scene.
    frames = sampler.person_frames(2, 3, 32, seed=5)
    assert [f.frame for f in frames] == [0, 1, 2]
    assert not frames[0].labels.any() and not frames[1].labels.any() and frames[2].labels.any()
    assert (frames[0].image != frames[1].image).any(), "neutral frames differ in pose"
    # No linear read-out of the scene is better than chance for any unit.
    scenes, labels = [], []
    for k in range(1500):
        recording = sampler.sample_scene(np.random.default_rng([5, k // 30, 3]))
        scene = sampler.sample_moment(recording, np.random.default_rng([5, k // 30, 1, k % 30]))
        flat = dataclasses.asdict(scene).values()
        scenes.append(np.concatenate([np.ravel(v) for v in flat]))
        drawn = sampler.sample_intensities(np.random.default_rng([5, k // 30, 2, k % 30]))
        labels.append(drawn >= sampler.PRESENT)
    scenes, labels = np.array(scenes), np.array(labels, float)
    scenes = (scenes - scenes.mean(0)) / (scenes.std(0) + 1e-9)
    correlation = scenes.T @ ((labels - labels.mean(0)) / labels.std(0)) / len(scenes)
    assert np.abs(correlation).max() < 0.12


def test_moments_share_the_room_of_their_recording():
    recording = sampler.sample_scene(np.random.default_rng(4))
    moments = [sampler.sample_moment(recording, np.random.default_rng(k)) for k in range(50)]
    room = ("background", "background_angle", "key", "key_colour", "fill", "ambient")
    for field in (*room, "blur", "jpeg_quality"):
        assert all(getattr(moment, field) == getattr(recording, field) for moment in moments)
    yaws = np.array([moment.yaw for moment in moments])
    assert yaws.std() > 1 and np.abs(yaws - recording.yaw).max() <= 8.0


def digest(frames):
    return hashlib.sha256(b"".join(f.image.tobytes() for f in frames)).hexdigest()


@pytest.mark.slow
def test_frames_are_equal_in_another_process():
    here = digest(sampler.person_frames(7, 4, 48, seed=11))
    assert here == digest(sampler.person_frames(7, 4, 48, seed=11))
    code = (
        "import hashlib; from auface_jax.faces import sampler;"
        "f = sampler.person_frames(7, 4, 48, seed=11);"
        "print(hashlib.sha256(b''.join(x.image.tobytes() for x in f)).hexdigest())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == here
    assert digest(sampler.person_frames(8, 4, 48, seed=11)) != here
    # A frame does not depend on how many are drawn.
    more = sampler.person_frames(7, 5, 48, seed=11)
    assert digest(more[:4]) == here


def test_people_look_different(people):
    neutral = [render.render(face_model(), p, np.zeros(12), Scene(), 32)[0] for p in people]
    for k, image in enumerate(neutral):
        for other in neutral[:k]:
            assert np.abs(image.astype(int) - other).mean() > 4


@pytest.mark.parametrize("bad", [{"index": -1}, {"num_frames": 0}, {"seed": -2}, {"size": 5}])
def test_illegal_request_for_frames_is_rejected(bad):
    request = {"index": 0, "num_frames": 1, "size": 32, "seed": 0, **bad}
    with pytest.raises(ValueError, match=next(iter(bad))):
        sampler.person_frames(**request)


@pytest.mark.slow
def test_sheet_has_a_row_for_each_unit():
    sheet = unit_sheet(32, 2, seed=0)
    assert sheet.height == 13 * 32
