"""Laws of FID, KID and the Inception score, and parity with the torch packages."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st

from auface_jax.metrics import distances
from auface_jax.metrics.distances import Moments, frechet_distance
from auface_jax.metrics.features import Features, extract, inception_features
from auface_jax.pretrained.convert import Pretrained
from tests.helpers.parity import REASON, assert_parity, import_torch

pytestmark = pytest.mark.filterwarnings("ignore::auface_jax.metrics.distances.FewImagesWarning")


def rows(seed, count, width, shift=0.0):
    """Samples correlated features, like those of a network."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(width, width)) / np.sqrt(width)
    return np.maximum(rng.normal(shift, 1.0, (count, width)) @ mixing + 0.3, 0).astype(np.float32)


def features(seed, count=40, width=8, name="au", **options):
    return Features(name, rows(seed, count, width, **options))


def moments(mean, covariance, count=100):
    return Moments(count, np.array(mean), np.array(covariance) * (count - 1))


def test_frechet_distance_of_axis_aligned_normals_is_exact():
    one = moments([1.0, 2.0], np.diag([4.0, 9.0]))
    other = moments([1.0, 5.0], np.diag([1.0, 0.0]))
    expected = 3.0**2 + (2 - 1) ** 2 + 3.0**2
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-12)
    point = moments([0.0, 0.0], np.zeros((2, 2)))
    assert frechet_distance(point, point) == 0.0
    assert frechet_distance(one, point) == pytest.approx(1 + 4 + 4 + 9)


@pytest.mark.parametrize("count", [20, 300], ids=["singular", "regular"])
def test_frechet_distance_is_zero_for_one_set_and_invariant_to_rotation(count):
    width = 60
    one, other = rows(0, count, width), rows(1, count, width, shift=0.2)
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(width, width)))
    same = frechet_distance(Moments.of(one), Moments.of(one))
    apart = frechet_distance(Moments.of(one), Moments.of(other))
    turned = frechet_distance(Moments.of(one @ turn), Moments.of(other @ turn))
    assert abs(same) < 1e-9 < 0.1 < apart
    assert turned == pytest.approx(apart, rel=1e-6)


def test_frechet_distance_of_singular_covariances_equals_the_square_root_form():
    # tr (S S')^(1/2) is the sum of the singular values of X X'^T, X and X' centred and scaled.
    one, other = (rows(seed, 15, 40).astype(np.float64) for seed in (3, 4))
    centred = [(x - x.mean(0)) / np.sqrt(14) for x in (one, other)]
    overlap = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    expected = (
        np.square(one.mean(0) - other.mean(0)).sum()
        + sum(np.square(x).sum() for x in centred)
        - 2 * overlap
    )
    assert frechet_distance(Moments.of(one), Moments.of(other)) == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 29), st.integers(0, 5))
def test_merged_moments_equal_those_of_the_whole(cut, seed):
    values = rows(seed, 30, 5) + 1e3  # far from the origin, where naive sums lose digits
    whole = Moments.of(values)
    merged = Moments.of(values[:cut]).merged(Moments.of(values[cut:]))
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-9, atol=1e-9)
    covariance = np.cov(values.astype(np.float64), rowvar=False)
    np.testing.assert_allclose(merged.covariance, covariance, rtol=1e-9, atol=1e-9)


@jax.jit
def small_network(weights, images):
    x = images.astype(jnp.float32).reshape(images.shape[0], -1) / 255
    return {"wide": jnp.tanh(x @ weights), "mean": x.mean(-1)}


def test_features_do_not_depend_on_batch_sizes():
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (23, 4, 4, 3), dtype=np.uint8)
    weights = rng.normal(size=(48, 6)).astype(np.float32)
    real = features(6, width=6)
    expected = np.tanh(images.reshape(23, -1) / 255 @ weights)
    figures = []
    for batch_size, cuts in [(2, [23]), (8, [5, 1, 17]), (22, [20, 3]), (64, [23])]:
        batches = np.split(images, np.cumsum(cuts)[:-1])
        out = extract(small_network, weights, batches, batch_size=batch_size)
        assert out["wide"].shape == (23, 6) and out["mean"].shape == (23,)
        np.testing.assert_allclose(out["wide"], expected, atol=1e-6)
        generated = Features("au", out["wide"])
        figures.append([distances.fid(generated, real).value, distances.kid(generated, real).value])
    np.testing.assert_allclose(figures, figures[:1] * 4, rtol=1e-6)


