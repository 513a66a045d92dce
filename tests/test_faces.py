"""Laws of the built-in face: muscles, geometry, sampling, drawing."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from auface_jax import facs
from auface_jax.faces import muscles, render, sampler, skin
from auface_jax.faces.builtin import face_model
from auface_jax.faces.face_model import MATERIALS, PULLS
from auface_jax.faces.muscles import contractions, displaced
from auface_jax.faces.person import Scene
from auface_jax.faces.sheet import unit_sheet
from auface_jax.faces.visibility import visibility


def units(**intensities):
    """Intensities [12] from AU6=1.0 and the like."""
    values = np.zeros(12, np.float32)
    for name, value in intensities.items():
        values[facs.AU_NUMBERS.index(int(name[2:]))] = value
    return values


@pytest.fixture(scope="module")
def model():
    return face_model()


@pytest.fixture(scope="module")
def people():
    return [sampler.sample_person(np.random.default_rng([9, k, 0])) for k in range(6)]


def corner_height(model, neutral, intensities):
    moved = displaced(model, neutral, intensities)
    corners = np.concatenate([model.regions["left_corner"], model.regions["right_corner"]])
    return float((moved[corners, 1] - neutral[corners, 1]).mean())


# ---------------------------------------------------------------- muscles


def test_rest_is_rest(model):
    assert not contractions(np.zeros(12)).any()
    neutral = muscles.rest_lids(model, model.neutral(np.zeros(len(model.identity))))
    np.testing.assert_allclose(displaced(model, neutral, np.zeros(12)), neutral, atol=1e-5)


@pytest.mark.parametrize("number", facs.AU_NUMBERS)
def test_each_muscle_is_monotone_and_saturates(number):
    steps = np.linspace(0, 1, 11)
    curve = np.array([contractions(units(**{f"AU{number}": t})) for t in steps], float)
    driven = curve[-1] > 0
    assert driven.any()
    gain = np.diff(curve[:, driven], axis=0)
    assert (gain > 0).all()
    assert (np.diff(gain, axis=0) < 1e-5).all(), "the second half of an effort moves less"


@pytest.mark.parametrize(
    "own, others, pull",
    [
        (1, (2, 4), "brow_inner_up"),
        (2, (1, 4), "brow_outer_up"),
        (4, (1, 2), "brow_down"),
        (12, (15, 6, 23), "corner_up"),
        (15, (12, 17), "corner_down"),
        (7, (6,), "lid_tight"),
        (6, (7,), "lid_tight"),
        (6, (12, 15), "cheek_up"),
        (10, (17, 24), "lip_up"),
        (23, (24, 17), "lips_roll"),
        (24, (23, 17), "lips_press"),
    ],
)
def test_a_pull_grows_with_its_unit_whatever_the_others_do(own, others, pull):
    background = units(**{f"AU{n}": 1.0 for n in others})
    values = []
    for t in np.linspace(0, 1, 6):
        mixed = background.copy()
        mixed[facs.AU_NUMBERS.index(own)] = t
        values.append(contractions(mixed)[PULLS.index(pull)])
    assert (np.diff(values) > 0).all()


def test_corner_of_the_mouth_under_opposed_pulls(model):
    neutral = model.neutral(np.zeros(len(model.identity)))
    smile = corner_height(model, neutral, units(AU12=1))
    frown = corner_height(model, neutral, units(AU15=1))
    both = corner_height(model, neutral, units(AU12=1, AU15=1))
    assert frown < 0 < smile
    assert frown < both < smile
    assert both < 0.1, "with both, the corner is held low"
    # ... and yet the pulls do not cancel: the mouth is wide.
    corner = model.regions["left_corner"][0]
    moved = displaced(model, neutral, units(AU12=1, AU15=1))
    assert moved[corner, 0] - neutral[corner, 0] > 0.4
    # Monotone in each, whatever the other does.
    for other in (0.0, 0.5, 1.0):
        up = [corner_height(model, neutral, units(AU12=t, AU15=other)) for t in (0, 0.5, 1)]
        down = [corner_height(model, neutral, units(AU15=t, AU12=other)) for t in (0, 0.5, 1)]
        assert up == sorted(up) and len(set(up)) == 3
        assert down == sorted(down, reverse=True) and len(set(down)) == 3


def test_brow_under_opposed_pulls(model):
    neutral = model.neutral(np.zeros(len(model.identity)))

    def brow(intensities):
        moved = displaced(model, neutral, intensities) - neutral
        return moved[model.landmarks[20:24], 1].mean()  # the medial halves of the brows

    raised, lowered = brow(units(AU1=1, AU2=1)), brow(units(AU4=1))
    assert lowered < 0 < raised
    assert lowered < brow(units(AU1=1, AU4=1)) < brow(units(AU1=1))
    assert lowered < brow(units(AU1=1, AU2=1, AU4=1)) < raised


def test_the_built_in_face_and_its_expressions_are_symmetric_unless_asked(model):
    neutral = model.neutral(np.zeros(len(model.identity)))
    edge = model.regions["upper_lip_edge"]
    moved = displaced(model, neutral, np.ones(12, np.float32))
    line = moved[edge[np.argsort(moved[edge, 0])]]
    np.testing.assert_allclose(line[:, 0], -line[::-1, 0], atol=1e-3)
    np.testing.assert_allclose(line[:, 1:], line[::-1, 1:], atol=1e-3)
    left, right = model.regions["left_corner"], model.regions["right_corner"]
    lead = displaced(model, neutral, units(AU12=1), asymmetry=0.2)
    assert lead[left, 1] > lead[right, 1] + 0.1


def random_expressions(count, seed=3):
    rng = np.random.default_rng(seed)
    extreme = [np.ones(12, np.float32), units(AU6=1, AU7=1), units(AU10=1, AU12=1, AU17=1)]
    return extreme + [sampler.sample_intensities(rng) for _ in range(count)]


def test_lids_never_go_through_the_eyeball_and_eyes_stay_open(model, people):
    for person in people:
        neutral = render.resting_face(model, person)
        for intensities in random_expressions(8):
            moved = displaced(model, neutral, intensities, person.asymmetry)
            for side, eyeball, lid in zip(
                ("left", "right"), model.eyeballs, model.lids, strict=True
            ):
                centre, radius = muscles.eyeball_sphere(moved[eyeball])
                in_front = moved[lid, 2] > centre[2]
                distance = np.linalg.norm(moved[lid] - centre, axis=1)
                assert (distance[in_front] > radius).all()
                upper = moved[model.regions[f"{side}_upper_lid"], 1]
                lower = moved[model.regions[f"{side}_lower_lid"], 1]
                assert (upper - lower).max() > 0.1, "the eye has closed"
                assert (upper - lower).min() > -0.05, "the lids have crossed"


def test_lips_do_not_cross(model, people):
    upper, lower = model.regions["upper_lip_edge"], model.regions["lower_lip_edge"]
    for person in people:
        neutral = render.resting_face(model, person)
        for intensities in random_expressions(8):
            moved = displaced(model, neutral, intensities)
            assert (moved[upper, 1] - moved[lower, 1]).min() > -0.12


# ---------------------------------------------------------------- drawing


def changed(model, person, scene, intensities, size=64):
    rest, _ = render.render(model, person, np.zeros(12), scene, size)
    image, _ = render.render(model, person, intensities, scene, size)
    return (np.abs(image.astype(int) - rest).max(-1) > 20).mean()


@pytest.mark.parametrize("number", facs.AU_NUMBERS)
def test_each_unit_is_visible_at_64_pixels(model, people, number):
    shares = [changed(model, person, Scene(), units(**{f"AU{number}": 1.0})) for person in people]
    assert np.mean(shares) >= 0.01


def test_no_unit_shows_by_its_wrinkles_alone(model):
    full, smooth, half, smooth_half = visibility(model, people=4, size=64).T
    assert (full > 0.01).all()
    assert (smooth > 0.5 * full).all() and (smooth_half > 0.5 * half).all()


def test_hair_is_painted_on_no_sculpted_neck(people):
    long, bald = (skin.paint(people[0], style, sculpted=True) for style in ("long", "bald"))
    neck = skin.texel_grid()[1] < -4.5
    np.testing.assert_array_equal(long[neck], bald[neck])
    assert (long != bald).any()


def test_expression_shows_more_the_stronger_it_is(model, people):
    for number in (1, 4, 12, 15):
        name = f"AU{number}"
        weak, strong = (
            np.mean([changed(model, p, Scene(), units(**{name: t})) for p in people[:3]])
            for t in (0.4, 1.0)
        )
        assert weak < strong


def test_landmarks_follow_the_picture(model, people):
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
def test_bad_size_is_named(model, people, size):
    with pytest.raises(ValueError, match="size is"):
        render.render(model, people[0], np.zeros(12), Scene(), size)


@pytest.mark.parametrize(
    "intensities, message",
    [
        (np.zeros(11), "give 12 numbers"),
        (units(AU6=1.5), "AU6 has intensity 1.5"),
        (units(AU7=-0.1), "AU7 has intensity"),
        (units(AU24=np.nan), "AU24 has intensity nan"),
    ],
)
def test_bad_intensities_are_named(intensities, message):
    with pytest.raises(ValueError, match=message):
        contractions(intensities)


def test_a_model_checks_its_shapes_and_its_arguments(model):
    with pytest.raises(ValueError, match="uv has shape"):
        dataclasses.replace(model, uv=model.uv[:-1])
    with pytest.raises(ValueError, match="identity coefficients"):
        model.neutral(np.zeros(3))
    with pytest.raises(ValueError, match="hair style 99"):
        model.neutral(np.zeros(len(model.identity)), 99)
    assert model.materials.max() < len(MATERIALS)


# ---------------------------------------------------------------- sampling


def test_rates_and_co_occurrence():
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


def test_all_26_combinations_are_reached():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(6000):
        labels = (sampler.sample_intensities(rng) >= sampler.PRESENT).astype(np.int8)
        seen.update(name for name in facs.constructs(labels) if "+" in name)
    assert len(seen) == 26


def test_scene_and_person_say_nothing_about_the_labels():
    # The same person and scene come out whatever generator the expression takes.
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


def test_a_person_is_recorded_in_one_place():
    recording = sampler.sample_scene(np.random.default_rng(4))
    moments = [sampler.sample_moment(recording, np.random.default_rng(k)) for k in range(50)]
    for field in ("background", "background_angle", "key", "key_colour", "fill", "ambient"):
        assert all(getattr(moment, field) == getattr(recording, field) for moment in moments)
    yaws = np.array([moment.yaw for moment in moments])
    assert yaws.std() > 1 and np.abs(yaws - recording.yaw).max() <= 7.0


def digest(frames):
    return hashlib.sha256(b"".join(f.image.tobytes() for f in frames)).hexdigest()


def test_same_seed_same_bytes_in_another_process():
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


def test_people_differ(people):
    neutral = [render.render(face_model(), p, np.zeros(12), Scene(), 32)[0] for p in people]
    for k, image in enumerate(neutral):
        for other in neutral[:k]:
            assert np.abs(image.astype(int) - other).mean() > 4


@pytest.mark.parametrize("bad", [{"index": -1}, {"num_frames": 0}, {"seed": -2}, {"size": 5}])
def test_bad_request_for_frames_is_named(bad):
    request = {"index": 0, "num_frames": 1, "size": 32, "seed": 0, **bad}
    with pytest.raises(ValueError, match=next(iter(bad))):
        sampler.person_frames(**request)


def test_sheet_has_a_row_for_each_unit():
    sheet = unit_sheet(32, 2, seed=0)
    assert sheet.height == 13 * 32
