"""Laws of the muscles of every face model: each unit, units that meet, lips and lids.

Lengths are in centimetres; y points up, x to the subject's left, z out of the face.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from auface_jax import facs
from auface_jax.faces import muscles, sampler
from auface_jax.faces.mesh.face_model import PULLS, SKIN
from auface_jax.faces.muscles import contractions, displaced
from auface_jax.faces.render import render
from tests.helpers import face_models
from tests.helpers.face_models import units

# Pulls that belong to each unit alone.
_OWN = {
    1: ("brow_inner_up",), 2: ("brow_outer_up",), 4: ("brow_down", "brow_together"),
    6: ("cheek_up",), 7: ("lid_tight",), 10: ("lip_up",), 12: ("corner_up", "corner_wide"),
    14: ("corner_tuck",), 15: ("corner_down",), 17: ("chin_up",), 23: ("lips_roll",),
    24: ("lips_press", "mouth_narrow"),
}  # fmt: skip
_RIGHT_CORNER, _LEFT_CORNER = 48, 54  # of the 68 landmarks
_LEFT_BROW = slice(22, 27)  # from its medial end outwards
_UPPER_TOP, _UPPER_MIDDLE, _LOWER_MIDDLE, _LOWER_BOTTOM = 51, 62, 66, 57
_CHEEK = (3.3, -1.0)  # in the plane of `FaceModel.uv`

random_intensities = arrays(np.float32, 12, elements=st.floats(0, 1, width=32))


@pytest.fixture(scope="module", params=face_models.EVERY_MODEL)
def model(request):
    return face_models.load(request.param)


@pytest.fixture(scope="module")
def mean_face(model):
    return muscles.rest_lids(model, model.neutral(np.zeros(len(model.identity))))


@pytest.fixture(scope="module")
def people(model):
    return [sampler.sample_person(np.random.default_rng([9, k, 0]), model) for k in range(5)]


@pytest.fixture(scope="module")
def marks(model, mean_face):
    """A function from intensities to the landmarks of the mean face, [68, 3]."""
    return lambda intensities: displaced(model, mean_face, intensities)[model.landmarks]


@pytest.fixture(scope="module")
def moves(marks):
    """A function from intensities to the displacements of the landmarks, [68, 3]."""
    rest = marks(units())
    return lambda intensities: marks(intensities) - rest


# ---------------------------------------------------------------- each unit


def test_zero_intensities_leave_the_face_at_rest(model, people):
    assert not contractions(units()).any()
    for person in people:
        neutral = render.resting_face(model, person)
        np.testing.assert_allclose(displaced(model, neutral, units()), neutral, atol=1e-5)


@pytest.mark.parametrize("number", facs.AU_NUMBERS)
@given(others=random_intensities)
def test_contraction_is_monotone_and_saturates_beside_any_other_units(number, others):
    own = [PULLS.index(pull) for pull in _OWN[number]]
    others, curve = others.copy(), []
    for t in np.linspace(0, 1, 11):
        others[facs.AU_NUMBERS.index(number)] = t
        curve.append(contractions(others)[own])
    gain = np.diff(np.array(curve, float), axis=0)
    assert (gain > 0).all()
    assert (np.diff(gain, axis=0) < 1e-5).all(), "the second half of an effort moves less"


@pytest.mark.parametrize("number", facs.AU_NUMBERS)
def test_stronger_unit_moves_more_skin_and_its_first_half_most(model, mean_face, number):
    way = [
        np.linalg.norm(displaced(model, mean_face, units(number, at=t)) - mean_face)
        for t in np.linspace(0, 1, 7)
    ]
    assert (np.diff(way) > 0).all()
    assert way[3] > 0.55 * way[6]


@pytest.mark.parametrize("numbers", [(n,) for n in facs.AU_NUMBERS] + [facs.AU_NUMBERS])
def test_sides_move_alike_without_asymmetry(model, mean_face, marks, moves, numbers):
    even = moves(units(*numbers))
    pairs = [*zip(range(22, 27), range(21, 16, -1), strict=True), (_LEFT_CORNER, _RIGHT_CORNER)]
    left, right = (list(side) for side in zip(*pairs, strict=True))
    # A scanned face is not quite the same on both sides.
    tolerance = 1e-3 if model.name == "builtin" else 0.06
    np.testing.assert_allclose(even[left] * [-1, 1, 1], even[right], atol=tolerance)
    led = displaced(model, mean_face, units(*numbers), asymmetry=0.2)[model.landmarks]
    led = np.linalg.norm(led - marks(units()), axis=1)
    even = np.linalg.norm(even, axis=1)
    if even[left].max() > 0.1:  # lids and lips alone leave brows and corners at rest
        assert led[left].sum() > 1.05 * even[left].sum()
        assert led[right].sum() < 0.95 * even[right].sum()


# ---------------------------------------------------------------- units that meet


def test_12_and_15_put_the_corner_between_either_alone(moves):
    def height(smile, frown):
        return moves(units(12, at=smile) + units(15, at=frown))[_LEFT_CORNER, 1]

    assert height(0, 1) < 0 < height(1, 0)
    strengths = np.linspace(0, 1, 5)
    for smile in strengths[1:]:
        for frown in strengths[1:]:
            assert height(0, frown) < height(smile, frown) < height(smile, 0)
    heights = np.array([[height(a, b) for b in strengths] for a in strengths])
    assert (np.diff(heights, axis=0) > 0).all(), "higher, the more it smiles"
    assert (np.diff(heights, axis=1) < 0).all(), "lower, the more it frowns"


def test_12_and_15_make_the_mouth_wide_and_lower_it_with_the_cheeks_raised(model, mean_face, moves):
    corner = moves(units(12, 15))[_LEFT_CORNER]
    assert corner[0] > 0.4, "wide"
    assert 0.7 * moves(units(15))[_LEFT_CORNER, 1] < corner[1] < -0.05, "slightly down"
    skin = np.unique(model.triangles[model.materials == SKIN])
    cheek = skin[np.hypot(*(model.uv[skin] - _CHEEK).T) < 0.6]
    raised = displaced(model, mean_face, units(12, 15))[cheek] - mean_face[cheek]
    frown = displaced(model, mean_face, units(15))[cheek] - mean_face[cheek]
    assert len(cheek) > 5
    assert raised[:, 1].mean() > frown[:, 1].mean() + 0.02


def test_1_and_4_make_brows_oblique(moves):
    alone_1, alone_4, both = (moves(units(*n))[_LEFT_BROW] for n in ((1,), (4,), (1, 4)))
    assert alone_4[0, 1] < 0 < both[0, 1] < alone_1[0, 1], "the medial end is raised, less high"
    assert both[0, 1] > both[2, 1] + 0.2, "oblique: it is higher than the middle of the brow"
    assert both[0, 0] < -0.25, "drawn together"


def test_1_2_and_4_raise_the_whole_brow_with_its_medial_ends_drawn_together(moves):
    raised, lowered, both = (moves(units(*n))[_LEFT_BROW] for n in ((1, 2), (4,), (1, 2, 4)))
    assert (both[:, 1] > 0.2).all(), "the whole brow"
    assert (lowered[:, 1] < both[:, 1]).all() and (both[:, 1] < raised[:, 1]).all()
    assert np.ptp(both[:, 1]) < np.ptp(raised[:, 1]), "flatter"
    assert (both[:2, 0] < -0.2).all(), "medial ends drawn together"


def test_15_and_17_make_an_inverted_u_with_the_lower_lip_pushed_up_and_out(model, marks, moves):
    def arch(*numbers):
        """Height of the middle of the mouth over its corners."""
        at = marks(units(*numbers))
        return (
            at[[_UPPER_MIDDLE, _LOWER_MIDDLE], 1].mean()
            - at[[_LEFT_CORNER, _RIGHT_CORNER], 1].mean()
        )

    assert arch(15, 17) > max(arch(15), arch(17)) + 0.2 > arch() + 0.4
    both = moves(units(15, 17))
    line = marks(units(15, 17))[60:65]  # of the upper lip, from one corner to the other
    assert line[0, 1] < line[1, 1] < line[2, 1] > line[3, 1] > line[4, 1], "an inverted U"
    assert (both[[_LEFT_CORNER, _RIGHT_CORNER], 1] < -0.3).all(), "the corners are down"
    lower, upper = both[[_LOWER_MIDDLE, _LOWER_BOTTOM]], both[_UPPER_MIDDLE]
    assert (lower[:, 1] > 0.2).all() and (lower[:, 2] > 0.3).all(), "pushed up and out"
    assert (lower[:, 2] > upper[2] + 0.3).all(), "before the upper lip"
    assert both[8, 1] > 0.2, "the chin rises"


def opening(model, vertices, side):
    """Gaps between the lids at the places of the upper edge, [N]."""
    upper = vertices[model.regions[f"{side}_upper_lid"]]
    return upper[:, 1] - vertices[model.regions[f"{side}_lower_lid"], 1]


def test_6_and_7_keep_the_eyes_open(model, people):
    for person in people:
        neutral = render.resting_face(model, person)
        for side in ("left", "right"):
            rest, raised, both = (
                opening(model, displaced(model, neutral, units(*n)), side).max()
                for n in ((), (6,), (6, 7))
            )
            assert both < raised < rest, "each narrows the eye"
            assert both > 0.15 * rest and both > 0.15, "and yet it is open"


@pytest.mark.parametrize("numbers", [(17, 24), (23, 24)])
def test_lips_press_without_collapse(model, marks, people, numbers):
    def shape(face):
        upper = face[_UPPER_TOP, 1] - face[_UPPER_MIDDLE, 1]
        lower = face[_LOWER_MIDDLE, 1] - face[_LOWER_BOTTOM, 1]
        return upper, lower, face[_LEFT_CORNER, 0] - face[_RIGHT_CORNER, 0]

    for person in people:
        neutral = render.resting_face(model, person)
        rest = shape(neutral[model.landmarks])
        alone = shape(displaced(model, neutral, units(24))[model.landmarks])
        both = shape(displaced(model, neutral, units(*numbers))[model.landmarks])
        assert sum(both[:2]) < sum(rest[:2]), "pressed"
        assert sum(both[:2]) < 1.02 * sum(alone[:2]), "no less than by 24 alone"
        assert both[0] > 0.15 * rest[0] and both[1] > 0.15 * rest[1], "red of both lips is left"
        assert 0.6 * rest[2] < both[2] < 1.02 * rest[2], "narrower, and still a mouth"


# ---------------------------------------------------------------- lids and lips


def random_expressions():
    rng = np.random.default_rng(3)
    extremes = [facs.AU_NUMBERS, (6, 7), (6, 7, 12), (10, 12, 17), (17, 24), (23, 24)]
    return [units(*n) for n in extremes] + [sampler.sample_intensities(rng) for _ in range(8)]


def test_lids_never_pierce_the_eyeball(model, people):
    for person in people:
        neutral = render.resting_face(model, person)
        for intensities in random_expressions():
            moved = displaced(model, neutral, intensities, person.asymmetry)
            for ball, lid in zip(model.eyeballs, model.lids, strict=True):
                centre, radius = muscles.eyeball_sphere(moved[ball])
                ahead = moved[lid, 2] > centre[2]
                assert (np.linalg.norm(moved[lid] - centre, axis=1)[ahead] > radius).all()


def test_lids_never_cross_and_eyes_stay_open(model, people):
    for person in people:
        neutral = render.resting_face(model, person)
        for intensities in random_expressions():
            moved = displaced(model, neutral, intensities, person.asymmetry)
            for side in ("left", "right"):
                gap = opening(model, moved, side)
                assert gap.min() > -0.05 and gap.max() > 0.1


def test_lips_never_cross(model, people):
    most = 0.12 if model.name == "builtin" else 0.25  # soft lips sink a little into each other
    upper, lower = model.regions["upper_lip_edge"], model.regions["lower_lip_edge"]
    for person in people:
        neutral = render.resting_face(model, person)
        for intensities in random_expressions():
            moved = displaced(model, neutral, intensities, person.asymmetry)
            assert (moved[upper, 1] - moved[lower, 1]).min() > -most


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "intensities, message",
    [
        (np.zeros(11), "give 12 numbers"),
        (units(6, at=1.5), "AU6 has intensity 1.5"),
        (units(7, at=-0.1), "AU7 has intensity"),
        (np.where(units(24), np.nan, 0.0), "AU24 has intensity nan"),
    ],
)
def test_illegal_intensities_are_rejected(intensities, message):
    with pytest.raises(ValueError, match=message):
        contractions(intensities)


def test_illegal_asymmetry_is_rejected(model, mean_face):
    with pytest.raises(ValueError, match="asymmetry is 0.5; it must be from -0.3 to 0.3"):
        displaced(model, mean_face, units(12), asymmetry=0.5)
