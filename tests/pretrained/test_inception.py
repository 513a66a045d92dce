"""FID's InceptionV3: its three ways of resizing, and parity with the two torch packages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from auface_jax.pretrained import convert, inception, weight_files
from tests.helpers.parity import REASON, assert_parity, import_torch, redraw

MAPS = ("pool1", "pool2", "mixed_6e")


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (512, 400), (299, 299)], ids=str)
def test_clean_resizing_is_pillows_bicubic_in_float_clipped_as_in_clean_fid(size):
    image = picture(*size)
    expected = np.stack(
        [
            Image.fromarray(image[0, :, :, channel].astype(np.float32)).resize(
                (299, 299), Image.BICUBIC
            )
            for channel in range(3)
        ],
        axis=-1,
    )
    ours = inception.resize(jnp.asarray(image))[0]
    assert np.abs(np.asarray(ours) - expected.clip(0, 255)).max() < 2e-3  # of 255
    if size == (64, 64):  # so much does a cubic overshoot
        assert expected.min() < -20 and expected.max() > 275


def test_clean_resizing_does_not_alias_and_the_others_do():
    stripes = np.tile(np.array([0, 255], np.uint8), 600)[None, None, :, None]
    stripes = np.broadcast_to(stripes, (1, 64, 1200, 3))
    spread = {how: float(jnp.std(inception.resize(stripes, how))) for how in inception.RESIZINGS}
    assert spread["clean"] < 1 < 50 < spread["tensorflow1"]


@pytest.mark.parametrize("how", inception.RESIZINGS)
def test_resize_keeps_constants_and_images_of_that_size(how):
    flat = inception.resize(jnp.full((1, 33, 70, 3), 77, jnp.uint8), how)
    np.testing.assert_allclose(flat, 77.0, rtol=1e-5)
    same = picture(299, 299)
    np.testing.assert_allclose(inception.resize(jnp.asarray(same), how), same, atol=1e-3)


def test_normalize_has_its_range_and_unknown_resizing_is_refused():
    assert inception.normalize(jnp.array([0.0, 128.0])).tolist() == [-1.0, 0.0]
    assert inception.normalize(jnp.array([0.0, 255.0]), "pytorch-fid").tolist() == [-1.0, 1.0]
    for function in (inception.normalize, inception.resize):
        with pytest.raises(ValueError, match="'nearest' is unknown; known are clean, pytorch-fid"):
            function(jnp.zeros((1, 2, 2, 3)), "nearest")


@pytest.mark.parity
def test_parity_with_torch_fidelity_and_pytorch_fid(record_property, tmp_path, monkeypatch):
    torch = import_torch()
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason=REASON)
    fid = pytest.importorskip("pytorch_fid.inception", reason=REASON)
    names = ("64", "192", "768", "2048", "logits_unbiased")

    class Blank(fidelity.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_, **__):
            pass

    monkeypatch.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
    blank = Blank("blank", list(names))
    redraw(blank)
    path = tmp_path / "inception.pth"
    torch.save(blank.state_dict(), path)

    ours, variables = convert.to_variables(inception.NETWORK, weight_files.open_source(path))
    apply = jax.jit(ours.apply)

    image = picture(80, 64)
    batch = torch.from_numpy(image.transpose(0, 3, 1, 2).copy())
    theirs = fidelity.FeatureExtractorInceptionV3(
        "redrawn", list(names), feature_extractor_weights_path=str(path)
    )
    with torch.no_grad():
        expected = [out.numpy() for out in theirs(batch)]
    ready = inception.normalize(inception.resize(jnp.asarray(image), "tensorflow1"), "tensorflow1")
    with jax.default_matmul_precision("highest"):
        features = apply(variables, ready)
    maps = {
        name: np.asarray(features[name]).mean((1, 2)) for name in ("pool1", "pool2", "mixed_6e")
    }
    for name, there in zip((*maps, "pool3", "logits"), expected, strict=True):
        here = maps.get(name, features[name])
        assert_parity(record_property, "FID InceptionV3 (torch-fidelity)", name, here, there)

    monkeypatch.setattr(
        fid, "load_state_dict_from_url", lambda *_, **__: torch.load(path, weights_only=True)
    )
    blocks = fid.InceptionV3([0, 1, 2, 3]).eval()
    with torch.no_grad():
        expected = [out.numpy() for out in blocks(batch.float() / 255)]
    ready = inception.normalize(inception.resize(jnp.asarray(image), "pytorch-fid"), "pytorch-fid")
    with jax.default_matmul_precision("highest"):
        features = apply(variables, ready)
    for name, there in zip(MAPS, expected, strict=False):
        there = there.transpose(0, 2, 3, 1)
        assert_parity(record_property, "FID InceptionV3 (pytorch-fid)", name, features[name], there)
    there = expected[3][:, :, 0, 0]
    assert_parity(
        record_property, "FID InceptionV3 (pytorch-fid)", "pool3", features["pool3"], there
    )
