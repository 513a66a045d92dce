"""Laws of glasses, beards, lashes, and the tone of a face at rest."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from auface_jax import facs
from auface_jax.faces import sampler
from auface_jax.faces.mesh import beard, glasses
from auface_jax.faces.mesh.builtin import face_model
from auface_jax.faces.mesh.head_shape import MOUTH_HALF
from auface_jax.faces.mesh.lashes import lashes
from auface_jax.faces.muscles import displaced
from auface_jax.faces.person import Scene
from auface_jax.faces.render import render, skin


@pytest.fixture(scope="module")
def model():
    return face_model()


@pytest.fixture(scope="module")
def people(model):
    return [sampler.sample_person(np.random.default_rng([9, k, 0]), model) for k in range(1500)]


def unit(number):
    return facs.labels_from_units([number]).astype(np.float32)


def test_shares_of_glasses_and_beards(people):
    def share(of):
        return np.mean([of(person) for person in people])

    # Three standard deviations of a share near a quarter of 1,500 people are 0.034.
    assert abs(share(lambda p: p.glasses != "none") - 0.25) < 0.034
    assert abs(share(lambda p: p.beard != "none") - 0.25 * 0.65) < 0.034
    assert all(person.stubble > 0 for person in people if person.beard != "none")
    assert {person.glasses for person in people} == set(glasses.GLASSES)
    assert {person.beard for person in people} == set(beard.BEARDS)


def test_tone_is_far_weaker_than_a_unit_and_differs_between_people(people):
    tones = np.array([person.tone for person in people])
    assert tones.min() == 0 and 0.08 < tones.max() <= 0.12
    assert (tones.std(0).max() > 0.02) and (tones.std(1) > 0).all()


def test_tone_moves_the_resting_face_less_than_any_unit(model, people):
    for person in people[:4]:
        blank = dataclasses.replace(person, tone=np.zeros_like(person.tone))
        toned, plain = (render.resting_face(model, p) for p in (person, blank))
        moved = np.abs(toned - plain).max()
        assert 0.0 < moved < 0.35, "centimetres"


@pytest.mark.parametrize("kind", beard.BEARDS)
def test_beard_leaves_the_lips_bare(kind):
    x, y = skin.texel_grid()
    red = skin._lip_mask(np.abs(x), y) > 0.5
    assert red.sum() > 1000
    assert beard.cover(kind, x, y)[red].max() < 0.1
    assert beard.cover(kind, x, y, ragged=0.12)[red].mean() < 0.05, "a hair here and there"
    grown = beard.thickness(kind, 0.7, np.stack([x.ravel(), y.ravel()], 1))
    assert grown.min() >= 0.0 and grown.max() <= 0.7
    assert (grown.max() > 0.1) == (kind != "none")
    if kind != "none":
        assert beard.cover(kind, np.array([0.8]), np.array([-2.1]))[0] > 0.5, "over the lip"
        assert beard.cover(kind, np.array([MOUTH_HALF]), np.array([1.0]))[0] == 0.0, "cheek"


@pytest.mark.parametrize("kind", glasses.GLASSES[1:])
def test_eyes_stay_behind_the_lenses_under_every_expression(model, people, kind):
    sides = [f"{side}_{lid}" for side in ("left", "right") for lid in ("upper", "lower")]
    lids = [model.regions[f"{name}_lid"] for name in sides]
    eyes = np.concatenate([*lids, *model.eyeballs])
    for person in people[:3]:
        wearer = dataclasses.replace(person, glasses=kind, rim=0.15)
        neutral = render.resting_face(model, wearer)
        worn = glasses.fitted(model, wearer, neutral)
        lens = cKDTree(worn.lens[:, :2])
        for intensities in (np.zeros(12), unit(4), unit(6) + unit(7) + unit(12)):
            moved = displaced(model, neutral, intensities)[eyes]
            gap, nearest = lens.query(moved[:, :2])
            over = gap < 0.3
            assert over.sum() > 500, "eyes are seen through the lenses"
            assert (worn.lens[nearest, 2] > moved[:, 2])[over].all()


def test_person_without_glasses_gets_none(model, people):
    bare = dataclasses.replace(people[0], glasses="none")
    assert glasses.fitted(model, bare, render.resting_face(model, bare)) is None


def test_lashes_stand_on_the_lids_and_move_with_them(model):
    hairs = lashes(model)
    neutral = model.neutral(np.zeros(len(model.identity)))
    rest = hairs.grown(neutral).reshape(3, -1, 3)
    tight = hairs.grown(displaced(model, neutral, unit(7))).reshape(3, -1, 3)
    upper = hairs.reach[:, 1] > 0
    assert (rest[2] - rest[:2].mean(0))[:, 2].min() > 0, "they point to the front"
    fallen = tight[:, :, 1] - rest[:, :, 1]
    assert fallen[0, upper].mean() < -0.05 and fallen[0, ~upper].mean() > 0.05
    for side in ("left", "right"):
        edge = neutral[model.regions[f"{side}_upper_lid"]]
        near = np.abs(rest[0][:, None] - edge[None]).sum(-1).min(0)
        assert np.median(near) < 0.25, "centimetres between an edge of a lid and the next root"


@pytest.mark.slow
@pytest.mark.parametrize("number", facs.AU_NUMBERS)
def test_each_unit_is_visible_through_glasses_and_beard(model, people, number):
    shares = []
    for k, person in enumerate(people[:4]):
        person = dataclasses.replace(
            person, glasses=glasses.GLASSES[1 + k], rim=0.17, beard="full", beard_length=0.6
        )
        rest, _ = render.render(model, person, np.zeros(12), Scene(), 64)
        image, _ = render.render(model, person, unit(number), Scene(), 64)
        shares.append((np.abs(image.astype(int) - rest).max(-1) > 20).mean())
    assert np.mean(shares) >= 0.008
