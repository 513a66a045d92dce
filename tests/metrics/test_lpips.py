"""Laws of LPIPS, and parity with the package lpips for both backbones."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from auface_jax.metrics import lpips
from auface_jax.pretrained import alexnet, convert, vgg, weight_files
from auface_jax.pretrained import lpips as lpips_network
from tests.helpers.parity import REASON, assert_parity, import_torch, redraw
from tests.helpers.untrained_lpips import untrained


def images(seed, count=3, size=40):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def distance(one, other, batch_size=4):
    return lpips.paired_distances(*untrained(), [(one, other)], batch_size=batch_size)


def test_distance_is_zero_for_equal_images_positive_otherwise_and_symmetric():
    one, other = images(1), images(2)
    there, back = distance(one, other), distance(other, one)
    assert (distance(one, one) == 0).all() and (there > 1e-3).all()
    np.testing.assert_allclose(there, back, rtol=1e-5)


def test_distances_do_not_depend_on_batches():
    one, other = images(3, count=5), images(4, count=5)
    whole = distance(one, other, batch_size=8)
    parts = [(one[:2], other[:2]), (one[2:], other[2:])]
    cut = lpips.paired_distances(*untrained(), parts, batch_size=4)
    np.testing.assert_allclose(cut, whole, rtol=1e-5)
    np.testing.assert_allclose(distance(one[3:4], other[3:4]), whole[3:4], rtol=1e-5)


def test_unit_length_of_zero_has_a_finite_gradient():
    x = jnp.array([[[[3.0, 4.0], [0.0, 0.0]]]])
    np.testing.assert_allclose(lpips_network.unit_length(x), [[[[0.6, 0.8], [0, 0]]]], rtol=1e-6)
    gradient = jax.grad(lambda x: lpips_network.unit_length(x).sum())(x)
    assert np.isfinite(gradient).all()


def test_score_carries_the_name_of_its_backbone_and_counts_pairs():
    score = lpips.score(untrained()[0], np.array([0.2, 0.4]))
    assert str(score) == "LPIPS(alexnet) 0.3 ± 0.1 (N = 2, 2 real)"


def test_heads_of_unknown_widths_are_refused():
    arrays = {f"lin{depth}.model.1.weight": np.ones((1, 7, 1, 1)) for depth in range(5)}
    with pytest.raises(ValueError, match=r"widths \(7, 7, 7, 7, 7\); known are.*vgg16"):
        convert.to_variables(lpips_network.NETWORK, weight_files.from_arrays(arrays, "heads.pth"))


def original(backbone):
    """The package's LPIPS with its published heads and a redrawn backbone; that backbone's arrays
    under torchvision's keys."""
    import_torch()
    package = pytest.importorskip("lpips", reason=REASON)
    name = {"alexnet": "alex", "vgg16": "vgg"}[backbone]
    theirs = package.LPIPS(net=name, pnet_rand=True, verbose=False).eval()
    state = redraw(theirs.net)
    arrays = {f"features.{key.split('.', 1)[1]}": array for key, array in state.items()}
    heads = Path(package.__file__).parent / "weights" / "v0.1" / f"{name}.pth"
    return theirs, arrays, heads


@pytest.mark.parity
@pytest.mark.parametrize("backbone", lpips_network.WIDTHS)
def test_distances_equal_those_of_the_package_lpips(record_property, tmp_path, backbone):
    theirs, arrays, heads = original(backbone)
    import torch

    if backbone == "vgg16":  # LPIPS has no fully connected layers
        zeros = functools.partial(np.zeros, dtype=np.float32)
        for layer, shape in (("0", (4096, 25088)), ("3", (4096, 4096))):
            arrays[f"classifier.{layer}.weight"] = zeros(shape)
            arrays[f"classifier.{layer}.bias"] = zeros(4096)
    network = {"alexnet": alexnet, "vgg16": vgg}[backbone].NETWORK
    _, variables = convert.to_variables(network, weight_files.from_arrays(arrays))
    converted = convert.load(convert.convert("lpips", heads, tmp_path), "lpips")
    assert converted.module.backbone == backbone
    module, variables = lpips_network.combine(backbone, variables, converted.variables)

    rng = np.random.default_rng(1)
    pair = [rng.uniform(-1, 1, (6, 64, 96, 3)).astype(np.float32) for _ in range(2)]
    with torch.no_grad():
        expected, depths = theirs(
            *(torch.from_numpy(x.transpose(0, 3, 1, 2)) for x in pair), retPerLayer=True
        )
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(module.apply)(variables, *pair)
    name = f"LPIPS, {backbone}"
    assert_parity(record_property, name, "distance", ours, expected.numpy().ravel())
    assert len(depths) == 5 and all(float(depth.min()) > 0 for depth in depths)


@pytest.mark.parity
def test_heads_of_another_backbone_are_refused(tmp_path):
    _, arrays, _ = original("alexnet")
    _, _, heads = original("vgg16")
    from safetensors.numpy import save_file

    save_file(arrays, tmp_path / "alexnet.safetensors")
    backbone = convert.convert("alexnet", tmp_path / "alexnet.safetensors", tmp_path / "alexnet")
    converted = convert.convert("lpips", heads, tmp_path / "heads")
    with pytest.raises(ValueError, match="heads for the backbone 'vgg16'.*network 'alexnet'"):
        lpips_network.load_lpips(backbone, converted)