def test_extract_refuses_invalid_streams():
    weights = np.zeros((48, 2), np.float32)
    with pytest.raises(ValueError, match="no images"):
        extract(small_network, weights, [], batch_size=2)
    stream = [np.zeros((1, 4, 4, 3)), np.zeros((1, 4, 5, 3))]
    with pytest.raises(ValueError, match=r"different shapes.*4, 4, 3.*4, 5, 3"):
        extract(small_network, weights, stream, batch_size=2)
    if jax.device_count() > 1:
        with pytest.raises(ValueError, match="batch_size=1 does not divide"):
            extract(small_network, weights, stream[:1], batch_size=1)


def test_mmd_is_the_mean_over_pairs():
    one, other = rows(7, 5, 3).astype(np.float64), rows(8, 4, 3).astype(np.float64)

    def kernel(x, y):
        return (float(x @ y) / 3 + 1) ** 3

    def pairs(a, b, skip_same=False):
        values = [
            kernel(x, y)
            for i, x in enumerate(a)
            for j, y in enumerate(b)
            if not (skip_same and i == j)
        ]
        return np.mean(values)

    expected = pairs(one, one, True) + pairs(other, other, True) - 2 * pairs(one, other)
    assert distances.polynomial_mmd(one, other) == pytest.approx(expected, rel=1e-12)


def test_kid_is_unbiased_where_fid_is_not():
    same = [(features(10 + i), features(50 + i)) for i in range(30)]
    kids = [distances.kid(a, b, subsets=1).value for a, b in same]
    assert abs(np.mean(kids)) < 3 * np.std(kids) / np.sqrt(len(kids))
    assert min(distances.fid(a, b).value for a, b in same) > 0
    apart = distances.kid(features(1, shift=1.0), features(2), subsets=5)
    assert apart.value > 10 * np.std(kids)


def test_kid_depends_on_its_seed_and_fits_subsets_to_the_smaller_set():
    one, other = features(1, count=30), features(2, count=12)
    first = distances.kid(one, other, subsets=7, seed=3)
    assert first == distances.kid(one, other, subsets=7, seed=3)
    assert first.value != distances.kid(one, other, subsets=7, seed=4).value
    assert first.spread > 0 and (first.count, first.reference_count) == (30, 12)


def test_one_subset_or_split_has_no_spread():
    one, other = features(1, count=30), features(2, count=30)
    whole = distances.kid(one, other, subsets=3)  # subsets would all be the whole
    assert whole.spread is None and "±" not in str(whole)
    everything = (side.values.astype(np.float64) for side in (one, other))
    assert whole.value == pytest.approx(distances.polynomial_mmd(*everything))
    assert distances.kid(one, features(2, count=12), subsets=1).spread is None
    assert "±" in str(distances.kid(one, features(2, count=12), subsets=2))
    classes = with_logits(np.random.default_rng(0).normal(size=(20, 4)))
    assert distances.inception_score(classes, splits=1).spread is None
    assert distances.inception_score(classes, splits=2).spread > 0


def with_logits(logits):
    return Features("inception", np.zeros((len(logits), 2)), np.asarray(logits, np.float32))


def test_inception_score_lies_between_one_and_the_number_of_classes():
    unsure = distances.inception_score(with_logits(np.zeros((40, 10))))
    assert unsure.value == pytest.approx(1.0) and unsure.name == "IS"
    sure = with_logits(1e3 * np.eye(10)[np.arange(40) % 10])
    assert distances.inception_score(sure, splits=1).value == pytest.approx(10.0)
    # In order and in four splits, every split holds each class once.
    assert distances.inception_score(sure, splits=4, seed=None).value == pytest.approx(10.0)
    same_class = with_logits(1e3 * np.eye(10)[np.zeros(40, int)])
    assert distances.inception_score(same_class).value == pytest.approx(1.0)
    with pytest.raises(ValueError, match="3 images do not make 10 splits"):
        distances.inception_score(with_logits(np.zeros((3, 10))))


def test_scores_carry_the_name_of_their_features_and_their_counts():
    score = distances.fid(features(1, count=30), features(2))
    assert score.name == "FID(au)"
    assert str(score).startswith("FID(au) ") and str(score).endswith(" (N = 30, 40 real)")
    inception = distances.fid(features(1, name="inception"), features(2, name="inception"))
    assert inception.name == "FID"
    with pytest.raises(ValueError, match="'au' have no classes"):
        distances.inception_score(features(1))
    with pytest.raises(ValueError, match="'au', real ones 'inception'"):
        distances.kid(features(1), features(2, name="inception"))
    with pytest.raises(ValueError, match="different widths: 8 and 9"):
        distances.fid(features(1), features(2, width=9))


def test_features_that_are_not_finite_or_of_one_image_are_refused():
    values = rows(0, 5, 3)
    values[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 of 5 images are not finite; the first rows are \[3\]"):
        Features("au", values)
    with pytest.raises(ValueError, match=r"\[1, 3\]; give \[N, D\] of at least two"):
        Features("au", values[:1])
    with pytest.raises(ValueError, match="network is 'vgg16'; give the converted network"):
        inception_features(Pretrained("vgg16", None, {}, ""), [])


class Colours(nn.Module):
    """A stand-in for the Inception network: the mean colour of a picture."""

    @nn.compact
    def __call__(self, x):
        return {"pool3": x.mean((1, 2)), "logits": -x.mean((1, 2))}


@pytest.mark.parametrize(
    ("resizing", "name"), [("clean", "IS"), ("tensorflow1", "IS(tensorflow1)")]
)
def test_inception_features_are_those_of_resized_normalized_images(resizing, name):
    colours = np.array([[0, 128, 255], [64, 64, 64], [192, 0, 32]], np.uint8)
    images = np.broadcast_to(colours[:, None, None], (3, 5, 7, 3))
    network = Pretrained("inception", Colours(), {}, "")
    found = inception_features(network, [images], batch_size=2, resizing=resizing)
    np.testing.assert_allclose(found.values, (colours - 128.0) / 128.0, atol=1e-5)
    np.testing.assert_array_equal(found.logits, -found.values)
    assert distances.inception_score(found, splits=1).name == name


@pytest.mark.filterwarnings("default::auface_jax.metrics.distances.FewImagesWarning")
def test_few_images_raise_a_warning_with_their_number():
    few, many = features(1, count=9_999, width=2), features(2, count=10_000, width=2)
    for figure in (lambda: distances.fid(few, many), lambda: distances.kid(many, few, subsets=1)):
        with pytest.warns(distances.FewImagesWarning, match="N = 9,999"):
            figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distances.fid(many, many)


@pytest.mark.parity
def test_scores_equal_those_of_torch_fidelity_and_pytorch_fid(record_property):
    torch = import_torch()
    fidelity_fid = pytest.importorskip("torch_fidelity.metric_fid", reason=REASON)
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    one, other = features(1, 400, 48), features(2, 400, 48, shift=0.3)
    tensors = [torch.from_numpy(f.values.astype(np.float64)) for f in (one, other)]
    statistics = [fidelity_fid.fid_features_to_statistics(tensor) for tensor in tensors]

    def compare(package, metric, ours, theirs):
        # A figure is one number: its error is relative to itself.
        assert theirs != 0
        record = ("figures on the same features", f"{metric} ({package})", [ours, 0], [theirs, 0])
        assert_parity(record_property, *record, bound=1e-3)

    ours = distances.fid(one, other).value
    theirs = fidelity_fid.fid_statistics_to_metric(*statistics, verbose=False)
    compare("torch-fidelity", "FID", ours, theirs["frechet_inception_distance"])

    theirs = kid_features_to_metric(*tensors, kid_subsets=2, kid_subset_size=400, verbose=False)
    ours = distances.kid(one, other, subsets=2).value
    compare("torch-fidelity", "KID", ours, theirs["kernel_inception_distance_mean"])

    logits = np.random.default_rng(3).normal(0, 3, (400, 1008)).astype(np.float32)
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
    ours = distances.inception_score(with_logits(logits), splits=10, seed=None)
    compare("torch-fidelity", "IS", ours.value, theirs["inception_score_mean"])
    compare("torch-fidelity", "IS, spread", ours.spread, theirs["inception_score_std"])
